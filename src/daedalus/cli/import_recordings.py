"""`daedalus import`: recordings of others into a lake."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from daedalus.ingestion.orchestrators.importing import ImportReport
    from daedalus.ingestion.writers.journal import SealOptions

EXIT_FAILED = 1
#: Without a terminal, a line of the log for so many lines read.
LOG_EVERY = 1_000_000
CHANNELS = "ticker,trades,l2,orderbook"


def import_recordings(
    files: Annotated[list[Path], typer.Argument(help="The files, plain or packed; several may be one session.")],
    format: Annotated[
        str, typer.Option(help="binance-raw, cryptofeed, coinbase-exchange, tardis-csv or bitstamp-log.")
    ],
    base_dir: Annotated[Path | None, typer.Option(help="The lake's directory, over storage.base_dir.")] = None,
    source: Annotated[str | None, typer.Option(help="The source to write into; default: the format's name.")] = None,
    exchange: Annotated[str | None, typer.Option(help="The exchange's name in the lake; default: its own.")] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="A market's name in the lake, over the exchange's id: OLD=NEW, or NEW if there is one only."),
    ] = None,
    channels: Annotated[str, typer.Option(help="What to write, separated by commas.")] = CHANNELS,
    depth: Annotated[int, typer.Option(min=1, help="Levels a side of rebuilt orderbook rows.")] = 20,
    interval_ms: Annotated[
        int, typer.Option("--orderbook-interval-ms", min=0, help="Least time between two of a market; 0: each update.")
    ] = 1000,
    config: Annotated[Path | None, typer.Option(help="Settings; default config/config.yaml where it exists.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, over the file: --set ingestion.segment_max_mb=9.")
    ] = None,
) -> None:
    """Turn recordings that others made into bronze rows, with the receive clock that they recorded.

    It may be cut off at any time and run again: it goes on where it stopped, and files that are in the lake already add
    nothing. What cannot be read is counted and entered in the gaps channel. See docs/IMPORT.md.

    Example: daedalus import --format binance-raw --base-dir data spot_btcusdt_*.gz

    Exit codes: 0 all imported, or nothing to do; 1 a file breaks off, or the disk refuses; 2 the settings, flags or
    files are wrong, and nothing was imported.
    """
    from daedalus.cli.logs import configure_logging
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.wiring import logging_options, writer_options
    from daedalus.config.config import load_config
    from daedalus.ingestion.orchestrators.importing import ImportOptions, import_files
    from daedalus.ingestion.writers.base import RawPaths

    flags = {**parse_overrides(overrides), **({"storage.base_dir": str(base_dir)} if base_dir else {})}
    settings = load_config(config, flags)
    configure_logging(**logging_options(settings))
    options = ImportOptions(
        format=known_format(format),
        exchange=exchange,
        symbols=tuple(symbol or ()),
        channels=known_channels(channels),
        depth=depth,
        interval_ms=interval_ms,
    )
    writing = writer_options(settings)
    paths = RawPaths(Path(writing["base_dir"]), source_name(source or format), writing["tier_raw"])
    with shown_progress("lines") as on_progress:
        report = import_files(files, options, paths, seal_options(writing, settings.ingestion.raw_format), on_progress)
    show(report, paths.ready)
    if report.problems:
        raise typer.Exit(EXIT_FAILED)


def known_format(name: str) -> str:
    """Return the name of a format. Raises `ConfigError` with the nearest one if there is none."""
    from difflib import get_close_matches

    from daedalus.ingestion.orchestrators.import_formats import FORMATS
    from daedalus.shared.errors import ConfigError

    if name in FORMATS:
        return name
    near = get_close_matches(name, FORMATS, 1)
    hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(FORMATS)}"
    raise ConfigError(f"--format {name}: there is no such format; {hint}")


def known_channels(text: str) -> tuple[str, ...]:
    """Return the channels of a list. Raises `ConfigError` for others than can be written."""
    from daedalus.shared.errors import ConfigError

    every = CHANNELS.split(",")
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in every]
    if unknown or not names:
        raise ConfigError(f"--channels {text}: choose from {', '.join(every)}")
    return names


def source_name(name: str) -> str:
    """Return a source's name. Raises `ConfigError` if it cannot be a directory's."""
    from daedalus.shared.errors import ConfigError
    from daedalus.shared.partitioning import sanitize_partition_value

    if sanitize_partition_value(name) != name:
        raise ConfigError(f"--source {name}: not a directory's name; such as {sanitize_partition_value(name)}")
    return name


def seal_options(writing: dict[str, object], raw_format: str) -> "SealOptions":
    """Return how segments are made, from the options of a writer."""
    from daedalus.ingestion.writers.journal import SealOptions

    return SealOptions(
        partition_by=tuple(writing["partition_by"]),  # type: ignore[arg-type]
        segment_bytes_max=int(float(writing["segment_max_mb"]) * (1 << 20)),  # type: ignore[arg-type]
        compression=str(writing["compression"]),
        compression_level=int(writing["compression_level"]),  # type: ignore[call-overload]
        format=raw_format,
    )


@contextmanager
def shown_progress(unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far the reading is: a bar on a terminal, lines of the log otherwise."""
    import sys

    import structlog
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    log, terminal = structlog.get_logger(__name__), sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    logged = 0
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True, disable=not terminal
    ) as bar:
        task = bar.add_task("", total=None)

        def on_progress(name: str, done: int, of: int) -> None:
            nonlocal logged
            bar.update(task, completed=done, total=of or None, description=name)
            if not terminal and done // LOG_EVERY > logged:
                logged = done // LOG_EVERY
                log.info("reading", what=name, done=done, of=of, unit=unit)

        yield on_progress


def show(report: "ImportReport", ready: Path) -> None:
    """Say what an import came to: results on stdout, what went wrong on stderr."""
    if report.skipped:
        more = f" and {len(report.skipped) - 1} more" if len(report.skipped) > 1 else ""
        typer.echo(f"in the lake already: {report.skipped[0]}{more}")
    rows = ", ".join(f"{channel} {count:,}" for channel, count in sorted(report.rows.items())) or "nothing"
    files = f"{len(report.files):,} file{'' if len(report.files) == 1 else 's'}"
    typer.echo(f"imported {sum(report.rows.values()):,} rows of {files} into {ready}: {rows}")
    if report.malformed:
        typer.echo(f"not readable: {report.malformed:,} lines or frames; the gaps channel says where")
    for note in report.notes:
        typer.echo(f"note: {note}")
    for problem in report.problems:
        typer.echo(problem, err=True)
