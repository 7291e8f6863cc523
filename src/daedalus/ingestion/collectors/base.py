"""What every collector promises, and the parts they share: websocket session, watchdog, backoff, pace, open gaps."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import aiohttp

from daedalus.shared.clock import Clock
from daedalus.shared.errors import TransientCollectorError
from daedalus.shared.events import Event, Gap

Stream = tuple[str, str]
"""(symbol, channel)."""


class Collector(Protocol):
    """One connection to an exchange.

    `events` connects, yields the events of each frame as they arrive, and raises when the connection ends: it never
    connects again by itself. It may be called again, and then goes on with what it knows (open gaps, trades seen).

    Raises
    ------
    TransientCollectorError
        From `events`: connecting again helps.
    RefusedError
        From `events`: it does not.
    """

    name: str
    exchange: str
    gaps: "OpenGaps"

    def events(self) -> AsyncIterator[Sequence[Event]]:
        """Connect and yield each frame's events, in arrival order."""

    def streams(self) -> Iterable[Stream]:
        """Return the (symbol, channel) pairs that it records."""

    def resync(self, symbols: Iterable[str]) -> None:
        """Have fresh snapshots sent for symbols whose recorded rows have a hole."""


class OpenGaps:
    """The intervals of one collector in which something is missing and whose end is not known yet.

    Opening one gives an open ledger row at once, so that it outlives a crash; closing gives the same row with its end.
    Bounded by the number of streams.
    """

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._open: dict[Stream, Gap] = {}

    def open(
        self,
        streams: Iterable[Stream],
        *,
        since: int,
        now: int,
        reason: str,
        missed: int | None = None,
        detail: str = "",
    ) -> list[Gap]:
        """Open a gap on each stream that has none open; return the rows. Times in ns."""
        rows = []
        for symbol, channel in streams:
            if (symbol, channel) in self._open:
                continue
            row = Gap(
                collected_at=now,
                exchange=self._exchange,
                symbol=symbol,
                channel=channel,
                started_at=min(since, now),
                ended_at=None,
                reason=reason,
                missed=missed,
                detail=detail or None,
            )
            self._open[symbol, channel] = row
            rows.append(row)
        return rows

    def close(self, streams: Iterable[Stream], now: int) -> list[Gap]:
        """Close the gaps that are open on these streams; return their rows with the end."""
        rows = []
        for stream in streams:
            gap = self._open.pop(stream, None)
            if gap is not None:
                rows.append(ended(gap, now))
        return rows

    def __contains__(self, stream: Stream) -> bool:
        """Tell whether a stream has a gap open."""
        return stream in self._open

    def __bool__(self) -> bool:
        """Tell whether any gap is open."""
        return bool(self._open)


def ended(gap: Gap, now: int) -> Gap:
    """Return an open gap with its end."""
    fields = {name: getattr(gap, name) for name in gap.__struct_fields__}
    return Gap(**{**fields, "collected_at": now, "ended_at": now})


class Backoff:
    """Capped exponential delays with jitter, without end.

    Parameters
    ----------
    first, cap
        Seconds: the first delay and the longest.
    rng
        Spreads each delay over its upper half, so that many recorders do not come back at the same instant.
    """

    def __init__(self, first: float, cap: float, rng: random.Random) -> None:
        self._first, self._cap, self._rng = first, cap, rng
        self._tries = 0

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        delay = min(self._cap, self._first * 2.0 ** min(self._tries, 32))
        self._tries += 1
        return delay * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start over after a connection that worked."""
        self._tries = 0


class TokenBucket:
    """At most `rate` takes a second, `burst` at once, over all tasks that share it."""

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = burst, clock.monotonic()

    async def take(self) -> None:
        """Wait for a token. Tasks are served in the order in which they came."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
        self._at = now
        if self._tokens < 0.0:
            await self._clock.sleep(-self._tokens / self._rate)


@asynccontextmanager
async def websocket(url: str, max_frame_bytes: int) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Connect, and close on the way out. TLS is verified; failures become `TransientCollectorError` with the cause."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            ws = await asyncio.wait_for(
                session.ws_connect(url, max_msg_size=max_frame_bytes, autoping=True, compress=0), timeout=20
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _connect_error(url, error) from error
        try:
            yield ws
        finally:
            with suppress(Exception):
                await asyncio.wait_for(ws.close(), timeout=2)


def _connect_error(url: str, error: Exception) -> TransientCollectorError:
    """Say what kind of failure it was: name, certificate, refusal and time-out have different cures."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        text = error.headers.get("Retry-After", "") if error.headers else ""
        retry_after = float(text) if text.isdigit() else None
        return TransientCollectorError(f"{url}: the server answered {error.status}", retry_after=retry_after)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return TransientCollectorError(f"{url}: the name does not resolve; check the network and the address")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return TransientCollectorError(f"{url}: TLS failed ({error}); check this machine's clock and certificates")
    if isinstance(error, TimeoutError):
        return TransientCollectorError(f"{url}: no answer within 20 s")
    return TransientCollectorError(f"{url}: cannot connect ({error})")


async def text_frames(
    ws: aiohttp.ClientWebSocketResponse, stall_timeout_s: float, clock: Clock
) -> AsyncIterator[tuple[str, int]]:
    """Yield (text, receive clock in ns) of every data frame until the connection ends.

    Raises
    ------
    TransientCollectorError
        When the peer closes, the connection breaks, a frame is too long (reason "disconnect") or nothing came for
        `stall_timeout_s` (reason "stall").
    """
    last = [clock.monotonic()]
    stalled = False

    async def watch() -> None:
        nonlocal stalled
        while clock.monotonic() - last[0] < stall_timeout_s:
            await clock.sleep(min(1.0, stall_timeout_s / 4))
        stalled = True
        # The peer is silent: do not wait for its answer to our close.
        if ws._response.connection is not None and ws._response.connection.transport is not None:
            ws._response.connection.transport.abort()

    watcher = asyncio.create_task(watch())
    try:
        while True:
            message = await ws.receive()
            now = clock.now_ns()
            last[0] = clock.monotonic()
            if message.type is aiohttp.WSMsgType.TEXT:
                yield message.data, now
            elif message.type is aiohttp.WSMsgType.BINARY:
                yield message.data.decode("utf-8", "replace"), now
            elif stalled:
                raise TransientCollectorError(f"nothing came for {stall_timeout_s:g} s", reason="stall")
            else:
                raise _closed(ws, message)
    finally:
        watcher.cancel()


def _closed(ws: aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage) -> TransientCollectorError:
    if ws.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return TransientCollectorError(
            "the exchange sent a frame longer than allowed; raise max_frame_mb if it is a real book"
        )
    cause = ws.exception() or message.extra or message.data or "no reason given"
    return TransientCollectorError(f"the connection ended (code {ws.close_code}: {cause})")
