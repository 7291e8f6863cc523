"""What `daedalus ls` and `daedalus query` share: the way from settings to a lake, and tables on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl

if TYPE_CHECKING:
    from daedalus.lake.lake import Lake

LakeOption = Annotated[
    str | None,
    typer.Option(
        "--base-dir",
        "--input",
        help="The lake, a directory or s3://BUCKET/PREFIX (gs://, az://); default: the settings' storage.",
    ),
]
SourceOption = Annotated[str | None, typer.Option("--source", help="Only what this source recorded.")]
#: Without a terminal nothing is wrapped or cut.
_WIDTH_FILE = 1000


def opened(base: str | None, source: str | None, config: Path | None, overrides: list[str] | None) -> "Lake":
    """Return the lake that the settings and flags name."""
    from daedalus.cli.wiring import input_options, output_options
    from daedalus.lake.lake import open_lake

    settings = etl.load_settings(config, overrides, base, None, False)
    read, write = input_options(settings, ""), output_options(settings, "", "bars")
    return open_lake(
        read["base_dir"],
        processed=write["base_dir"],
        source=source,
        tier_raw=read["tier_raw"],
        tier_features=read["tier_features"],
        tier_aggregates=write["tier_aggregates"],
    )


def print_table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below their names; numbers to the right."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE)
    lines = [[("" if value is None else value) for value in row] for row in rows]
    for at, name in enumerate(names):
        is_number = any(isinstance(line[at], int | float) for line in lines)
        table.add_column(name, justify="right" if is_number else "left")
    for line in lines:
        table.add_row(*(Text(_shown(value), overflow="fold") for value in line))
    Console(width=None if sys.stdout.isatty() else _WIDTH_FILE).print(table)


def _shown(value: object) -> str:
    import datetime as dt

    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ").removesuffix("+00:00")
    return str(value)
