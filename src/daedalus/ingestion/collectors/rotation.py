"""`RotatingCollector`: a new connection before the exchange cuts the old one, with nothing lost between them."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import suppress

import structlog

from daedalus.ingestion.collectors.base import Collector, OpenGaps, Stream
from daedalus.ingestion.collectors.handover import BOOK_CHANNELS, MARGIN_NS, NEW, OLD, Handover
from daedalus.ingestion.collectors.pace import Backoff
from daedalus.ingestion.collectors.seen_trades import SeenTrades
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import TransientCollectorError
from daedalus.shared.events import BookDelta, BookSnapshot, Event, Ticker, Trade

log = structlog.get_logger(__name__)

#: Hours of life of a connection where the exchange cuts it after 24, by CCXT's id.
CUTS = dict.fromkeys(("binance", "binanceus", "binanceusdm", "binancecoinm", "aster", "mexc"), 23.0)
#: Both connections are kept for so long once the new one brings everything: what is on its way on the old one arrives.
LINGER_S = 5.0
#: What a new connection may take to bring everything, before it is given up, and more for each stream; and the first
#: and longest wait then.
PATIENCE_S, PER_STREAM_S, RETRY_S, RETRY_MAX_S = 120.0, 1.0, 60.0, 1800.0
#: A collector that cannot tell what is live is believed to bring its flows so long after its first event.
SETTLE_S = 10.0
#: How long after a handover doubles are still looked for.
AFTER_S = 30.0
#: Batches in hand before the connections wait.
INBOX_MAX = 16


class _Leg:
    """One connection, pumped into the inbox by a task of its own from its first event to its end."""

    def __init__(self, collector: Collector, inbox: "asyncio.Queue[_Item]", clock: Clock) -> None:
        self.collector = collector
        self.began = clock.monotonic()
        self.first: float | None = None
        self.last_ns = clock.now_ns()
        self._inbox, self._clock = inbox, clock
        self.task = asyncio.create_task(self._pump(), name=f"rotating-{collector.name}")

    async def _pump(self) -> None:
        stream = self.collector.events()
        try:
            async for events in stream:
                if self.first is None:
                    self.first = self._clock.monotonic()
                if events:
                    self.last_ns = events[-1].collected_at
                await self._inbox.put((self, events))
            await self._inbox.put((self, TransientCollectorError("the collector ended")))
        except Exception as error:
            await self._inbox.put((self, error))
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                with suppress(Exception):
                    await close()

    def live(self) -> Collection[Stream]:
        """Return the streams that it brings."""
        tell = getattr(self.collector, "live", None)
        if tell is not None:
            found: Collection[Stream] = tell()
            return found
        is_settled = self.first is not None and self._clock.monotonic() - self.first > SETTLE_S
        return set(self.collector.streams()) if is_settled else ()


_Item = tuple[_Leg | None, Sequence[Event] | Exception]


class RotatingCollector:
    """Any collector, with its connection replaced in time: the new socket first, then the old one closes.

    Parameters
    ----------
    make
        Makes a collector; each connection that is planned gets its own. If it can `inherit`, it is given its
        predecessor, and so knows what of the past has been recorded.
    after_s
        Life of a connection; each one's is up to 5 % shorter, so that not all are replaced at once.
    linger_s
        Overlap once the new connection brings everything.
    """

    def __init__(
        self,
        make: Callable[[], Collector],
        *,
        after_s: float,
        linger_s: float = LINGER_S,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._make, self._after_s, self._linger_s = make, after_s, linger_s
        self._clock, self._rng = clock or SystemClock(), rng or random.Random()
        self._current = make()
        self.name, self.exchange = self._current.name, self._current.exchange
        self.rotations = 0
        self._seen, self._tickers = SeenTrades(), dict[str, Ticker]()
        self._reset()

    def _reset(self) -> None:
        """Forget the connections of an earlier run."""
        self._inbox: asyncio.Queue[_Item] = asyncio.Queue(INBOX_MAX)
        self._old: _Leg | None = None
        self._new: _Leg | None = None
        self._handover: Handover | None = None
        self._retired: list[_Leg] = []
        self._torn: set[str] = set()
        self._backoff = Backoff(RETRY_S, RETRY_MAX_S, self._rng)
        self._due = self._complete_at = self._forget_at = float("inf")

    @property
    def gaps(self) -> OpenGaps:
        """What is missing and has not ended."""
        return self._current.gaps

    @property
    def skew(self) -> object:
        """The present connection's clock, if it measures one."""
        return getattr(self._current, "skew", None)

    def streams(self) -> Iterable[Stream]:
        """Return the (symbol, channel) pairs that it records."""
        return self._current.streams()

    def resync(self, symbols: Iterable[str]) -> None:
        """Have fresh snapshots sent for symbols whose recorded rows have a hole."""
        wanted = list(symbols)
        for leg in (self._old, self._new):
            if leg is not None:
                leg.collector.resync(wanted)

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        """Connect and yield events until a connection ends that no other one stands in for, which raises."""
        self._reset()
        self._old = self._start(self._current)
        ticking = asyncio.create_task(self._tick(), name=f"tick-{self.name}")
        try:
            while True:
                leg, what = await self._inbox.get()
                if isinstance(what, Exception):
                    events = self._ended(leg, what)
                elif leg is None:
                    events = self._see_to()
                else:
                    events = self._take(leg, what)
                if events:
                    yield events
        finally:
            ticking.cancel()
            legs = [leg for leg in (self._old, self._new, *self._retired) if leg is not None]
            for leg in legs:
                leg.task.cancel()
            await asyncio.gather(ticking, *(leg.task for leg in legs), return_exceptions=True)

    def _start(self, collector: Collector) -> _Leg:
        self._due = self._clock.monotonic() + self._after_s * self._rng.uniform(0.95, 1.0)
        return _Leg(collector, self._inbox, self._clock)

    async def _tick(self) -> None:
        """Look after things at times, also when nothing comes; never ahead of what waits in the inbox."""
        while True:
            await self._clock.sleep(min(1.0, self._after_s / 10, max(self._linger_s / 4, 0.01)))
            await self._inbox.put((None, ()))

    # -- events -------------------------------------------------------------------------------------------------------

    def _take(self, leg: _Leg, events: Sequence[Event]) -> Sequence[Event]:
        """Return what is to be recorded of a batch."""
        handover = self._handover
        if self._torn and leg is self._old:
            events = [event for event in events if not self._is_torn(event)]
        if handover is None:
            return self._alone(events) if leg is self._old else ()
        is_new = leg is self._new or (self._new is None and leg is self._old)
        switched = len(handover.switched)
        merged = handover.merge(NEW if is_new else OLD, events)
        self._remember(merged)
        if leg is self._new:
            handover.note_live(leg.live(), self._clock.now_ns())
        if len(handover.switched) > switched and leg is self._new and self._old is not None:
            # Whatever the old connection's books were missing ends with the new one's.
            books = [(symbol, channel) for symbol in handover.switched for channel in BOOK_CHANNELS]
            return [*self._old.collector.gaps.close(books, self._clock.now_ns()), *merged]
        return merged

    def _alone(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return a batch without the trades that another connection had brought."""
        self._remember(events)
        return [e for e in events if type(e) is not Trade or e.trade_id is None or self._seen.add(e.symbol, e.trade_id)]

    def _is_torn(self, event: Event) -> bool:
        """Whether an event belongs to a book that is to be had anew, because another connection had taken it over."""
        if isinstance(event, BookDelta) and event.is_snapshot:
            self._torn.discard(event.symbol)
        return isinstance(event, BookDelta | BookSnapshot) and event.symbol in self._torn

    def _remember(self, events: Iterable[Event]) -> None:
        for event in events:
            if type(event) is Ticker:
                self._tickers[event.symbol] = event

    def _ended(self, leg: _Leg | None, error: Exception) -> Sequence[Event]:
        """Return the ledger's rows of a connection that has ended, or raise when there is no other one."""
        if leg is self._new and self._new is not None:
            return self._give_up(error)
        if leg is not self._old:
            return ()
        if self._new is None:
            raise error
        log.warning("connection_ended_in_rotation", collector=self.name, error=str(error))
        return self._promote(error)

    # -- the handover -------------------------------------------------------------------------------------------------

    def _see_to(self) -> Sequence[Event]:
        """Begin a rotation that is due, end one that is complete, give up one that does not come to an end."""
        now = self._clock.monotonic()
        self._retired = [leg for leg in self._retired if not leg.task.done()]
        if self._new is None:
            if now >= self._forget_at:
                self._handover, self._forget_at = None, float("inf")
            if now >= self._due and self._handover is None and self._old is not None and self._old.first is not None:
                self._begin()
            return ()
        assert self._handover is not None
        self._handover.note_live(self._new.live(), self._clock.now_ns())
        missing = self._missing(self._handover)
        if not missing:
            self._complete_at = min(self._complete_at, now + self._linger_s)
        if now >= self._complete_at:
            return self._promote(None)
        patience = PATIENCE_S + PER_STREAM_S * len(list(self._current.streams()))
        if now - self._new.began > patience:
            names = ", ".join(sorted(f"{symbol} {channel}" for symbol, channel in missing)[:5])
            return self._give_up(TransientCollectorError(f"it did not bring {names} within {patience:g} s"))
        return ()

    def _missing(self, handover: Handover) -> list[Stream]:
        """Return what the new connection is waited for: what it does not bring and the old one does."""
        live = self._old.live() if self._old is not None else ()
        return [stream for stream in handover.missing() if stream in live]

    def _begin(self) -> None:
        log.info("rotation_begins", collector=self.name)
        self._handover = Handover(self._current.streams(), self._seen, self._tickers)
        self._complete_at = float("inf")
        successor = self._make()
        if (inherit := getattr(successor, "inherit", None)) is not None:
            inherit(self._current)
        self._new = _Leg(successor, self._inbox, self._clock)

    def _promote(self, error: Exception | None) -> Sequence[Event]:
        """Let the new connection be the one: after a complete handover, or because the old one ended before."""
        old, new = self._old, self._new
        assert old is not None
        assert new is not None
        if self._handover is not None:
            # What neither brings stays open.
            old.collector.gaps.move(self._handover.missing(), new.collector.gaps)
        rows: list[Event] = list(old.collector.gaps.close(list(old.collector.streams()), self._clock.now_ns()))
        if error is not None:
            rows += self._losses(old, new, error)
        old.task.cancel()
        self._retired.append(old)
        self._current, self._old, self._new, self._torn = new.collector, new, None, set()
        self._due = self._clock.monotonic() + self._after_s * self._rng.uniform(0.95, 1.0)
        self._forget_at = self._clock.monotonic() + min(AFTER_S, self._after_s / 2)
        self._backoff = Backoff(RETRY_S, RETRY_MAX_S, self._rng)
        self.rotations += 1
        log.info("rotation_ends", collector=self.name, rotations=self.rotations)
        return rows

    def _losses(self, old: _Leg, new: _Leg, error: Exception) -> Sequence[Event]:
        """Return the ledger's rows for an old connection that ended before the new one had brought everything."""
        handover, gaps, now = self._handover, new.collector.gaps, self._clock.now_ns()
        assert handover is not None
        reason = error.reason if isinstance(error, TransientCollectorError) else "disconnect"
        detail = f"{error}, before the new connection was whole"
        rows = list(gaps.open(handover.missing(), since=old.last_ns, now=now, reason=reason, detail=detail))
        for stream, since in handover.uncovered(old.last_ns).items():
            begin, past = min(old.last_ns, since - MARGIN_NS), OpenGaps(self.exchange)
            rows += past.open([stream], since=begin, now=now, reason=reason, detail=detail)
            rows += past.close([stream], max(since, old.last_ns))
        return rows

    def _give_up(self, error: Exception) -> Sequence[Event]:
        """Stay with the old connection: the new one has failed. What it had taken over goes back."""
        new, old, handover = self._new, self._old, self._handover
        assert new is not None
        assert old is not None
        assert handover is not None
        new.task.cancel()
        self._retired.append(new)
        self._new = self._handover = None
        delay = self._backoff.next()
        self._due = self._clock.monotonic() + delay
        log.warning("rotation_failed", collector=self.name, error=str(error), retry_in_seconds=round(delay, 1))
        symbols, now = sorted(handover.switched), self._clock.now_ns()
        self._torn = handover.torn()
        streams = [(s, c) for s, c in old.collector.streams() if s in handover.switched and c in BOOK_CHANNELS]
        old.collector.resync(symbols)
        return old.collector.gaps.open(
            streams, since=new.last_ns, now=now, reason="disconnect", detail=f"a new connection failed: {error}"
        )


def hours_of(exchange_id: str, hours: float | None) -> float | None:
    """Return the hours of life of an exchange's connections: as configured, or as the exchange needs.

    Examples
    --------
    >>> hours_of("binanceus", None), hours_of("binanceus", 12.0), hours_of("kraken", None)
    (23.0, 12.0, None)
    """
    return hours if hours is not None else CUTS.get(exchange_id)


def rotated(make: Callable[[], Collector], hours: float | None, clock: Clock) -> Collector:
    """Return a collector whose connections are replaced after so many hours, or a plain one where there are none."""
    return RotatingCollector(make, after_s=hours * 3600.0, clock=clock) if hours else make()
