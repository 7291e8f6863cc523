"""What `daedalus ls` and `daedalus query` share: the way from settings to a lake, and tables on a terminal."""

import datetime as dt
import re
import shutil
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
#: Without a terminal nothing is too wide.
_WIDTH_FILE = 1 << 30
_NUMBER = re.compile(r"-?[\d,]*\.?\d*(e[-+]?\d+)?")


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
    """Print rows below their names, numbers to the right; what is too wide for the terminal as one line a value."""
    lines = [tuple(map(_shown, row)) for row in rows]
    widths = [max(len(line[at]) for line in (tuple(names), *lines)) for at in range(len(names))]
    if sum(widths) + 2 * (len(widths) - 1) > terminal_width():
        _print_records(names, lines)
        return
    is_number = [bool(lines) and all(_NUMBER.fullmatch(line[at]) for line in lines) for at in range(len(names))]
    rule = tuple("-" * width for width in widths)
    for line in (tuple(names), rule, *lines):
        cells = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(line, widths, is_number, strict=True))
        typer.echo("  ".join(cells).rstrip())


def terminal_width() -> int:
    """Return how wide the terminal is; a file has no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH_FILE


def _print_records(names: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    width = max(map(len, names))
    for number, line in enumerate(lines, 1):
        typer.echo(f"- row {number}")
        for name, value in zip(names, line, strict=True):
            typer.echo(f"  {name.ljust(width)}  {value}".rstrip())


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ").removesuffix("+00:00")
    return str(value)
