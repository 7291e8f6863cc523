"""`daedalus recover`: seal what a recorder that ended badly left behind."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from daedalus.ingestion.writers.base import RawPaths


def recover(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what the journals hold; touch nothing.")
    ] = False,
    base_dir: Annotated[Path | None, typer.Option(help="The lake's directory, over storage.base_dir.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; default config/config.yaml where it exists.")] = None,
) -> None:
    """Seal the journals of recorders that were killed or lost their power. The next `daedalus ingest` does it too.

    Example: daedalus recover --base-dir data --dry-run

    Exit codes: 0 done, or nothing to do; 1 a recorder is at work there, the disk refuses, or a journal is unreadable
    (it is kept in raw/quarantine); 2 the settings are wrong.
    """
    from daedalus.cli.wiring import writer_options
    from daedalus.config.config import load_config

    settings = load_config(config, {"storage.base_dir": None if base_dir is None else str(base_dir)})
    options = writer_options(settings)
    sources = find_sources(options["base_dir"], options["tier_raw"])
    if not sources:
        typer.echo(f"nothing to recover in {options['base_dir']}")
    unreadable = sum(_show(paths) if dry_run else _seal(paths) for paths in sources)
    if unreadable:
        raise typer.Exit(1)


def find_sources(base: Path, tier: str) -> "list[RawPaths]":
    """Return the recorders that have left journals or unfinished files."""
    from daedalus.ingestion.writers.base import RawPaths

    names = sorted(path.name for path in (base / tier / "active").glob("*") if path.is_dir())
    found = [RawPaths(base, name, tier) for name in names]
    return [paths for paths in found if any(p.suffix in (".journal", ".tmp") for p in paths.active.iterdir())]


def _show(paths: "RawPaths") -> int:
    from daedalus.ingestion.writers.journal import SUFFIX
    from daedalus.ingestion.writers.recovery import inspect

    unreadable = 0
    for journal in sorted(paths.active.glob(f"*{SUFFIX}")):
        content = inspect(journal)
        rows = ", ".join(f"{channel} {count:,}" for channel, count in sorted(content.rows.items())) or "no rows"
        typer.echo(f"{content.path}: {content.bytes:,} bytes, {rows}; {_state(content.ended, content.damage)}")
        unreadable += content.damage is not None and not content.rows
    return unreadable


def _state(ended: bool, damage: str | None) -> str:
    if damage:
        return f"cut off: {damage}; what stands before it comes back"
    return "left in order" if ended else "cut off after its last flush"


def _seal(paths: "RawPaths") -> int:
    from daedalus.ingestion.writers.recovery import recover as recover_all

    unreadable = 0
    for report in recover_all(paths):
        if report.quarantined:
            unreadable += 1
            typer.echo(f"{report.journal}: unreadable, kept as {report.quarantined}", err=True)
            continue
        rows = sum(segment.rows for segment in report.segments)
        note = f" ({report.damage})" if report.damage else ""
        typer.echo(f"{report.journal}: {rows:,} rows in {len(report.segments)} segments{note}")
    return unreadable
