"""`CoinbaseCollector`: one websocket connection to Coinbase Advanced Trade, for a few products.

Few products a connection, because the exchange numbers its messages per connection: a gap taints all of them.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress

import aiohttp
import msgspec
import structlog

from daedalus.ingestion.collectors.base import OpenGaps, Stream, TokenBucket, text_frames, websocket
from daedalus.ingestion.collectors.coinbase_messages import Counters, SeenTrades
from daedalus.ingestion.collectors.coinbase_parser import CoinbaseParser
from daedalus.shared.clock import NS_PER_SECOND, Clock, SystemClock
from daedalus.shared.errors import MalformedError, RefusedError, TransientCollectorError
from daedalus.shared.events import ALL, Event, Frame

log = structlog.get_logger(__name__)

URL = "wss://advanced-trade-ws.coinbase.com"
#: The exchange's limits: 8 connections and 8 unauthenticated messages a second for an address.
MESSAGES_PER_SECOND = 8.0
#: How long a book may wait for its snapshot after a gap before the connection is given up.
RESYNC_TIMEOUT_S = 20.0
#: Bound of messages waiting to be sent: two per product and channel.
OUTBOX_MAX = 1024
JWT_LIFE_S = 120

#: The exchange's channel for each bronze channel.
WIRE_CHANNELS = {"l2": "level2", "orderbook": "level2", "trades": "market_trades", "ticker": "ticker"}


class CoinbaseCollector:
    """Records products of Coinbase: trades, ticker, l2, orderbook, frames. No key is needed.

    Parameters
    ----------
    symbols
        Products of this connection, such as ``BTC-USD``.
    channels
        Bronze channels to record.
    url
        The websocket's address.
    exchange
        The exchange's name in the lake.
    max_orderbook_depth, orderbook_interval_ms
        Levels a side of an `orderbook` row, and the least time between two of them (0 = every update).
    stall_timeout_seconds
        Silence after which the connection counts as dead; heartbeats come every second.
    subscribe_timeout_seconds
        How long the exchange may take to acknowledge a subscription.
    max_frame_mb
        The longest frame accepted, MiB; BTC-USD's snapshot takes about 5.
    api_key, api_secret
        Key name and EC private key (PEM), for signed subscriptions.
    bucket
        The pace of messages and connections, shared by all connections of this machine.
    """

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        channels: Sequence[str] = ("ticker", "trades", "l2", "orderbook"),
        url: str = URL,
        exchange: str = "coinbase",
        max_orderbook_depth: int = 20,
        orderbook_interval_ms: int = 1000,
        stall_timeout_seconds: float = 15.0,
        subscribe_timeout_seconds: float = 10.0,
        max_frame_mb: float = 64,
        api_key: str | None = None,
        api_secret: str | None = None,
        clock: Clock | None = None,
        bucket: TokenBucket | None = None,
    ) -> None:
        self.exchange = exchange
        self.name = f"{exchange}:{symbols[0]}" + (f"+{len(symbols) - 1}" if len(symbols) > 1 else "")
        self.gaps = OpenGaps(exchange)
        self.counters = Counters()
        self.refused: set[str] = set()
        self._symbols, self._channels, self._url = tuple(symbols), tuple(channels), url
        self._depth, self._interval_ms = max_orderbook_depth, orderbook_interval_ms
        self._stall_s, self._subscribe_s = stall_timeout_seconds, subscribe_timeout_seconds
        self._max_frame_bytes = int(max_frame_mb * (1 << 20))
        self._key, self._secret = api_key, api_secret
        self._clock = clock or SystemClock()
        self._bucket = bucket or TokenBucket(MESSAGES_PER_SECOND, MESSAGES_PER_SECOND, self._clock)
        self._seen = SeenTrades()
        self._wire = sorted({WIRE_CHANNELS[c] for c in channels if c in WIRE_CHANNELS}) or [
            "level2",
            "market_trades",
            "ticker",
        ]
        self._resync: set[str] = set()

    def streams(self) -> Iterable[Stream]:
        """Return the (symbol, channel) pairs that it records."""
        typed = [c for c in self._channels if c != "frames"]
        frames = [(ALL, "frames")] if "frames" in self._channels else []
        return [(s, c) for s in self._symbols if s not in self.refused for c in typed] + frames

    def resync(self, symbols: Iterable[str]) -> None:
        """Have fresh level2 snapshots sent for these products."""
        self._resync.update(set(symbols) & set(self._symbols))

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        """Connect, subscribe and yield each frame's events until the connection ends, which raises."""
        await self._bucket.take()
        async with websocket(self._url, self._max_frame_bytes) as ws:
            session = _Session(self, ws)
            sender = asyncio.create_task(session.send_all(), name=f"send-{self.name}")
            try:
                async for text, now in text_frames(ws, self._stall_s, self._clock):
                    yield session.on_frame(text, now)
            except MalformedError as error:
                raise TransientCollectorError(str(error), reason="sequence_gap") from error
            except TransientCollectorError:
                session.on_end()
                raise
            finally:
                sender.cancel()
                with suppress(asyncio.CancelledError, aiohttp.ClientError, OSError):
                    await sender


