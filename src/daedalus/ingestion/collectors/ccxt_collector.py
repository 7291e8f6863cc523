"""`CcxtCollector`: one exchange through CCXT Pro, whichever it is, by configuration alone.

CCXT is imported when a collector is made, and nowhere before: it takes a second or two and 100 MB.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.ccxt_markets import Plan, streams_of
from daedalus.ingestion.collectors.ccxt_settings import Carried, Settings
from daedalus.ingestion.collectors.ccxt_urls import first_socket
from daedalus.ingestion.collectors.ccxt_venues import venue_of
from daedalus.ingestion.collectors.pace import HostPaces
from daedalus.ingestion.collectors.skew import SkewMeter
from daedalus.ingestion.collectors.watchdog import Watchdog
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import ALL, Event, Gap
from daedalus.shared.tasks import to_the_end

if TYPE_CHECKING:
    from daedalus.ingestion.collectors.ccxt_session import Session

#: Ids that CCXT gave up, and what took their place.
ALIASES = {"coinbaseadvanced": "coinbase"}
#: How long events may wait for their like before they are handed on together, and how often quiet markets are seen to.
GATHER_S, TICK_S = 0.01, 0.2
#: Events handed to the driver at once.
CHUNK = 1000


class CcxtCollector:
    """Records an exchange through CCXT Pro: trades, ticker, orderbook, l2, frames.

    Parameters
    ----------
    exchange_id
        CCXT's id, such as ``okx``; ``coinbaseadvanced`` is `coinbase`.
    channels
        What to watch: CCXT Pro's method names, each with its symbols as CCXT spells them; ``*`` and ``?`` pick from
        the markets.
    record
        Bronze channels to write of what these bring.
    exchange
        The exchange's name in the lake; default: the id as it was given.
    api_key, api_secret, password
        Credentials, where the exchange wants some.
    options
        CCXT's own options of the exchange.
    max_orderbook_depth, orderbook_interval_ms
        Levels a side of an `orderbook` row, and the least time between two of them (0 = every update).
    stall_timeout_seconds
        Silence after which a connection counts as dead.
    stall_timeouts
        Silence after which a channel of one market is asked for anew while the others go on, seconds by `orderbook`
        (l2 too), `trades` and `ticker`; None never. What is not named is the venue's own (`ccxt_venues`).
    subscribe_timeout_seconds
        How long the exchange may take to send what it is asked for anew.
    max_frame_mb
        The longest frame accepted, MiB.
    ws_url, rest_url
        Other addresses: scheme and host take the place of those that CCXT knows.
    paces
        Of all hosts, shared by all collectors of the process.

    Raises
    ------
    ConfigError
        When CCXT knows no such exchange, or cannot watch it.
    """

    def __init__(
        self,
        exchange_id: str,
        *,
        channels: Mapping[str, Sequence[str]],
        record: Sequence[str] = ("ticker", "trades", "orderbook"),
        exchange: str | None = None,
        api_key: str | None = None,
        api_secret: str | None = None,
        password: str | None = None,
        options: Mapping[str, Any] | None = None,
        max_orderbook_depth: int = 20,
        orderbook_interval_ms: int = 1000,
        stall_timeout_seconds: float = 120.0,
        stall_timeouts: Mapping[str, float | None] = MappingProxyType({}),
        subscribe_timeout_seconds: float = 20.0,
        max_frame_mb: float = 64,
        ws_url: str | None = None,
        rest_url: str | None = None,
        clock: Clock | None = None,
        paces: HostPaces | None = None,
    ) -> None:
        self.exchange = self.name = exchange or exchange_id
        given = {"apiKey": api_key, "secret": api_secret, "password": password, "options": dict(options or {})}
        self._settings = Settings(
            exchange_id=known_exchange(exchange_id),
            exchange=self.exchange,
            channels=channels,
            record=tuple(record),
            depth=max_orderbook_depth,
            interval_ms=orderbook_interval_ms,
            stall_s=stall_timeout_seconds,
            answer_s=subscribe_timeout_seconds,
            max_frame_bytes=int(max_frame_mb * (1 << 20)),
            ws_url=ws_url,
            rest_url=rest_url,
            config={name: value for name, value in given.items() if value},
        )
        self._clock = clock or SystemClock()
        self._pace = (paces or HostPaces(self._clock)).of(ws_url or socket_of(self._settings.exchange_id))
        self.gaps: OpenGaps = _Gaps(self.exchange, self._undelivered_ns)
        self._carried = Carried(self.gaps, self._watchdog(stall_timeouts))
        self.counters = self._carried.counters
        self._session: Session | None = None
        self._plan = Plan()
        self._handed_ns: int | None = None

    def _watchdog(self, stall_timeouts: Mapping[str, float | None]) -> Watchdog:
        """Return what finds silent streams; where only frames are recorded nobody hears streams, only connections."""
        if set(self._settings.record) == {"frames"}:
            return Watchdog({})
        timeouts = {**venue_of(self._settings.exchange_id).stall_timeouts, **stall_timeouts}
        return Watchdog({**timeouts, "bidsasks": timeouts["ticker"]})

    @property
    def skew(self) -> SkewMeter:
        """The exchange's clock against this machine's."""
        return self._carried.skew

    def live(self) -> Collection[Stream]:
        """Return the streams that the present connection delivers: books that came, flows that were asked for."""
        return self._session.live() if self._session is not None else ()

    def inherit(self, other: "CcxtCollector") -> None:
        """Know the markets, what another collector has recorded, and what the exchange refused it."""
        mine, its = self._carried, other._carried
        mine.memory, mine.refused, mine.hopeless = its.memory.copy(), set(its.refused), set(its.hopeless)
        mine.source, mine.loaded_at = its.source, its.loaded_at

    def streams(self) -> Iterable[Stream]:
        """Return the (symbol, channel) pairs that it records; none before the markets are known."""
        record, calls = self._settings.record, self._plan.calls
        frames = [(ALL, "frames")] if calls and "frames" in record else []
        return streams_of(calls, record, self._carried.refused) + frames

    def resync(self, symbols: Iterable[str]) -> None:
        """Write these books' next `l2` rows as whole snapshots. CCXT's own books missed nothing: none is fetched."""
        if self._session is not None:
            self._session.rewrite(symbols)

    def undelivered(self) -> Sequence[Event]:
        """Return what was received and not handed on when the driver gave `events` up."""
        if self._session is None:
            return ()
        self._session.tap.finish()
        buffer = self._session.buffer
        return buffer.take(len(buffer))

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        """Connect, subscribe and yield what comes, until the first of the exchange's sockets ends, which raises."""
        from daedalus.ingestion.collectors.ccxt_session import Session

        session = self._session = Session(self._settings, self._carried, self._clock, self._pace)
        try:
            await session.open()
            self._plan, buffer = session.plan, session.buffer
            while True:
                await buffer.filled(TICK_S)
                await self._clock.sleep(GATHER_S)
                session.tick()
                if (failure := session.failure) is not None:
                    session.tap.finish()
                while chunk := buffer.take(CHUNK):
                    self._handed_ns = chunk[0].collected_at
                    yield chunk
                    self._handed_ns = None
                    buffer.release()
                if failure is not None:
                    raise failure
        finally:
            await to_the_end(session.close())

    def _undelivered_ns(self) -> int | None:
        """Return the receive clock of the oldest event that the driver does not have."""
        if self._handed_ns is not None:
            return self._handed_ns
        return self._session.buffer.oldest_ns() if self._session is not None else None


