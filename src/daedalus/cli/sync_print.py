"""What `daedalus sync` prints: a plan, a report, the health of the service."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.config import FilterSpec
    from daedalus.storage.sync_report import SyncReport

EXIT_FAILED = 1


def print_plan(settings: "DaedalusConfig", direction: Any, chosen: "FilterSpec", as_json: bool) -> None:
    """Print what a sync would move, by kind and folder; exit with a code when not all could be."""
    from daedalus.cli.sync_options import make_sync, rows_of

    moves, report = make_sync(settings, chosen).plan(direction)
    table: dict[tuple[str, str], list[int]] = {}
    for move in moves:
        line = table.setdefault((move.kind, "/".join(move.key.split("/")[:4])), [0, 0, 0])
        for at, value in enumerate((1, rows_of(settings, move) or 0, move.size)):
            line[at] += value
    if as_json:
        import msgspec

        names = ("kind", "folder", "files", "rows", "bytes")
        found = [dict(zip(names, (*key, *line), strict=True)) for key, line in sorted(table.items())]
        typer.echo(
            msgspec.json.encode({"moves": found, "conflicts": report.conflicts, "failures": report.failures}).decode()
        )
    else:
        for (kind, folder), (files, rows, size) in sorted(table.items()):
            typer.echo(f"{kind:<9} {folder:<44} {files:>8,} files {rows:>14,} rows {size:>16,} bytes")
        _print_troubles(report)
        typer.echo(
            f"would move {len(moves):,} files, {sum(m.size for m in moves):,} bytes; "
            f"{report.unchanged.files + report.adopted.files:,} are equal on both sides; nothing was done"
        )
    if not report.is_clean:
        raise typer.Exit(EXIT_FAILED)


def print_report(report: "SyncReport") -> None:
    """Print what a sync did."""
    for name in ("uploaded", "replaced", "downloaded", "deleted", "adopted", "unchanged"):
        tally = getattr(report, name)
        if tally.files or name in ("uploaded", "unchanged"):
            typer.echo(f"{name:<10} {tally.files:>9,} files {tally.bytes:>16,} bytes")
    _print_troubles(report)


def _print_troubles(report: "SyncReport") -> None:
    for text in report.conflicts:
        typer.echo(f"conflict: {text}", err=True)
    for text in report.failures:
        typer.echo(f"failed: {text}", err=True)
    hidden = report.conflict_count + report.failure_count - len(report.conflicts) - len(report.failures)
    if hidden:
        typer.echo(f"... and {hidden:,} more", err=True)


def print_json(report: "SyncReport") -> None:
    """Print one JSON object."""
    import msgspec

    typer.echo(msgspec.json.encode(report).decode())


def print_status(path: Path, as_json: bool) -> None:
    """Print how the continuous sync does; exit with a code when it is not well."""
    import msgspec

    from daedalus.shared.clock import NS_PER_SECOND, SystemClock
    from daedalus.storage.sync_health import read_health

    health = read_health(path)
    if health is None:
        typer.echo(f"no continuous sync has run: {path} is not there", err=True)
        raise typer.Exit(EXIT_FAILED)
    now = SystemClock().now_ns()
    if as_json:
        typer.echo(msgspec.json.encode(health).decode())
    else:
        age = (
            "never" if health.last_success_at is None else f"{(now - health.last_success_at) // NS_PER_SECOND:,} s ago"
        )
        typer.echo(f"{health.store}: last success {age}, {health.failed_runs} failed runs since")
        typer.echo(f"uploaded {health.uploaded.files:,} files, {health.uploaded.bytes:,} bytes since its start")
        if health.error:
            typer.echo(f"last error: {health.error}")
    if not health.is_well(now):
        raise typer.Exit(EXIT_FAILED)
