"""`daedalus sync`: the lake and another store."""

import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daedalus.cli import etl
from daedalus.cli.sync_print import print_json, print_plan, print_report, print_status

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.config import FilterSpec
    from daedalus.storage.sync_report import Move

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_DIRECTIONS = ("upload", "download", "both")


_Mode = Annotated[str, typer.Option("--mode", help="once, or continuous: again at each interval.")]
_Interval = Annotated[
    float | None, typer.Option("--interval", min=1.0, help="Seconds between two runs; default: the settings'.")
]
_Direction = Annotated[str, typer.Option("--direction", help="upload, download, or both.")]
_Source = Annotated[
    Path | None, typer.Option("--source", "--base-dir", help="The lake here; default: the settings' sync.source.")
]
_Destination = Annotated[
    str | None,
    typer.Option(
        "--destination", help="The other store: s3://BUCKET/PREFIX, ... or a directory; default: the settings'."
    ),
]
_Paths = Annotated[
    list[str] | None,
    typer.Option("--paths", help="Only these folders of the lake, such as raw/ready/coinbase; may be repeated."),
]
_IncludeRaw = Annotated[
    bool | None, typer.Option("--include-raw/--no-include-raw", help="Whether recordings are synced.")
]
_DeleteAfterTransfer = Annotated[
    bool | None,
    typer.Option(
        "--delete-after-transfer/--keep",
        help="Remove local files that the store was found to hold, after sync.keep_local_hours.",
    ),
]
_MaxWorkers = Annotated[
    int | None, typer.Option("--max-workers", min=1, max=64, help="Transfers at once; default: the settings'.")
]
_Bandwidth = Annotated[
    float | None, typer.Option("--bandwidth", min=0.001, help="Limit, MB a second; default: the settings'.")
]
_TrustLedger = Annotated[
    bool | None,
    typer.Option("--trust-ledger/--list", help="Take the ledger's word for what the store holds: list nothing."),
]


def sync(
    mode: _Mode = "once",
    interval: _Interval = None,
    direction: _Direction = "upload",
    source: _Source = None,
    destination: _Destination = None,
    paths: _Paths = None,
    include_raw: _IncludeRaw = None,
    delete_after_transfer: _DeleteAfterTransfer = None,
    max_workers: _MaxWorkers = None,
    bandwidth: _Bandwidth = None,
    trust_ledger: _TrustLedger = None,
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
        print_status(health_path(settings), as_json)
        return
    chosen = etl.filter_spec(exchange, symbol, None, None, None, None, start, end)
    if dry_run:
        print_plan(settings, direction, chosen, as_json)
    elif mode == "continuous":
        _serve(settings, direction, chosen)
    else:
        _once(settings, direction, chosen, as_json)


def _check_choice(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    from daedalus.shared.errors import ConfigError

    if value not in allowed:
        raise ConfigError(f"{flag} {value}: give one of {', '.join(allowed)}")


def _stop_on_signals() -> threading.Event:
    """Return what Ctrl-C and SIGTERM set: transfers at work are finished, then it ends; a second one ends it now."""
    stop = threading.Event()

    def end(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return stop


def _once(settings: "DaedalusConfig", direction: Any, chosen: "FilterSpec", as_json: bool) -> None:
    from daedalus.cli.sync_options import compact_first, make_sync

    stop = _stop_on_signals()
    compact_first(settings, direction, stop)
    with _Shown() as shown:
        report = make_sync(settings, chosen, stop=stop, on_move=shown.moved).run(direction)
    if as_json:
        print_json(report)
    else:
        print_report(report)
    if report.is_cut_short:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not report.is_clean:
        raise typer.Exit(EXIT_FAILED)


def _serve(settings: "DaedalusConfig", direction: Any, chosen: "FilterSpec") -> None:
    from daedalus.cli.sync_options import compact_first, destination_url, health_path, make_sync
    from daedalus.storage.sync_service import SyncService

    stop = _stop_on_signals()
    service = SyncService(
        make_sync(settings, chosen, stop=stop),
        direction,
        store=destination_url(settings),
        health_path=health_path(settings),
        interval_s=settings.storage.sync.interval_seconds,
        stop=stop,
        before=partial(compact_first, settings, direction, stop),
    )
    service.run()


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
