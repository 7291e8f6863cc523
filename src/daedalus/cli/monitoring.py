"""From settings to what a recorder tells about itself: its status file, its metrics, its signs of life."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline


def monitoring_options(settings: "DaedalusConfig") -> dict[str, Any]:
    """Return where a recorder answers (no port: nowhere), and the seconds between two writings of its status."""
    metrics = settings.metrics
    return {"host": metrics.host, "port": metrics.port, "interval_s": metrics.status_interval_seconds}


@asynccontextmanager
async def monitored(
    settings: "DaedalusConfig", pipelines: "Sequence[IngestionPipeline]", stop: asyncio.Event
) -> AsyncIterator[None]:
    """Tell about the pipelines for the length of a block. Raises `ConfigError` if the port cannot be listened on."""
    from daedalus.cli.sync_options import health_path
    from daedalus.cli.wiring import raw_paths, retention_options
    from daedalus.ingestion.monitoring.disk import look_at_disk
    from daedalus.ingestion.monitoring.monitor import Monitor
    from daedalus.ingestion.monitoring.notify import Notifier
    from daedalus.shared.clock import SystemClock

    options, clock, budget = monitoring_options(settings), SystemClock(), retention_options(settings)
    look = partial(
        look_at_disk, budget["base"], clock, max_bytes=budget["max_bytes"], min_free_bytes=budget["min_free_bytes"]
    )
    monitor = Monitor(
        [(raw_paths(settings, pipeline.source).active, pipeline) for pipeline in pipelines],
        interval_s=options["interval_s"],
        clock=clock,
        look_at_disk=look,
        notifier=Notifier.from_environment(),
    )
    async with AsyncExitStack() as stack:
        if options["port"] is not None:
            from daedalus.ingestion.monitoring.server import serving

            served = serving(options["host"], options["port"], monitor.statuses, health_path(settings))
            await stack.enter_async_context(served)
        task = asyncio.create_task(monitor.run(stop), name="monitor")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await monitor.close()
