"""Books rebuilt from frames: an `l2` row for every change, `orderbook` rows of the top levels.

For parsers that are pure functions of frames. Whether a change follows the one before is theirs to know.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from daedalus.ingestion.collectors.base import OpenGaps
from daedalus.shared.book import OrderBook
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import CHANGE, NO_TIME, BookDelta, BookSnapshot, Event, pack_levels

BOOK_CHANNELS = ("l2", "orderbook")

TextLevel = tuple[str, str]
"""Price and size of a level, as the exchange wrote them."""


def levels(side: Iterable[Sequence[str]]) -> list[tuple[float, float]]:
    """Return (price, size) of levels in text; what follows the first two entries is passed over.

    Raises `MalformedError` for what is no price and no size.
    """
    made = []
    for level in side:
        price, size = float(level[0]), float(level[1])
        if not (0.0 < price < inf and 0.0 <= size < inf):
            raise MalformedError(f"level {level[0]!r} x {level[1]!r} is not a price and a size")
        made.append((price, size))
    return made


def pack(
    bids: Iterable[tuple[float, float]],
    asks: Iterable[tuple[float, float]],
    time_us: int | None,
    *,
    asks_first: bool = False,
) -> bytes:
    """Pack the levels of one message as changes (`events.CHANGE`): bids, then asks, or in the order of CCXT's books."""
    at, record = NO_TIME if time_us is None else time_us, CHANGE.pack
    sides = [record(at, 0, price, size) for price, size in bids], [record(at, 1, price, size) for price, size in asks]
    return b"".join(sides[asks_first] + sides[not asks_first])


@dataclass
class Market:
    """One market's book.

    Attributes
    ----------
    valid
        Whether the book is known to be whole.
    is_top
        Whether only tops of it were published, from which no `l2` row comes.
    updated_at
        Receive clock of its last change, ns; None before the first.
    """

    book: OrderBook = field(default_factory=OrderBook)
    valid: bool = False
    dirty: bool = False
    is_top: bool = False
    emitted_at: int = 0
    updated_at: int | None = None
    time_us: int | None = None
    nonce: int | None = None


class MarketBooks:
    """The books of one exchange.

    Parameters
    ----------
    exchange, channels
        The exchange's name in the lake, and the bronze channels to record.
    depth, interval_ms
        Levels a side of an `orderbook` row; least receive time between two rows of a market, 0 = each update.
    gaps
        What is open.
    """

    def __init__(self, *, exchange: str, channels: Iterable[str], depth: int, interval_ms: int, gaps: OpenGaps) -> None:
        self._exchange, self._depth, self._interval_ns = exchange, depth, interval_ms * 1_000_000
        self._channels, self._gaps = tuple(c for c in BOOK_CHANNELS if c in set(channels)), gaps
        self._has_l2, self._has_tops = "l2" in self._channels, "orderbook" in self._channels
        self.markets: dict[str, Market] = {}

    def streams(self, symbols: Iterable[str] | None = None) -> list[tuple[str, str]]:
        """Return the recorded (symbol, channel) pairs of some markets, or of all."""
        named = self.markets if symbols is None else symbols
        return [(s, c) for s in named for c in self._channels if c == "orderbook" or not self.market(s).is_top]

    def market(self, symbol: str) -> Market:
        """Return a market, a new one if it is not known."""
        if symbol not in self.markets:
            self.markets[symbol] = Market()
        return self.markets[symbol]

    def snapshot(
        self, symbol: str, changes: bytes, now: int, *, time_us: int | None = None, nonce: int | None = None
    ) -> list[Event]:
        """Take a whole book, which replaces what was known; it ends the market's gap."""
        market = self.market(symbol)
        market.valid = True
        market.book.apply(changes, is_snapshot=True)
        return self._changed(symbol, market, changes, now, time_us, nonce, is_snapshot=True)

    def update(
        self, symbol: str, changes: bytes, now: int, *, time_us: int | None = None, nonce: int | None = None
    ) -> list[Event]:
        """Take changes. Those of a book that is not whole are recorded too, but no top of it is."""
        market = self.market(symbol)
        if market.valid:
            market.book.apply(changes)
        return self._changed(symbol, market, changes, now, time_us, nonce, is_snapshot=False)

    def _changed(
        self, symbol: str, market: Market, changes: bytes, now: int, time_us: int | None, nonce: int | None,
        *, is_snapshot: bool,
    ) -> list[Event]:  # fmt: skip
        market.dirty, market.updated_at, market.nonce = market.valid, now, nonce
        market.time_us = time_us if time_us is not None or is_snapshot else market.time_us
        events: list[Event] = []
        if self._gaps and market.valid:
            events += self._gaps.close(self.streams([symbol]), now)
        if self._has_l2 and changes:
            events.append(
                BookDelta(
                    collected_at=now,
                    exchange=self._exchange,
                    symbol=symbol,
                    nonce=nonce,
                    is_snapshot=is_snapshot,
                    changes=changes,
                )
            )
        return events

    def top(
        self,
        symbol: str,
        bids: Sequence[tuple[float, float]],
        asks: Sequence[tuple[float, float]],
        now: int,
        *,
        time_us: int | None = None,
        nonce: int | None = None,
    ) -> list[Event]:
        """Record a top of the book as the exchange published it, whatever the interval. It says nothing of the rest."""
        market = self.market(symbol)
        market.updated_at, market.is_top = now, not len(market.book)
        if not self._has_tops:
            return []
        stream = (symbol, "orderbook")
        closed: list[Event] = list(self._gaps.close([stream], now)) if self._gaps else []
        return [*closed, self._row(symbol, pack_levels(bids), pack_levels(asks), now, time_us, nonce)]

    def lost(
        self, symbols: Iterable[str], *, now: int, reason: str, missed: int | None = None, detail: str = ""
    ) -> list[Event]:
        """Enter a loss since the last change of each book: none is whole until its next snapshot."""
        rows: list[Event] = []
        for symbol in symbols:
            market = self.market(symbol)
            market.valid = market.dirty = False
            since = market.updated_at if market.updated_at is not None else now
            streams = self.streams([symbol])
            rows += self._gaps.open(streams, since=since, now=now, reason=reason, missed=missed, detail=detail)
        return rows

    def due(self, now: int) -> list[Event]:
        """Publish the changed books whose interval is over."""
        if not self._has_tops:
            return []
        out: list[Event] = []
        for symbol, market in self.markets.items():
            if market.dirty and now - market.emitted_at >= self._interval_ns:
                market.dirty, market.emitted_at = False, now
                out.append(self._row(symbol, *market.book.top(self._depth), now, market.time_us, market.nonce))
        return out

    def _row(
        self, symbol: str, bids: bytes, asks: bytes, now: int, time_us: int | None, nonce: int | None
    ) -> BookSnapshot:
        return BookSnapshot(
            collected_at=now,
            exchange=self._exchange,
            symbol=symbol,
            timestamp=time_us,
            nonce=nonce,
            bids=bids,
            asks=asks,
        )
