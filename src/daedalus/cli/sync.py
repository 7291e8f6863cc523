"""`daedalus sync`: the lake and another store."""

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daedalus.cli import etl

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.config import FilterSpec
    from daedalus.storage.sync_report import Move, SyncReport

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
HEALTH_NAME = "sync.json"
_DIRECTIONS = ("upload", "download", "both")


def sync(
    mode: Annotated[str, typer.Option("--mode", help="once, or continuous: again at each interval.")] = "once",
    interval: Annotated[
        float | None, typer.Option("--interval", min=1.0, help="Seconds between two runs; default: the settings'.")
    ] = None,
    direction: Annotated[str, typer.Option("--direction", help="upload, download, or both.")] = "upload",
    source: Annotated[
        Path | None, typer.Option("--source", "--base-dir", help="The lake here; default: the settings' sync.source.")
    ] = None,
    destination: Annotated[
        str | None,
        typer.Option(
            "--destination", help="The other store: s3://BUCKET/PREFIX, ... or a directory; default: the settings'."
        ),
    ] = None,
    paths: Annotated[
        list[str] | None,
        typer.Option("--paths", help="Only these folders of the lake, such as raw/ready/coinbase; may be repeated."),
    ] = None,
    include_raw: Annotated[
        bool | None, typer.Option("--include-raw/--no-include-raw", help="Whether recordings are synced.")
    ] = None,
    delete_after_transfer: Annotated[
        bool | None,
        typer.Option(
            "--delete-after-transfer/--keep",
            help="Remove local files that the store was found to hold, after sync.keep_local_hours.",
        ),
    ] = None,
    max_workers: Annotated[
        int | None, typer.Option("--max-workers", min=1, max=64, help="Transfers at once; default: the settings'.")
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option("--bandwidth", min=0.001, help="Limit, MB a second; default: the settings'.")
    ] = None,
    trust_ledger: Annotated[
        bool | None,
        typer.Option("--trust-ledger/--list", help="Take the ledger's word for what the store holds: list nothing."),
    ] = None,
    exchange: etl.ExchangeOption = None,
    symbol: etl.SymbolOption = None,
    start: etl.FromOption = None,
    end: etl.ToOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be moved, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Tell how the continuous sync does, and stop; exit 1 if it is not well.")
    ] = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
    debug: etl.DebugOption = False,
) -> None:
    """Copy segments, features, bars and manifests between the lake here and another store, under the same keys.

    A copy counts when the store told size and SHA-256 of what arrived; the lake's ledger remembers it. A second run
    sends nothing. Nothing is overwritten but an older feature or bar file that went up from here; two different files
    under one key are a conflict. Downloads are verified too.

    Example: daedalus sync --destination s3://my-bucket/pi-4 --dry-run

    Exit codes: 0 done; 1 something was not moved or differs, or the store cannot be used; 2 the settings or flags are
    wrong; 130 interrupted (what was verified counts, the next run goes on).
    """
    from daedalus.cli.sync_options import health_path, sync_settings

    _check_choice("--mode", mode, ("once", "continuous"))
    _check_choice("--direction", direction, _DIRECTIONS)
    given = {
        "interval_seconds": interval,
        "paths": paths or None,
        "include_raw": include_raw,
        "delete_after_transfer": delete_after_transfer,
        "max_workers": max_workers,
        "bandwidth_mb_per_second": bandwidth,
        "trust_ledger": trust_ledger,
    }
    settings = sync_settings(config, overrides, source, destination, given, debug)
    if status:
        _print_status(health_path(settings), as_json)
        return
    chosen = etl.filter_spec(exchange, symbol, None, None, None, None, start, end)
    if dry_run:
        _print_plan(settings, direction, chosen, as_json)
    elif mode == "continuous":
        _serve(settings, direction, chosen)
    else:
        _once(settings, direction, chosen, as_json)


def _check_choice(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    from daedalus.shared.errors import ConfigError

    if value not in allowed:
        raise ConfigError(f"{flag} {value}: give one of {', '.join(allowed)}")


def _stop_on_signals() -> threading.Event:
    """Return what Ctrl-C and SIGTERM set: the transfers at work are finished, then it ends."""
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return stop


def _once(settings: "DaedalusConfig", direction: Any, chosen: "FilterSpec", as_json: bool) -> None:
    from daedalus.cli.sync_options import make_sync

    stop = _stop_on_signals()
    with _Shown() as shown:
        report = make_sync(settings, chosen, stop=stop, on_move=shown.moved).run(direction)
    if as_json:
        typer.echo(_as_json(report))
    else:
        _print_report(report)
    if report.is_cut_short:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not report.is_clean:
        raise typer.Exit(EXIT_FAILED)


def _serve(settings: "DaedalusConfig", direction: Any, chosen: "FilterSpec") -> None:
    from daedalus.cli.sync_options import destination_url, health_path, make_sync
    from daedalus.storage.sync_service import SyncService

    stop = _stop_on_signals()
    service = SyncService(
        make_sync(settings, chosen, stop=stop),
        direction,
        store=destination_url(settings),
        health_path=health_path(settings),
        interval_s=settings.storage.sync.interval_seconds,
        stop=stop,
    )
    service.run()


def _print_plan(settings: "DaedalusConfig", direction: Any, chosen: "FilterSpec", as_json: bool) -> None:
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
        typer.echo(msgspec.json.encode({"moves": found, "conflicts": report.conflicts}).decode())
    else:
        for (kind, folder), (files, rows, size) in sorted(table.items()):
            typer.echo(f"{kind:<9} {folder:<44} {files:>8,} files {rows:>14,} rows {size:>16,} bytes")
        _print_troubles(report)
        typer.echo(
            f"would move {len(moves):,} files, {sum(m.size for m in moves):,} bytes; "
            f"{report.unchanged.files + report.adopted.files:,} are equal on both sides; nothing was done"
        )
    if report.conflict_count:
        raise typer.Exit(EXIT_FAILED)


def _print_report(report: "SyncReport") -> None:
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


def _as_json(report: "SyncReport") -> str:
    import msgspec

    return msgspec.json.encode(report).decode()


def _print_status(path: Path, as_json: bool) -> None:
    import msgspec

    from daedalus.shared.clock import NS_PER_SECOND, SystemClock
    from daedalus.storage.sync_service import read_health

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


class _Shown:
    """A line that counts on a terminal; nothing otherwise."""

    def __init__(self) -> None:
        self._files = self._bytes = 0
        self._close: Callable[[], None] = lambda: None

    def __enter__(self) -> "_Shown":
        self._update: Callable[[str], None] = lambda text: None
        if sys.stderr.isatty():
            from rich.console import Console

            status = Console(stderr=True).status("sync: looking for what is new")
            status.start()
            self._update, self._close = status.update, status.stop
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def moved(self, move: "Move") -> None:
        """Count a file."""
        self._files += 1
        self._bytes += move.size
        self._update(f"sync: {self._files:,} files, {self._bytes / 1e6:,.1f} MB")
