"""`daedalus watch`: features computed as segments appear."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl
from daedalus.cli.features import table_options
from daedalus.shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.config import FeatureConfig
    from daedalus.etl.core.report import Report
    from daedalus.etl.core.watching import Watcher
    from daedalus.etl.transforms.base import Market, StatefulTransform

EXIT_FAILED = 1

_Tables = Annotated[
    str | None, typer.Option("--tables", help="orderbook, trades, ticker, or some: a,b; default: the settings'.")
]
_Late = Annotated[
    str | None, typer.Option("--late", help="recompute or report what comes when its hour is over; default: settings.")
]
_Interval = Annotated[
    float | None, typer.Option("--interval", min=0.1, help="Seconds between two looks; default: the settings'.")
]
_State = Annotated[
    Path | None,
    typer.Option("--state-path", help="Folder of states; default: watch/SOURCE below storage.paths.state_dir."),
]
_Once = Annotated[bool, typer.Option("--once", help="Do what there is to do, and stop.")]


def watch(
    input: etl.InputOption = None,
    output: etl.OutputOption = None,
    source: etl.SourceOption = None,
    tables: _Tables = None,
    late: _Late = None,
    interval: _Interval = None,
    state_path: _State = None,
    feature_set: etl.FeatureSetOption = None,
    once: _Once = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
    debug: etl.DebugOption = False,
) -> None:
    """Follow a lake while it is recorded: features of new segments, seconds after they appear.

    The open hour of a market is computed again when a segment of it appears and replaced in one step; when it is over
    it stands for good, and the state moves on. So at any time the rows are those of `daedalus features` over the same
    segments, also after the process was killed. Ends on Ctrl-C and SIGTERM.

    Example: daedalus watch --base-dir data --tables orderbook,trades --late report

    Exit codes: 0 told to stop, or done (--once); 1 with --once, something failed or was skipped; 2 the settings or
    flags are wrong.
    """
    flags = {"tables": tables and f"[{tables}]", "late": late, "interval_seconds": interval}
    flags["store_interval_seconds"] = interval and max(1.0, interval)
    given = [f"etl.watch.{name}={value}" for name, value in flags.items() if value is not None]
    settings = etl.load_settings(config, [*(overrides or []), *given], input, output, debug)
    from daedalus.cli.wiring import watch_states
    from daedalus.storage.local import make_dirs
    from daedalus.storage.lock import exclusive

    recorded_by = etl.source_of(settings, source, settings.etl.watch.tables)
    states = state_path or watch_states(settings) / recorded_by
    if states.suffix == ".json":
        raise ConfigError(f"--state-path {states}: the watcher keeps states of many markets: give a folder")
    make_dirs(states)
    stop, told = threading.Event(), _Told()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with exclusive(states / "watch.lock", "watcher"):
        watcher = _watcher(settings, recorded_by, states, feature_set, stop, told)
        if not once:
            watcher.run()
            return
        watcher.look()
    if told.problems:
        raise typer.Exit(EXIT_FAILED)


def _watcher(
    settings: "DaedalusConfig",
    source: str,
    states: Path,
    feature_set: str | None,
    stop: threading.Event,
    told: "_Told",
) -> "Watcher":
    from daedalus.cli.wiring import watch_options
    from daedalus.etl.core.following import Follower, FollowRules
    from daedalus.etl.core.watching import Watcher, interrupt_on
    from daedalus.etl.utils.state_manager import StateManager
    from daedalus.shared.clock import SystemClock

    is_local = etl.lake(settings, source, "orderbook")[0].bronze("orderbook").local_path is not None
    options, clock = watch_options(settings, is_local), SystemClock()
    rules, followers = FollowRules(**options["rules"]), list[Follower]()
    for table in options["tables"]:
        read, write = etl.lake(settings, source, table)
        transform = _transforms()[table](table_options(settings, feature_set))
        kept = StateManager(states, options["checkpoints"])
        follower = Follower(transform, read, write, kept, rules, clock=clock, on_progress=interrupt_on(stop))
        followers.append(follower)
    return Watcher(followers, interval_s=options["interval_s"], clock=clock, stop=stop, told=told)


def _transforms() -> "dict[str, Callable[[FeatureConfig], StatefulTransform]]":
    from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
    from daedalus.etl.transforms.ticker import TickerFeatureTransform
    from daedalus.etl.transforms.trades import TradesFeatureTransform

    return {
        "orderbook": OrderbookFeatureTransform,
        "trades": TradesFeatureTransform,
        "ticker": TickerFeatureTransform,
    }


class _Told:
    """Logs what was done, and counts what went wrong."""

    problems = 0

    def __call__(self, table: str, market: "Market", report: "Report") -> None:
        import structlog

        log = structlog.get_logger("daedalus.watch").bind(table=table, market=str(market))
        for note in report.notes:
            log.info("note", note=note)
        for skipped in report.skipped:
            log.warning("late", skipped=skipped)
        for failure in report.failures:
            log.error("failed", error=str(failure.error))
        for written in report.written:
            log.info("written", path=str(written.path), rows=written.rows)
        self.problems += len(report.skipped) + len(report.failures)