class _Gaps(OpenGaps):
    """Open gaps, of which that of a shutdown begins with the oldest event that was received and not handed on."""

    def __init__(self, exchange: str, undelivered_ns: Callable[[], int | None]) -> None:
        super().__init__(exchange)
        self._undelivered_ns = undelivered_ns

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
        """Open a gap on each stream that has none open; return the rows."""
        oldest = self._undelivered_ns() if reason == "shutdown" else None
        since = since if oldest is None else min(since, oldest - 1)
        return super().open(streams, since=since, now=now, reason=reason, missed=missed, detail=detail)


def known_exchange(exchange_id: str) -> str:
    """Return CCXT's id of an exchange that it can watch. Raises `ConfigError` with the nearest one otherwise."""
    import ccxt.pro

    wanted = ALIASES.get(exchange_id, exchange_id)
    if wanted in ccxt.pro.exchanges:
        return wanted
    if wanted in ccxt.exchanges:
        raise ConfigError(f"ccxt.exchanges.{exchange_id}: CCXT can ask {exchange_id}, but not watch it (no websockets)")
    near = get_close_matches(wanted.lower(), ccxt.pro.exchanges, 3, 0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"it watches {', '.join(ccxt.pro.exchanges)}"
    raise ConfigError(f"ccxt.exchanges.{exchange_id}: CCXT knows no such exchange; {hint}")


def socket_of(exchange_id: str) -> str:
    """Return an address of the exchange's websockets, as CCXT knows it."""
    import ccxt.pro

    exchange = getattr(ccxt.pro, exchange_id)()
    return str(exchange.implode_hostname(first_socket(exchange.urls.get("api"))))
