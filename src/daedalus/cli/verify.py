"""`daedalus verify`: whether every segment is what was written."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from daedalus.lake.verify import Check, Checked, Report

EXIT_FAILED = 1
#: Without a terminal, a line of the log for so many segments.
LOG_EVERY = 500
#: Without a terminal nothing is wrapped: paths stay whole.
WIDTH_FILE = 1000


def verify(
    path: Annotated[
        str | None,
        typer.Argument(
            help="A lake, a directory in it, or one segment, also as s3://BUCKET/PREFIX (gs://, az://) with the keys of"
            " storage.etl_storage_input; default: the configured lake's."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Report segments that the lake's ledger does not know, too.")
    ] = False,
    rebuild_ledger: Annotated[
        bool, typer.Option("--rebuild-ledger", help="If nothing is wrong, make the lake's ledger anew from the files.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings; default config/config.yaml where it exists.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, over the file: --set storage.base_dir=data.")
    ] = None,
) -> None:
    """Check every segment below a directory; name what is wrong and what to do about it.

    Checked are the footer, the checksum of every page, schema version and columns, partition columns against the path,
    order, row counts, names, rows that two segments hold, and the SHA-256 of the whole file against the ledger. The
    segments are only read, and recording may go on meanwhile.

    From an object store, each segment is fetched, compared with the SHA-256 that was put with it, checked, and removed.

    Example: daedalus verify data/raw/ready/coinbase

    Exit codes: 0 nothing is wrong; 1 something is; 2 the settings or flags are wrong.
    """
    from daedalus.lake.verify import Report
    from daedalus.storage.ledger import Ledger

    if path is not None and "://" in path:
        base = None
        check = _in_store(path, config, overrides, strict or rebuild_ledger)
    else:
        root = Path(path) if path is not None else _configured(config, overrides, rebuild_ledger)
        base = _lake_of(root) if rebuild_ledger else None
        check = _on_disk(root if base is None else base, strict, rebuild_ledger)
    report = Report(str(check.root))
    for checked in _shown(check):
        report.add(checked)
    if base is not None and not report.findings:
        report.ledger_segments = Ledger.rebuild(base)
    if as_json:
        typer.echo(report.json())
    else:
        _print(report)
    if report.findings:
        raise typer.Exit(EXIT_FAILED)


def _on_disk(root: Path, strict: bool, rebuilding: bool) -> "Check":
    from daedalus.lake.verify import LakeCheck

    return LakeCheck(root, strict=strict, rebuilding=rebuilding)


def _in_store(place: str, config: Path | None, overrides: list[str] | None, needs_ledger: bool) -> "Check":
    """Return the check of what an address names. Raises `ConfigError` for what only a lake on a disk has."""
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.stores import STORE_READ, open_store, place_flags
    from daedalus.config.config import load_config
    from daedalus.lake.verify_objects import ObjectCheck
    from daedalus.shared.errors import ConfigError
    from daedalus.storage.base import Place
    from daedalus.storage.local import as_storage

    if needs_ledger:
        raise ConfigError(f"{place} has no ledger: --strict and --rebuild-ledger are for lakes on a disk")
    # From the bucket on, not from the folder: the names of the folders above are the partition.
    scheme, _, rest = place.partition("://")
    bucket, _, key = rest.partition("/")
    settings = load_config(config, {**parse_overrides(overrides), **place_flags(STORE_READ, f"{scheme}://{bucket}")})
    return ObjectCheck(Place(as_storage(open_store(settings, STORE_READ)), key.strip("/")))


def _configured(config: Path | None, overrides: list[str] | None, whole_lake: bool) -> Path:
    """Return where the settings say that segments are."""
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.wiring import recording_path
    from daedalus.config.config import load_config

    ready = recording_path(load_config(config, parse_overrides(overrides)), "")
    return ready.parent.parent if whole_lake else ready


def _lake_of(root: Path) -> Path:
    """Return a lake's directory, which a ledger belongs to. Raises `ConfigError` when `root` is none."""
    from daedalus.shared.errors import ConfigError

    if not root.is_dir() or not any(root.glob("*/ready")):
        raise ConfigError(
            f"--rebuild-ledger: {root} is not a lake's directory, the one that holds raw/ready: name that"
        )
    return root


def _shown(check: "Check") -> "Iterator[Checked]":
    """Run the check, and show how far it is."""
    import structlog
    from rich.console import Console
    from rich.progress import Progress

    terminal = sys.stderr.isatty()
    total = sum(1 for _ in check.segments())
    with Progress(console=Console(stderr=True), transient=True, disable=not terminal) as progress:
        task = progress.add_task("verify", total=total)
        for number, checked in enumerate(check.run(), 1):
            yield checked
            progress.advance(task)
            if number % LOG_EVERY == 0 and not terminal:
                structlog.get_logger(__name__).info("verifying", segments=number, of=total)


def _print(report: "Report") -> None:
    """Print a table of what is wrong and a line that sums up."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDTH_FILE)
    table = Table("file", "what is wrong", "what to do", box=SIMPLE)
    for finding in report.findings:
        table.add_row(*(Text(cell, overflow="fold") for cell in (finding.path, finding.what, finding.advice)))
    if report.findings:
        console.print(table)
    typer.echo(report.summary())
