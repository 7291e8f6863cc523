"""Metrics and health over HTTP, on the recorder's own event loop."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog
from aiohttp import web

from daedalus.ingestion.monitoring.metrics import CONTENT_TYPE, render
from daedalus.ingestion.monitoring.status import Status
from daedalus.shared.errors import ConfigError, CorruptError
from daedalus.storage.sync_health import SyncHealth, read_health

log = structlog.get_logger(__name__)

Look = Callable[[], Sequence[Status]]


@asynccontextmanager
async def serving(host: str, port: int, look: Look, sync_health: Path) -> AsyncIterator[int]:
    """Serve for the length of a block; give the port, which the system chooses when it is 0.

    Parameters
    ----------
    look
        Returns the statuses as they are.
    sync_health
        The file of a continuous sync; it need not be there.

    Raises
    ------
    ConfigError
        If the address cannot be listened on.
    """
    runner = web.AppRunner(_app(look, sync_health), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(
                f"metrics.port: cannot listen on {host}:{port}: {error.strerror or error}. Another recorder or program "
                "has it, perhaps: choose another port, or null for none"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _app(look: Look, sync_health: Path) -> web.Application:
    async def metrics(_: web.Request) -> web.Response:
        text = render(look(), _sync(sync_health))
        return web.Response(text=text, headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_: web.Request) -> web.Response:
        return _answer([f"{status.source}: its writer hangs" for status in look() if status.hangs])

    async def readyz(_: web.Request) -> web.Response:
        return _answer([f"{status.source}: {fault}" for status in look() for fault in status.faults()])

    async def state(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(look()), content_type="application/json")

    app = web.Application()
    for path, answer in (("/metrics", metrics), ("/healthz", healthz), ("/readyz", readyz), ("/status", state)):
        app.router.add_get(path, answer)
    return app


def _answer(reasons: Sequence[str]) -> web.Response:
    return web.Response(text="\n".join(reasons or ["ok"]) + "\n", status=503 if reasons else 200)


def _sync(path: Path) -> SyncHealth | None:
    try:
        return read_health(path)
    except (CorruptError, OSError) as error:
        log.warning("sync_health_unreadable", error=str(error))
        return None
