"""A websocket to an exchange: connecting at the host's pace, frames with their receive clock, errors by their cause."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from daedalus.ingestion.collectors.pace import HostPace
from daedalus.shared.clock import NS_PER_SECOND, Clock, utc
from daedalus.shared.errors import TransientCollectorError

CONNECT_S, SOCKET_S, CLOSE_S = 20.0, 10.0, 2.0
TEXT, BINARY = aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY
#: Answers that mean "you ask too much", and the wait where such an answer does not say how long.
BANS, BAN_S = (418, 429), 60.0
#: The longest wait that is believed: Binance bans for three days at most.
RETRY_AFTER_MAX_S = 3 * 86_400.0
#: Frames handed on together at most.
TOGETHER_MAX = 100

ReceivedText = tuple[str, int]
"""A frame's text and its receive clock, ns."""


@asynccontextmanager
async def websocket(
    url: str, *, max_frame_bytes: int, pace: HostPace, clock: Clock
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Connect when the host's pace allows a connection and a first message, and close on the way out. TLS is verified.

    Exchanges want the first message soon after connecting, so its token is taken before: the caller sends it without.

    Raises
    ------
    TransientCollectorError
        With the cause in words: name, certificate, refusal and time-out have different cures. An answer that asks to
        wait holds the whole host back.
    """
    await pace.messages.take()
    await pace.connects.take()
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SOCKET_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            # Not wait_for: up to Python 3.11 it may swallow a cancellation that comes as it ends.
            async with asyncio.timeout(CONNECT_S):
                ws = await session.ws_connect(url, max_msg_size=max_frame_bytes, autoping=True, compress=0)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = connect_error(url, error, clock)
            pace.hold(failure.retry_after or 0.0)
            raise failure from error
        try:
            yield ws
        finally:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await ws.close()


def connect_error(url: str, error: BaseException, clock: Clock) -> TransientCollectorError:
    """Say why a connection was not made, and what to look at."""
    why, wait = why_not_connected(error, clock, host=urlsplit(url).hostname or "")
    return TransientCollectorError(f"{url}: cannot connect, {why}", retry_after=wait)


def why_not_connected(error: BaseException, clock: Clock, *, host: str = "") -> tuple[str, float | None]:
    """Return the cause in words, with its cure, and the seconds that the server asked to wait."""
    retry_after: float | None = None
    cause = getattr(error, "os_error", error)
    match error:
        case aiohttp.WSServerHandshakeError():
            retry_after = wait_asked_for(error.status, error.headers or {}, clock)
            why = f"the server answered {error.status}"
            if retry_after is not None:
                until = utc(clock.now_ns() + int(retry_after * NS_PER_SECOND)).strftime("%Y-%m-%d %H:%M:%S UTC")
                why = f"{why} and wants a pause until {until}"
        case aiohttp.ClientConnectorDNSError() | socket.gaierror():
            name = host or getattr(error, "host", "the name")
            why = f"DNS: {name} does not resolve ({cause}); check the network and the address"
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            why = f"TLS: {_tls_cause(error)}; check this machine's clock, its certificates and the address"
        case TimeoutError():
            why = "time-out: no answer in time; check the network, a firewall or the address"
        case _ if isinstance(cause, ConnectionRefusedError):
            why = "refused: nothing listens there; check host and port"
        case _ if isinstance(cause, ConnectionResetError) or isinstance(error, aiohttp.ServerDisconnectedError):
            why = f"reset: the server hung up before it answered ({cause})"
        case _:
            why = f"{type(cause).__name__}: {cause}"
    return why, retry_after


def _tls_cause(error: BaseException) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return getattr(cause, "verify_message", "") or str(cause)


def wait_asked_for(status: int, headers: Mapping[str, str], clock: Clock) -> float | None:
    """Return the seconds that an answer asks to wait: it says so in seconds or as a date, by the server's own clock."""
    text = headers.get("Retry-After", "").strip()
    seconds: float | None = BAN_S if status in BANS else None
    if text.isdecimal():
        seconds = float(text)
    elif text:
        with suppress(ValueError, TypeError):
            until = parsedate_to_datetime(text)
            sent = headers.get("Date")
            seconds = (until - (parsedate_to_datetime(sent) if sent else utc(clock.now_ns()))).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


async def text_frames(
    ws: aiohttp.ClientWebSocketResponse, stall_timeout_s: float, clock: Clock
) -> AsyncIterator[list[ReceivedText]]:
    """Yield the data frames that have come, in their order, until the connection ends.

    Frames that came together are handed on together: a turn of this generator and of those behind it costs as much as
    a quarter of handling a frame. None of them waits for the next.

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
            frames, end = await _received(ws, clock)
            last[0] = clock.monotonic()
            if frames:
                yield frames
            if end is not None and stalled:
                raise TransientCollectorError(f"nothing came for {stall_timeout_s:g} s", reason="stall")
            if end is not None:
                raise _closed(ws, end)
    finally:
        watcher.cancel()


async def _received(
    ws: aiohttp.ClientWebSocketResponse, clock: Clock
) -> tuple[list[ReceivedText], aiohttp.WSMessage | None]:
    """Wait for a frame and take those that came with it; return them, and what ended the connection if it did."""
    frames: list[ReceivedText] = []
    at_hand = ws._reader._buffer
    while True:
        message = await ws.receive()
        now = clock.now_ns()
        if message.type is TEXT:
            frames.append((message.data, now))
        elif message.type is BINARY:
            frames.append((message.data.decode("utf-8", "replace"), now))
        else:
            return frames, message
        # Only of a text is it sure that `receive` does not wait, nor is cancelled, with frames in hand.
        if not at_hand or at_hand[0][0].type is not TEXT or len(frames) >= TOGETHER_MAX:
            return frames, None


def _closed(ws: aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage) -> TransientCollectorError:
    if ws.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return TransientCollectorError(
            "the exchange sent a frame longer than allowed; raise max_frame_mb if it is a real book"
        )
    cause = ws.exception() or message.extra or message.data or "no reason given"
    return TransientCollectorError(f"the connection ended (code {ws.close_code}: {cause})")