class _Session:
    """One connection's life: what was asked of the exchange and what it answered."""

    def __init__(self, collector: CoinbaseCollector, ws: aiohttp.ClientWebSocketResponse) -> None:
        c = self._c = collector
        self._ws = ws
        self._id = secrets.token_hex(4)
        self._record_frames = "frames" in c._channels
        self._sent: list[Event] = []
        self._outbox: asyncio.Queue[tuple[str, str, tuple[str, ...]]] = asyncio.Queue(OUTBOX_MAX)
        self._parser = CoinbaseParser(
            exchange=c.exchange,
            symbols=[s for s in c._symbols if s not in c.refused],
            channels=c._channels,
            depth=c._depth,
            interval_ms=c._interval_ms,
            gaps=c.gaps,
            seen=c._seen,
            counters=c.counters,
        )
        self._unanswered = {(wire, s) for wire in c._wire for s in c._symbols if s not in c.refused}
        self._alone = False
        self._errors = c.counters.errors
        self._asked_at = c._clock.monotonic()
        self._waiting: dict[str, float] = {}
        wanted = tuple(sorted({s for _, s in self._unanswered}))
        # Heartbeats need no product: a refused one must not take them along.
        self._ask("subscribe", "heartbeats", ())
        for wire in c._wire:
            self._ask("subscribe", wire, wanted)

    def on_frame(self, text: str, now: int) -> list[Event]:
        """Return the events of a frame, and see to what it makes necessary."""
        events: list[Event] = []
        if self._record_frames:
            events += [*self._sent, self._frame(text, "in", now)]
            self._sent.clear()
        events += self._parser.feed(text, now)
        if self._record_frames and self._c.gaps:
            events += self._c.gaps.close([(ALL, "frames")], now)
        if self._unanswered:
            self._check_answers()
        self._check_books()
        return events

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _check_answers(self) -> None:
        """Name the products that the exchange does not take, without letting them take the others along."""
        subscribed = self._parser.subscribed
        self._unanswered = {
            (wire, s) for wire, s in self._unanswered if not {s, s.removesuffix("C")} & subscribed.get(wire, set())
        }
        if not self._unanswered:
            return
        if self._c.counters.errors > self._errors and not self._alone:
            # One bad product refuses the whole message: ask for each by itself.
            self._alone, self._asked_at = True, self._c._clock.monotonic()
            for wire, symbol in sorted(self._unanswered):
                self._ask("subscribe", wire, (symbol,))
        allowed = self._c._subscribe_s + len(self._c._symbols) * len(self._c._wire) / MESSAGES_PER_SECOND
        if self._c._clock.monotonic() - self._asked_at > allowed:
            self._refuse({symbol for _, symbol in self._unanswered})

    def on_end(self) -> None:
        """Tell a refusal from a lost connection: an exchange may answer with an error and then stay silent or close."""
        if self._unanswered and self._c.counters.errors > self._errors and not self._parser.subscribed:
            self._refuse({symbol for _, symbol in self._unanswered})

    def _refuse(self, symbols: set[str]) -> None:
        self._unanswered.clear()
        said = self._parser.refusal or "nothing"
        self._c.refused |= symbols
        for symbol in sorted(symbols):
            log.error("symbol_refused", exchange=self._c.exchange, symbol=symbol, exchange_said=said, action="left out")
        if self._c.refused >= set(self._c._symbols):
            names = ", ".join(sorted(symbols))
            raise RefusedError(
                f"{self._c.exchange} refused every symbol of this connection ({names}); it said: {said}. "
                "Correct coinbase.symbols in the configuration"
            )

    def _check_books(self) -> None:
        """Ask for fresh snapshots where books have a hole; give the connection up when they do not come."""
        parser, now = self._parser, self._c._clock.monotonic()
        wanted = (parser.resync | self._c._resync) - self._c.refused
        self._c._resync.clear()
        fresh = tuple(sorted(wanted - self._waiting.keys()))
        if fresh:
            self._ask("unsubscribe", "level2", fresh)
            self._ask("subscribe", "level2", fresh)
            self._waiting.update(dict.fromkeys(fresh, now))
            parser.resync.update(fresh)
        for symbol in [s for s in self._waiting if s not in parser.resync]:
            del self._waiting[symbol]
        late = [s for s, since in self._waiting.items() if now - since > RESYNC_TIMEOUT_S]
        if late:
            raise TransientCollectorError(f"no fresh snapshot of {', '.join(late)} within {RESYNC_TIMEOUT_S:g} s")

    # -- sending ------------------------------------------------------------------------------------------------------

    def _ask(self, verb: str, channel: str, products: tuple[str, ...]) -> None:
        try:
            self._outbox.put_nowait((verb, channel, products))
        except asyncio.QueueFull:
            raise TransientCollectorError(f"{OUTBOX_MAX} messages wait to be sent") from None

    async def send_all(self) -> None:
        """Send what was asked for, at the exchange's pace."""
        first = True
        while True:
            verb, channel, products = await self._outbox.get()
            if not first:
                await self._c._bucket.take()
            first = False
            message: dict[str, object] = {"type": verb, "channel": channel, "product_ids": products}
            text = msgspec.json.encode(message).decode()
            if self._record_frames:
                self._sent.append(self._frame(text, "out", self._c._clock.now_ns()))
            if self._c._key and self._c._secret:
                text = msgspec.json.encode({**message, "jwt": _jwt(self._c._key, self._c._secret)}).decode()
            await self._ws.send_str(text)

    def _frame(self, text: str, direction: str, now: int) -> Frame:
        return Frame(
            collected_at=now,
            exchange=self._c.exchange,
            symbol=ALL,
            connection_id=self._id,
            direction=direction,  # type: ignore[arg-type]
            frame=text,
        )


def _jwt(key: str, secret: str) -> str:
    """Sign a fresh token: ES256, issuer cdp, two minutes of life, a nonce."""
    import jwt

    now = SystemClock().now_ns() // NS_PER_SECOND
    claims = {"iss": "cdp", "sub": key, "nbf": now, "exp": now + JWT_LIFE_S}
    return jwt.encode(claims, secret, algorithm="ES256", headers={"kid": key, "nonce": secrets.token_hex(16)})
