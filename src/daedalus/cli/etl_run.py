"""Running a transform from the command line: what a dry run tells, progress, the summary and exit codes."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from daedalus.cli.etl_report import report_json, summary
from daedalus.shared.clock import SystemClock
from daedalus.shared.errors import ConfigError

if TYPE_CHECKING:
    from daedalus.etl.core.config import FilterSpec
    from daedalus.etl.core.executor import TransformExecutor
    from daedalus.etl.core.report import Progress, Report
    from daedalus.etl.core.runners import MakeExecutor
    from daedalus.storage.base import Place

EXIT_FAILED = 1
#: Ended by a signal: 130 after Ctrl-C, 143 after SIGTERM.
EXIT_SIGNAL = 128
#: Without a terminal, progress is a log line that often at most, seconds.
LOG_INTERVAL_S = 10.0


@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Parameters
    ----------
    dry_run, debug, as_json
        Only tell; log everything; print for machines.
    limit
        Rows of each market; None: all.
    workers
        Processes; 1 is this one alone.
    engine, scheduler
        ``local``, or ``dask`` and the address of its scheduler.

    Raises
    ------
    ConfigError
        If these do not go together.
    """

    dry_run: bool = False
    debug: bool = False
    as_json: bool = False
    limit: int | None = None
    workers: int = 1
    engine: str = "local"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        """Check what belongs to one engine only."""
        if self.engine not in ("local", "dask"):
            raise ConfigError(f"--engine {self.engine}: there are local and dask")
        if self.engine == "local" and self.scheduler is not None:
            raise ConfigError("--scheduler is for --engine dask")
        if self.engine == "dask" and self.scheduler is None:
            raise ConfigError("--engine dask needs --scheduler ADDRESS, which `dask scheduler` prints when it starts")
        if self.engine == "dask" and self.workers > 1:
            raise ConfigError("--workers is for --engine local: a cluster has the workers that joined it")
        if self.engine == "dask" and self.limit is not None:
            raise ConfigError("--limit is for --engine local: it stops in the middle of an hour, where no state stands")


def execute(name: str, make: "MakeExecutor", chosen: "FilterSpec", options: RunOptions) -> None:
    """Run a transform, or tell what it would do; exit with a code when something failed or was skipped.

    Parameters
    ----------
    name
        Of the transform, for the summary.
    make
        Makes the executor; takes `on_progress`.
    """
    if options.dry_run:
        typer.echo(_forecast_json(make(), chosen) if options.as_json else planned(make(), chosen))
        return
    with _Progress(name) as progress:
        report = _interruptible(make, chosen, options, progress.show)
    typer.echo(report_json(name, report) if options.as_json else summary(name, report))
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    for skipped in report.skipped:
        typer.echo(f"skipped: {skipped}", err=True)
    for failure in report.failures:
        typer.echo(f"failed: {failure.market}: {failure.error}", err=True)
        if options.debug:
            _trace(failure.error)
    if report.failures or report.skipped:
        raise typer.Exit(EXIT_FAILED)


def _interruptible(
    make: "MakeExecutor", chosen: "FilterSpec", options: RunOptions, show: "Callable[[Progress], None]"
) -> "Report":
    """Run; Ctrl-C and SIGTERM give up the partition that is being written and keep those that are whole.

    So the state stands where the last whole partition ends, and the next run goes on there.
    """
    import signal

    number = int(signal.SIGINT)

    def end(asked: int, _: object) -> None:
        nonlocal number
        number = asked
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        if options.scheduler is not None:
            from daedalus.etl.core.cluster import run_on_dask

            return run_on_dask(make, chosen, options.scheduler, show)
        if options.workers > 1:
            from daedalus.etl.core.workers import run_markets

            return run_markets(make, chosen, options.workers, options.limit, show)
        return make(on_progress=show).run(chosen, options.limit)
    except KeyboardInterrupt:
        typer.echo(
            "interrupted: finished partitions are kept, no half ones are left; with --state-path, run it again to go "
            "on after them",
            err=True,
        )
        raise typer.Exit(EXIT_SIGNAL + number) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _trace(error: BaseException) -> None:
    import traceback

    typer.echo("".join(traceback.format_exception(error)), err=True)


def planned(executor: "TransformExecutor", chosen: "FilterSpec") -> str:
    """Return what a run would read and write, line by line."""
    lines, files, targets = [], 0, 0
    for foreseen in executor.forecast(chosen):
        lines.append(f"{foreseen.market}")
        lines += [f"  note   {note}" for note in foreseen.notes]
        if foreseen.state is not None:
            lines.append(f"  state  {foreseen.state} ({_state_use(foreseen.state)})")
        for name, partitions in foreseen.inputs.items():
            for partition in partitions:
                count = len(partition.segments())
                files += count
                lines.append(f"  read   {name:<10} {partition.path} ({count} {_plural(count, 'file')})")
        for path in foreseen.targets:
            targets += 1
            lines.append(f"  write  {path}{' (replaced)' if path.exists() else ''}")
    lines.append(f"would read {files:,} {_plural(files, 'file')} and write {targets:,}; nothing was done")
    return "\n".join(lines)


def _state_use(state: "Place") -> str:
    return "there, replaced by newer ones" if state.exists() else "new"


def _forecast_json(executor: "TransformExecutor", chosen: "FilterSpec") -> str:
    import orjson

    markets = [
        {
            "exchange": one.market.exchange,
            "symbol": one.market.symbol,
            "read": [str(place) for partitions in one.inputs.values() for p in partitions for place in p.segments()],
            "write": [str(path) for path in one.targets],
            "state": None if one.state is None else str(one.state),
            "notes": one.notes,
        }
        for one in executor.forecast(chosen)
    ]
    return orjson.dumps({"dry_run": True, "markets": markets}).decode()


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


class _Progress:
    """A bar on a terminal, log lines otherwise; both on stderr, so that stdout stays for the result."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Callable[[Progress], None] | None = None
        self._close: Callable[[], None] = lambda: None
        self._clock = SystemClock()
        self._logged_at = -LOG_INTERVAL_S

    def __enter__(self) -> "_Progress":
        if sys.stderr.isatty():
            self._bar, self._close = _bar(self._name)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def show(self, progress: "Progress") -> None:
        """Tell that a partition begins."""
        if self._bar is not None:
            self._bar(progress)
            return
        if self._clock.monotonic() - self._logged_at < LOG_INTERVAL_S:
            return
        self._logged_at = self._clock.monotonic()
        import structlog

        log = structlog.get_logger("daedalus.etl")
        log.info("partition", transform=self._name, market=str(progress.market), at=progress.begun, of=progress.total)


def _bar(name: str) -> "tuple[Callable[[Progress], None], Callable[[], None]]":
    """Return what shows a progress bar with rate and time left, and what takes it away."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    rate = TextColumn("{task.fields[rate]:.2f}/s")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    task, clock = bar.add_task(name, total=None, rate=0.0), SystemClock()
    began = clock.monotonic()
    bar.start()

    def show(progress: "Progress") -> None:
        done = progress.begun - 1
        rate = done / max(clock.monotonic() - began, 1e-9)
        bar.update(task, total=progress.total, completed=done, rate=rate, description=f"{name} {progress.market}")

    return show, bar.stop
