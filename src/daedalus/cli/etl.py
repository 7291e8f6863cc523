"""What `daedalus features` and `daedalus bars` share: options, the way from settings to an executor, and the summary.

The modules that this file imports at the top are light; the ETL itself is imported when a command runs.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.shared.clock import SystemClock

if TYPE_CHECKING:
    from daedalus.cli.wiring import Transform as Channel
    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
    from daedalus.etl.core.executor import Progress, Report, TransformExecutor
    from daedalus.etl.transforms.base import Transform

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
#: Without a terminal, progress is a log line that often at most, seconds.
LOG_INTERVAL_S = 10.0

InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        "--base-dir",
        help="The lake to read, a directory or s3://BUCKET/PREFIX (gs://, az://); default: the settings' storage.",
    ),
]
OutputOption = Annotated[
    str | None, typer.Option("--output", help="The lake to write; default: --input, else the settings' storage.")
]
SourceOption = Annotated[str, typer.Option("--source", help="The collector that recorded.")]
ExchangeOption = Annotated[str | None, typer.Option("--exchange", help="Only this exchange.")]
SymbolOption = Annotated[str | None, typer.Option("--symbol", help="Only this symbol: BTC-USD or BTC/USD.")]
YearOption = Annotated[int | None, typer.Option("--year", help="Only this year (UTC, by receive time).")]
MonthOption = Annotated[int | None, typer.Option("--month", help="Only this month, 1 to 12.")]
DayOption = Annotated[int | None, typer.Option("--day", help="Only this day of the month.")]
HourOption = Annotated[int | None, typer.Option("--hour", help="Only this hour of the day, 0 to 23.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help="Only from this hour on: 2025-06-19 or 2025-06-19T14:00 (UTC).")
]
ToOption = Annotated[str | None, typer.Option("--to", help="Only hours that begin before this time.")]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="Only the first rows of each market, that many: to try something, into a new --output."
    ),
]
FeatureSetOption = Annotated[
    str | None, typer.Option("--feature-set", help="core, standard or full; default: the settings'.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings; default config/config.yaml where it exists.")
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, over the file: --set storage.paths.tier_features=silver2."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Tell what would be read and written, and stop.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Log everything, and show where an error came from.")]


def load_settings(
    config: Path | None, overrides: list[str] | None, input: str | None, output: str | None, debug: bool
) -> "DaedalusConfig":
    """Read the settings with the flags over them, and set up the logs."""
    from daedalus.cli.logs import configure_logging
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.stores import place_flags, with_output_of_input
    from daedalus.cli.wiring import logging_options
    from daedalus.config.config import load_config

    flags = parse_overrides(overrides)
    for store, place in (("input", input), ("output", output or input)):
        if place is not None:
            flags |= place_flags(f"etl_storage_{store}", place)
    if debug:
        flags["logging.level"] = "DEBUG"
    settings = load_config(config, flags)
    if input is not None and output is None:
        settings = with_output_of_input(settings)
    configure_logging(**logging_options(settings))
    return settings


def filter_spec(
    exchange: str | None,
    symbol: str | None,
    year: int | None,
    month: int | None,
    day: int | None,
    hour: int | None,
    start: str | None,
    end: str | None,
) -> "FilterSpec":
    """Return the filter that the flags describe."""
    from daedalus.etl.core.config import FilterSpec, parse_instant

    since, until = (None if text is None else parse_instant(text) for text in (start, end))
    return FilterSpec(exchange, symbol, year, month, day, hour, since, until)


def lake(settings: "DaedalusConfig", source: str, transform: "Channel") -> "tuple[InputConfig, OutputConfig]":
    """Return where a transform reads and writes.

    Silver is read where it was written, in the output's lake; where there is none, in the input's.

    Raises
    ------
    ConfigError
        If the transform is switched off.
    """
    from dataclasses import replace

    from daedalus.cli.wiring import input_options, output_options, require_enabled
    from daedalus.etl.core.config import InputConfig, OutputConfig

    require_enabled(settings, transform)
    read = InputConfig(**input_options(settings, source))
    write = OutputConfig(**output_options(settings, source, transform))
    if write.silver("orderbook").folders():
        read = replace(read, processed_base_dir=write.base_dir)
    return read, write


def execute(
    transform: "Transform",
    places: "tuple[InputConfig, OutputConfig]",
    chosen: "FilterSpec",
    dry_run: bool,
    debug: bool,
    limit: int | None = None,
) -> None:
    """Run a transform, or tell what it would do; exit with a code when something failed."""
    from daedalus.etl.core.executor import TransformExecutor

    if dry_run:
        typer.echo(planned(TransformExecutor(transform, *places), chosen))
        return
    with _Progress(transform.name) as progress:
        report = _interruptible(TransformExecutor(transform, *places, on_progress=progress.show), chosen, limit)
    typer.echo(summary(transform.name, report))
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    for failure in report.failures:
        typer.echo(f"failed: {failure.market}: {failure.error}", err=True)
        if debug:
            _trace(failure.error)
    if report.failures:
        raise typer.Exit(EXIT_FAILED)


def _interruptible(executor: "TransformExecutor", chosen: "FilterSpec", limit: int | None) -> "Report":
    """Run; Ctrl-C and SIGTERM give up the partition that is being written and keep those that are whole."""
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return executor.run(chosen, limit)
    except KeyboardInterrupt:
        typer.echo("interrupted: finished partitions are kept, no half ones are left; run it again to go on", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _trace(error: BaseException) -> None:
    import traceback

    typer.echo("".join(traceback.format_exception(error)), err=True)


def planned(executor: "TransformExecutor", chosen: "FilterSpec") -> str:
    """Return what a run would read and write, line by line."""
    lines, files, targets = [], 0, 0
    for chain in executor.plan(chosen):
        lines.append(f"{chain.market}")
        for name, partitions in chain.inputs.items():
            for partition in partitions:
                count = len(partition.segments())
                files += count
                lines.append(f"  read   {name:<10} {partition.path} ({count} {_plural(count, 'file')})")
        for path in executor.targets(chain, chosen):
            targets += 1
            lines.append(f"  write  {path}{' (replaced)' if path.exists() else ''}")
    lines.append(f"would read {files:,} {_plural(files, 'file')} and write {targets:,}; nothing was done")
    return "\n".join(lines)


def summary(name: str, report: "Report") -> str:
    """Return what a run came to, as a small table."""
    rate = report.rows_in / report.seconds if report.seconds else 0.0
    bytes_out = sum(written.bytes for written in report.written)
    cells = {
        "partitions": f"{len(report.written):,}",
        "rows in": f"{report.rows_in:,}",
        "rows out": f"{report.rows_out:,}",
        "MB out": f"{bytes_out / 1e6:,.2f}",
        "seconds": f"{report.seconds:,.2f}",
        "rows/s": f"{rate:,.0f}",
        "files opened": f"{report.files_opened:,}",
        "failed": f"{len(report.failures):,}",
    }
    widths = [max(len(title), len(value)) for title, value in cells.items()]
    head, row = (
        "  ".join(text.rjust(width) for text, width in zip(texts, widths, strict=True))
        for texts in (cells, cells.values())
    )
    return f"{name}\n  {head}\n  {row}"


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

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(name, total=None)
    bar.start()

    def show(progress: "Progress") -> None:
        bar.update(task, total=progress.total, completed=progress.begun - 1, description=f"{name} {progress.market}")

    return show, bar.stop
