"""A market as one connection has seen it: what a snapshot, a list of past trades or a ticker is answered from."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from daedalus.sandbox.updates import BookSnapshot, Level, LevelChanges, Recorded, TickerTick, TradeTick, Update
from daedalus.shared.events import BookSide

#: Past trades kept per product.
PAST_TRADES_MAX = 50
#: Levels kept per side; a recording that holds more is not believable.
LEVELS_MAX = 200_000
#: Where books begin to count their states by themselves: beyond 32 bits, as on real exchanges.
FIRST_ID = 10_000_000_000


class _Side:
    """One side by price; keys ascend towards the touch. Price and size stay the text they came as."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, sign: float) -> None:
        self.sign = sign
        self.keys: list[float] = []
        self.levels: dict[float, Level] = {}

    def fill(self, levels: Iterable[Level]) -> None:
        self.levels = {self.sign * float(level[0]): level for level in levels}
        self.keys = sorted(self.levels)[-LEVELS_MAX:]

    def set(self, price: str, size: str) -> None:
        key = self.sign * float(price)
        if float(size) > 0.0:
            if key not in self.levels:
                insort(self.keys, key)
            self.levels[key] = (price, size)
            if len(self.keys) > LEVELS_MAX:
                del self.levels[self.keys.pop(0)]
        elif self.levels.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]

    def best(self) -> Level | None:
        return self.levels[self.keys[-1]] if self.keys else None

    def top(self, depth: int | None) -> list[Level]:
        return [self.levels[key] for key in (reversed(self.keys) if depth is None else self.keys[: -depth - 1 : -1])]

    def cut(self, depth: int) -> None:
        while len(self.keys) > depth:
            del self.levels[self.keys.pop(0)]

    def copy(self) -> _Side:
        other = _Side(self.sign)
        other.keys, other.levels = self.keys.copy(), self.levels.copy()
        return other


class TextBook:
    """A book that gives back every price and size in the text it came as; equal prices are one level however written.

    Attributes
    ----------
    time_us
        Market time of the last change, None before the first one with a time.
    update_id
        Number of its state: the exchange's own where the updates bring one, else one more with each. 0 at first.
    """

    __slots__ = ("_asks", "_bids", "_depth", "time_us", "update_id")

    def __init__(self) -> None:
        self._bids, self._asks = _Side(1.0), _Side(-1.0)
        self._depth: int | None = None
        self.time_us: int | None = None
        self.update_id = 0

    def replace(self, snapshot: BookSnapshot) -> None:
        """Take a snapshot: all that was known before is forgotten."""
        self._bids.fill(snapshot.bids)
        self._asks.fill(snapshot.asks)
        self._depth, self.time_us = snapshot.depth, snapshot.time_us
        self._count(snapshot.update_id)

    def apply(self, update: LevelChanges) -> None:
        """Apply changes in order; a size of 0 removes, and removing what is not there changes nothing."""
        for side, price, size in update.changes:
            (self._bids if side == "bid" else self._asks).set(price, size)
        if self._depth is not None:
            self._bids.cut(self._depth)
            self._asks.cut(self._depth)
        self.time_us = update.time_us
        self._count(update.update_id)

    def _count(self, update_id: int | None) -> None:
        self.update_id = (self.update_id or FIRST_ID) + 1 if update_id is None else update_id

    def best(self, side: BookSide) -> Level | None:
        """Return the best level of a side, None if it is empty."""
        return (self._bids if side == "bid" else self._asks).best()

    def levels(self, side: BookSide, depth: int | None = None) -> list[Level]:
        """Return the best levels of a side, or all of them, best first."""
        return (self._bids if side == "bid" else self._asks).top(depth)

    def copy(self) -> TextBook:
        """Return an independent book with the same levels."""
        other = TextBook()
        other._bids, other._asks, other.time_us = self._bids.copy(), self._asks.copy(), self.time_us
        other._depth, other.update_id = self._depth, self.update_id
        return other


class MarketView:
    """Books, the latest trades (at most `PAST_TRADES_MAX`, oldest first) and tickers of all products.

    Parameters
    ----------
    products
        The products; an update for any other is an error of the source (KeyError).

    Attributes
    ----------
    verbatim
        The (product, channel) pairs of which the source has the exchange's own frames.
    """

    def __init__(self, products: Iterable[str]) -> None:
        self.verbatim: frozenset[tuple[str, str]] = frozenset()
        self.books = {product: TextBook() for product in products}
        self.trades: dict[str, deque[TradeTick]] = {p: deque(maxlen=PAST_TRADES_MAX) for p in self.books}
        self.tickers: dict[str, TickerTick] = {}

    def apply(self, update: Update) -> None:
        """Take in one update."""
        match update:
            case LevelChanges():
                self.books[update.product].apply(update)
            case TradeTick():
                self.trades[update.product].append(update)
            case TickerTick():
                self.tickers[update.product] = update
            case BookSnapshot():
                self.books[update.product].replace(update)
            case Recorded():
                with suppress(ValueError):  # a price that is no number
                    for part in update.parts():
                        self.apply(part)

    def ticker_of(self, trade: TradeTick) -> TickerTick:
        """Return a ticker made of a trade and the best quotes. What nobody told, a day's volume say, is left out."""
        book = self.books[trade.product]
        bid, ask = book.best("bid") or (None, None), book.best("ask") or (None, None)
        return TickerTick(
            product=trade.product,
            time_us=trade.time_us,
            price=trade.price,
            best_bid=bid[0],
            best_bid_size=bid[1],
            best_ask=ask[0],
            best_ask_size=ask[1],
        )

    def copy(self) -> MarketView:
        """Return an independent view that shows the same."""
        other = MarketView(())
        other.books = {product: book.copy() for product, book in self.books.items()}
        other.trades = {product: trades.copy() for product, trades in self.trades.items()}
        other.tickers, other.verbatim = dict(self.tickers), self.verbatim
        return other
