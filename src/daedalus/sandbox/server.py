"""The websocket server of the sandbox. It listens on 127.0.0.1 and nowhere else.

Any path upgrades to the protocol; ``GET /stats`` tells as JSON what was sent (`stats.ServerStats`).
"""

import asyncio
import contextlib
import errno
import logging
import math
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

import msgspec
from aiohttp import web

from daedalus.sandbox.base import MarketSource, WireProtocol
from daedalus.sandbox.connection import Connection
from daedalus.sandbox.faults import Fault, FaultPlan, RefusalPlan, check_products
from daedalus.sandbox.link import CLOSE_S, GOING_AWAY, Link
from daedalus.sandbox.registry import protocol as protocol_of
from daedalus.sandbox.stats import ConnectionStats, ServerStats
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import ConfigError

_LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"
#: Connections at a time; more are refused with 503.
OPEN_MAX = 256
#: Longest message of a client.
MESSAGE_BYTES_MAX = 1024 * 1024
#: Bytes written before sending waits for the client to read.
WRITER_LIMIT = 64 * 1024


class SandboxServer:
    """A local exchange.

    Parameters
    ----------
    protocol
        What to speak: an object, or a name of `registry.PROTOCOLS`.
    source
        The market.
    port
        0 picks a free one.
    faults
        What goes wrong, as objects or in the language of `faults`.
    close_at_end
        Close each connection when its recording has ended.
    first_message_s
        Wall seconds within which a client has to say something; None takes the protocol's own.
    clock
        Time of faults, heartbeats and statistics.

    Examples
    --------
    >>> async def record() -> None:
    ...     async with SandboxServer("coinbase", SyntheticSource(seed=1), faults=["disconnect@5"]) as server:
    ...         await connect_to(server.url)
    """

    def __init__(
        self,
        protocol: WireProtocol | str,
        source: MarketSource,
        *,
        port: int = 0,
        faults: Iterable[Fault | str] = (),
        close_at_end: bool = False,
        first_message_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.protocol = protocol_of(protocol) if isinstance(protocol, str) else protocol
        self.source, self.port = source, port
        self._faults = tuple(Fault.parse(f) if isinstance(f, str) else f for f in faults)
        check_products(self._faults, source.products)
        self._refusals = RefusalPlan(self._faults)
        self._close_at_end = close_at_end
        self._first_message_s = self.protocol.first_message_s if first_message_s is None else first_message_s
        self._clock = clock or SystemClock()
        self._started = self._clock.monotonic()
        self._stats = ServerStats(self.protocol.name, source.name, list(source.products))
        self._open: dict[int, Connection] = {}
        self._runner: web.AppRunner | None = None
        self._driver: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients connect; meaningful once started."""
        return f"ws://{HOST}:{self.port}"

    def stats(self) -> ServerStats:
        """Return what was sent so far. The object is live: do not change it."""
        self._stats.uptime_s = self._elapsed()
        return self._stats

    # Life

    async def start(self) -> None:
        """Listen and let the market run. Raises `ConfigError` if the port cannot be had."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        app.on_shutdown.append(self._hang_up)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        await self._runner.setup()
        try:
            await self._listen(self._runner)
        except BaseException:
            await self._runner.cleanup()
            raise
        self._started = self._clock.monotonic()
        self._driver = asyncio.create_task(self.source.run(), name="sandbox market")
        self._driver.add_done_callback(_report)

    async def _listen(self, runner: web.AppRunner) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port}: must be between 0 and 65535 (0 picks a free one)")
        try:
            await web.TCPSite(runner, HOST, self.port).start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                what = "is in use: stop what listens there, or choose another with --port (0 picks a free one)"
            elif error.errno in (errno.EACCES, errno.EPERM):
                what = "is not allowed: choose one above 1023 with --port (0 picks a free one)"
            else:
                what = f"cannot be opened ({error}): choose another with --port (0 picks a free one)"
            raise ConfigError(f"port {self.port} on {HOST} {what}") from error
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close all connections and stop listening. Raises what the market died of, if it did. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await driver

    async def __aenter__(self) -> "SandboxServer":
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def _hang_up(self, app: web.Application) -> None:
        await asyncio.gather(*(c.link.close(GOING_AWAY, "the sandbox stops") for c in tuple(self._open.values())))

    # Faults from tests

    async def inject(self, fault: Fault | str, connection: int | None = None) -> int:
        """Let a fault happen now.

        Parameters
        ----------
        fault
            Its time is ignored. Not `refuse`.
        connection
            The id of one connection; None means all that are open.

        Returns
        -------
        int
            How many connections it happened to.
        """
        made = Fault.parse(fault) if isinstance(fault, str) else fault
        check_products([made], self.source.products)
        hit = [c for ident, c in tuple(self._open.items()) if connection in (None, ident)]
        await asyncio.gather(*(c.inject(made) for c in hit))
        return len(hit)

    # Requests

    def _elapsed(self) -> float:
        return round(self._clock.monotonic() - self._started, 3)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._accept(request)
        if request.path == "/stats":
            return web.Response(body=msgspec.json.encode(self.stats()), content_type="application/json")
        reply = self.protocol.rest(request.path_qs, self.source)
        if reply is None:
            return web.Response(status=404, text="connect by websocket, or GET /stats\n")
        return web.Response(body=reply.body, status=reply.status, content_type="application/json")

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        retry_after = self._refusals.retry_after(self._elapsed())
        if retry_after is None and len(self._open) >= OPEN_MAX:
            retry_after = 1.0
        if retry_after is not None:
            self._stats.refused += 1
            return web.Response(status=503, headers={"Retry-After": str(math.ceil(retry_after))})
        websocket = web.WebSocketResponse(
            timeout=CLOSE_S, compress=False, max_msg_size=MESSAGE_BYTES_MAX, writer_limit=WRITER_LIMIT
        )
        await websocket.prepare(request)
        index = self._stats.connections_opened
        stats = ConnectionStats(index, request.path_qs, self._elapsed())
        self._stats.add(stats)
        try:
            await self._serve(websocket, Link(websocket, request.transport, self._clock, stats), index)
        finally:
            stats.closed_s, stats.close_code = self._elapsed(), stats.close_code or websocket.close_code
        return websocket

    async def _serve(self, websocket: web.WebSocketResponse, link: Link, index: int) -> None:
        connection = self._open[index] = Connection(
            websocket,
            link,
            self.protocol,
            self.source,
            FaultPlan(self._faults, index),
            first_message_s=self._first_message_s,
            close_at_end=self._close_at_end,
        )
        try:
            await connection.run()
        finally:
            del self._open[index]


def _report(driver: asyncio.Task[None]) -> None:
    """Say at once that a market died: until the server stops, clients only see it stand still."""
    if not driver.cancelled() and (error := driver.exception()) is not None:
        _LOG.error("the market of the sandbox stands still", exc_info=error)


@contextlib.contextmanager
def in_thread(server: SandboxServer) -> Iterator[SandboxServer]:
    """Run a server in a thread of its own, for code that is not asynchronous.

    Parameters
    ----------
    server
        Not started. Inside the block its `url`, `port` and `stats()` may be read.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
