"""A market as one connection has seen it: what a snapshot, a list of past trades or a ticker is answered from."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable

from daedalus.sandbox.updates import BookSnapshot, Level, LevelChanges, TickerTick, TradeTick, Update
from daedalus.shared.events import BookSide

#: Past trades kept per product.
PAST_TRADES_MAX = 50
#: Levels kept per side; a recording that holds more is not believable.
LEVELS_MAX = 200_000


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

    def all(self) -> list[Level]:
        return [self.levels[key] for key in reversed(self.keys)]

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
    """

    __slots__ = ("_asks", "_bids", "time_us")

    def __init__(self) -> None:
        self._bids, self._asks = _Side(1.0), _Side(-1.0)
        self.time_us: int | None = None

    def replace(self, snapshot: BookSnapshot) -> None:
        """Take a snapshot: all that was known before is forgotten."""
        self._bids.fill(snapshot.bids)
        self._asks.fill(snapshot.asks)
        self.time_us = snapshot.time_us

    def apply(self, update: LevelChanges) -> None:
        """Apply changes in order; a size of 0 removes, and removing what is not there changes nothing."""
        for side, price, size in update.changes:
            (self._bids if side == "bid" else self._asks).set(price, size)
        self.time_us = update.time_us

    def best(self, side: BookSide) -> Level | None:
        """Return the best level of a side, None if it is empty."""
        return (self._bids if side == "bid" else self._asks).best()

    def levels(self, side: BookSide) -> list[Level]:
        """Return all levels of a side, best first."""
        return (self._bids if side == "bid" else self._asks).all()

    def copy(self) -> TextBook:
        """Return an independent book with the same levels."""
        other = TextBook()
        other._bids, other._asks, other.time_us = self._bids.copy(), self._asks.copy(), self.time_us
        return other


class MarketView:
    """Books, the latest trades (at most `PAST_TRADES_MAX`, oldest first) and tickers of all products.

    Parameters
    ----------
    products
        The products; an update for any other is an error of the source (KeyError).
    """

    def __init__(self, products: Iterable[str]) -> None:
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

    def copy(self) -> MarketView:
        """Return an independent view that shows the same."""
        other = MarketView(())
        other.books = {product: book.copy() for product, book in self.books.items()}
        other.trades = {product: trades.copy() for product, trades in self.trades.items()}
        other.tickers = dict(self.tickers)
        return other
