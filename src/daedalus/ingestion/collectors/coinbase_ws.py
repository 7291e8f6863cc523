"""`CoinbaseCollector`: one websocket connection to Coinbase Advanced Trade, for a few products.

Few products a connection, because the exchange numbers its messages per connection: a gap taints all of them.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.coinbase_messages import LEVEL2, MATCHES, TICKER, Counters
from daedalus.ingestion.collectors.coinbase_session import Session
from daedalus.ingestion.collectors.coinbase_settings import Carried, Settings
from daedalus.ingestion.collectors.pace import HostPace, HostPaces, Limits
from daedalus.ingestion.collectors.skew import SkewMeter
from daedalus.ingestion.collectors.watchdog import Watchdog
from daedalus.ingestion.collectors.websocket import text_frames, websocket
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import CollectorError, MalformedError, TransientCollectorError
from daedalus.shared.events import ALL, Event

URL = "wss://advanced-trade-ws.coinbase.com"
#: The exchange's limits: 8 connections and 8 unauthenticated messages a second for an address.
LIMITS = Limits(connects_per_s=8, messages_per_s=8)
#: How long a channel of a live connection may say nothing, seconds. Books of most markets change every second; trades
#: and tickers come with matches, which may be rare. Silence is looked into, and entered only if something was missed.
STALL_TIMEOUTS = {"orderbook": 60.0, "trades": 300.0, "ticker": 300.0}
_WIRES = {"orderbook": LEVEL2, "trades": MATCHES, "ticker": TICKER}


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
    stall_timeouts
        Silence after which a channel of one product is asked for anew while the others go on, seconds by `orderbook`
        (l2 too), `trades` and `ticker`; None never.
    pace
        Of messages and connections, shared by all that talk to this host.
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
        stall_timeouts: Mapping[str, float | None] = STALL_TIMEOUTS,
        subscribe_timeout_seconds: float = 10.0,
        max_frame_mb: float = 64,
        api_key: str | None = None,
        api_secret: str | None = None,
        clock: Clock | None = None,
        pace: HostPace | None = None,
    ) -> None:
        self.exchange = exchange
        self.name = f"{exchange}:{symbols[0]}" + (f"+{len(symbols) - 1}" if len(symbols) > 1 else "")
        self._settings = Settings(
            exchange=exchange,
            symbols=tuple(symbols),
            channels=tuple(channels),
            url=url,
            depth=max_orderbook_depth,
            interval_ms=orderbook_interval_ms,
            stall_s=stall_timeout_seconds,
            subscribe_s=subscribe_timeout_seconds,
            max_frame_bytes=int(max_frame_mb * (1 << 20)),
            key=api_key,
            secret=api_secret,
        )
        self._clock = clock or SystemClock()
        self._pace = pace or HostPaces(self._clock).of(url, LIMITS)
        watchdog = Watchdog({_WIRES[channel]: timeout for channel, timeout in stall_timeouts.items()})
        self._carried = Carried(OpenGaps(exchange), watchdog=watchdog)
        self._session: Session | None = None

    @property
    def gaps(self) -> OpenGaps:
        """What is missing and has not ended."""
        return self._carried.gaps

    @property
    def skew(self) -> SkewMeter:
        """The exchange's clock against this machine's."""
        return self._carried.skew

    @property
    def counters(self) -> Counters:
        """What it saw that is no row."""
        return self._carried.counters

    @property
    def refused(self) -> frozenset[str]:
        """Products that the exchange does not take."""
        return frozenset(self._carried.refused)

    def streams(self) -> Iterable[Stream]:
        """Return the (symbol, channel) pairs that it records."""
        typed = [c for c in self._settings.channels if c != "frames"]
        frames = [(ALL, "frames")] if "frames" in self._settings.channels else []
        return [(s, c) for s in self._settings.symbols if s not in self._carried.refused for c in typed] + frames

    def live(self) -> Collection[Stream]:
        """Return the streams that the present connection delivers."""
        if self._session is None:
            return ()
        frames = {(ALL, "frames")} if "frames" in self._settings.channels else set()
        return self._session.parser.live() | frames

    def inherit(self, other: "CoinbaseCollector") -> None:
        """Know what another collector has recorded, and what the exchange refused it: this one takes its place."""
        self._carried.seen = other._carried.seen.copy()
        self._carried.refused = set(other._carried.refused)

    def resync(self, symbols: Iterable[str]) -> None:
        """Have fresh level2 snapshots sent for these products."""
        self._carried.wanted |= set(symbols) & set(self._settings.symbols)

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        """Connect, subscribe and yield the events of what comes until the connection ends, which raises."""
        settings, clock, pace = self._settings, self._clock, self._pace
        self._session = None
        async with websocket(settings.url, max_frame_bytes=settings.max_frame_bytes, pace=pace, clock=clock) as ws:
            session = self._session = Session(settings, self._carried, ws, pace, clock)
            sender = asyncio.create_task(session.send_all(), name=f"send-{self.name}")
            try:
                async for frames in text_frames(ws, settings.stall_s, clock):
                    events: list[Event] = []
                    try:
                        for text, now in frames:
                            events += session.on_frame(text, now)
                    finally:  # Also what came before a frame that ends it all.
                        yield events
            except MalformedError as error:
                raise TransientCollectorError(str(error), reason="sequence_gap") from error
            except TransientCollectorError:
                session.on_end()
                raise
            finally:
                self._session = None
                sender.cancel()
                # Not awaited by itself: a cancellation that comes now is ours, not the sender's.
                [ended] = await asyncio.gather(sender, return_exceptions=True)
                if isinstance(ended, CollectorError):
                    raise ended
