"""`daedalus ingest`: record markets until told to stop."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Runner
    from collections.abc import Callable

    from daedalus.config.config import DaedalusConfig
    from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
    from daedalus.ingestion.orchestrators.stats import Stats
    from daedalus.storage.retention import Retention


def ingest(
    sources: Annotated[str, typer.Option(help="What to record from, by commas: coinbase, ccxt.")] = "coinbase",
    config: Annotated[Path | None, typer.Option(help="Settings; default config/config.yaml where it exists.")] = None,
    duration: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds; default: never.")] = None,
    stats_interval: Annotated[float | None, typer.Option(help="Seconds between two statistics lines.")] = None,
    base_dir: Annotated[Path | None, typer.Option(help="The lake's directory, over storage.base_dir.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, over the file: --set coinbase.symbols=[BTC-USD].")
    ] = None,
) -> None:
    """Record markets into bronze Parquet until Ctrl-C, SIGTERM or the duration's end; then seal everything.

    Example: daedalus ingest --sources coinbase --set 'coinbase.symbols=[BTC-USD,ETH-USD]' --duration 600

    Exit codes: 0 stopped in order; 1 nothing could go on (the reason is on stderr; what was flushed is kept);
    2 the settings are wrong.
    """
    from daedalus.ingestion.orchestrators.memory import uncollected

    names = [name.strip() for name in sources.split(",") if name.strip()]

    def prepare() -> "tuple[DaedalusConfig, list[IngestionPipeline], Runner]":
        import asyncio

        settings = read_settings(config, overrides, stats_interval, base_dir)
        return settings, build_pipelines(settings, names), asyncio.Runner(loop_factory=loop_factory())

    with uncollected(prepare) as (settings, pipelines, runner), runner:
        every = runner.run(_record(settings, pipelines, duration))
    for stats in every:
        typer.echo(summary(stats))


def read_settings(
    config: Path | None, overrides: list[str] | None, stats_interval: float | None, base_dir: Path | None
) -> "DaedalusConfig":
    """Read the settings with the flags over them, and set up logs and memory."""
    from daedalus.cli.logs import configure_logging
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.wiring import logging_options
    from daedalus.config.config import load_config, permission_warning
    from daedalus.ingestion.orchestrators.memory import limit_heaps

    flags = parse_overrides(overrides)
    if stats_interval is not None:
        flags["ingestion.stats_interval_seconds"] = stats_interval
    if base_dir is not None:
        flags["storage.base_dir"] = str(base_dir)
    settings = load_config(config, flags)
    configure_logging(**logging_options(settings))
    if warning := permission_warning(settings):
        typer.secho(f"daedalus: {warning}", err=True)
    limit_heaps()
    return settings


def loop_factory() -> "Callable[[], AbstractEventLoop] | None":
    """Return uvloop's event loops where it is installed, which it is beside CCXT; None means asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def build_pipelines(settings: "DaedalusConfig", sources: list[str]) -> "list[IngestionPipeline]":
    """Build one pipeline per source. Raises `ConfigError` for sources that do not exist or have nothing to record."""
    from difflib import get_close_matches
    from functools import partial

    from daedalus.cli.wiring import pipeline_options, retention_options, source_options, writer_options
    from daedalus.ingestion.collectors.pace import HostPaces
    from daedalus.ingestion.collectors.registry import SOURCES
    from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
    from daedalus.ingestion.writers.registry import WRITERS
    from daedalus.shared.clock import SystemClock
    from daedalus.shared.errors import ConfigError
    from daedalus.storage.retention import Retention

    if not sources:
        raise ConfigError(f"--sources is empty: name at least one of {', '.join(SOURCES)}")
    pipelines, clock = [], SystemClock()
    paces = HostPaces(clock)
    retention = Retention(**retention_options(settings))
    for source in dict.fromkeys(sources):
        if source not in SOURCES:
            near = get_close_matches(source, SOURCES, 1) or list(SOURCES)
            raise ConfigError(f"--sources {source}: there is no such source; did you mean {near[0]}?")
        collectors = SOURCES[source](source_options(settings, source), clock, paces)
        writer = WRITERS[settings.ingestion.raw_format](source=source, clock=clock, **writer_options(settings))
        pipelines.append(
            IngestionPipeline(
                source=source,
                collectors=collectors,
                writer=writer,
                clock=clock,
                make_room=partial(make_room, retention),
                **pipeline_options(settings, source),
            )
        )
    return pipelines


def make_room(retention: "Retention") -> None:
    """Keep the lake within its disk budget, and say what that took."""
    import structlog

    log = structlog.get_logger(__name__)
    freed = retention.enforce()
    if freed.removed:
        log.info("segments_removed", count=len(freed.removed), megabytes=round(freed.bytes / 1e6, 1), why="disk budget")
    if freed.still_over:
        log.error(
            "disk_budget_exceeded",
            megabytes=round(freed.still_over / 1e6, 1),
            action="nothing more may be removed: upload segments, raise storage.max_disk_gb, add a disk, "
            "or allow storage.retention.delete_unsynced",
        )


async def _record(
    settings: "DaedalusConfig", pipelines: "list[IngestionPipeline]", duration: float | None
) -> "list[Stats]":
    """Run the pipelines until a signal or the duration's end. A second signal ends the process at once."""
    import asyncio
    import signal

    from daedalus.cli.monitoring import monitored

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if duration is not None:
        loop.call_later(duration, stop.set)

    async def run(pipeline: "IngestionPipeline") -> "Stats":
        try:
            return await pipeline.run(stop)
        finally:
            stop.set()

    async with monitored(settings, pipelines, stop):
        results = await asyncio.gather(*(run(pipeline) for pipeline in pipelines), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def summary(stats: "Stats") -> str:
    """Return what a recording came to, for the terminal."""
    rows = sum(stats.rows.values())
    lines = [f"recorded {rows:,} rows: " + (", ".join(f"{c} {n:,}" for c, n in sorted(stats.rows.items())) or "none")]
    per_row = f", {stats.segment_bytes / rows:.1f} bytes a row" if rows else ""
    lines.append(f"sealed {stats.segments:,} segments, {stats.segment_bytes / 1e6:,.2f} MB{per_row}")
    gaps = ", ".join(f"{reason} {count}" for reason, count in sorted(stats.gaps.items())) or "none"
    lines.append(f"gaps: {gaps}; dropped: {stats.dropped:,}")
    return "\n".join(lines)
