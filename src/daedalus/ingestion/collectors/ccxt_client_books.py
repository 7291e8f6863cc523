"""CCXT's order books, which also tell whether they were filled anew and, where `l2` is recorded, what changed.

Imports CCXT: import this module only where it is needed.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from sys import float_info
from typing import Any, Literal

from ccxt.async_support.base.ws import order_book, order_book_side

from daedalus.ingestion.collectors.ccxt_events import pack_side
from daedalus.shared.errors import MalformedError

#: Levels a side of a book; the furthest from the touch go first.
LEVELS_MAX = 50_000

Kind = Literal["plain", "counted", "indexed"]
Change = tuple[int, float, float]

_BOOKS = {
    "plain": (order_book.OrderBook, order_book_side.Bids, order_book_side.Asks),
    "counted": (order_book.CountedOrderBook, order_book_side.CountedBids, order_book_side.CountedAsks),
    "indexed": (order_book.IndexedOrderBook, order_book_side.IndexedBids, order_book_side.IndexedAsks),
}


class _NoLog:
    """Takes what nobody asks for."""

    def append(self, change: Change) -> None:
        """Forget it."""


class _Watched:
    """What a book knows beyond CCXT's.

    Attributes
    ----------
    stale
        It missed something; filling it anew makes it whole.
    is_new
        It was made or filled anew since its last `l2` row.
    log
        (0 bid or 1 ask, price, absolute size) of each change since then; None when nobody asks.
    """

    stale = False
    is_new = True
    log: list[Change] | None = None

    def reset(self, snapshot: Any = None) -> None:
        """Fill the book anew."""
        self.stale, self.is_new = False, True
        super().reset(snapshot or {})  # type: ignore[misc]


class _Logged:
    """What a side knows beyond CCXT's: the log of its book."""

    log: Any = _NoLog()
    number = 0

    def storeArray(self, delta: Any) -> None:  # noqa: N802 (CCXT's spelling)
        """Set a level, and note it; where levels count orders, a count of 0 removes."""
        self.log.append((self.number, delta[0], delta[1] if len(delta) < 3 or delta[2] else 0.0))
        super().storeArray(delta)  # type: ignore[misc]

    def limit(self) -> None:
        """Cut the side to its depth, and note what goes."""
        for level in self[self._depth :]:  # type: ignore[index, attr-defined]
            self.log.append((self.number, level[0], 0.0))
        super().limit()  # type: ignore[misc]


class QuickSide:
    """A plain side that takes all changes of a message at once, and copies its best levels only when it has changed.

    `store_all` finds known levels by their price, without a search. What changes the side otherwise makes it forget
    them: they are looked through again when they are needed.
    """

    number: int
    log: list[Change] | None = None
    _index: list[float]
    _known: dict[float, Any] | None = None
    _top: tuple[int, bytes] | None = None

    def store_all(self, deltas: Iterable[Sequence[Any]]) -> None:
        """Set levels from [price, size, ...] texts; a size of 0 removes. Raises `MalformedError` for what is none."""
        known, log, highest = self._known, self.log, float_info.max
        if known is None or len(known) != len(self):  # type: ignore[arg-type]
            known = self._known = {level[0]: level for level in self}  # type: ignore[attr-defined]
        self._top = None
        for delta in deltas:
            price, size = float(delta[0]), float(delta[1])
            level = known.get(price)
            if level and 0.0 < size <= highest:
                level[1] = size  # As nearly every change.
            else:
                self._store_other(known, price, size)
            if log is not None:
                log.append((self.number, price, size))

    def _store_other(self, known: dict[float, Any], price: float, size: float) -> None:
        """Add a level, remove one, or refuse what is none."""
        highest = float_info.max
        if not (-highest <= price <= highest and 0.0 <= size <= highest):
            raise MalformedError(f"level [{price}, {size}] is not a price and a size")
        if size:
            known[price] = level = [price, size]
            self._insert(level)
        elif known.pop(price, None):
            self._remove(price)

    def _insert(self, level: Any) -> None:
        key = level[0] if self.number else -level[0]
        at = bisect_left(self._index, key)
        self._index.insert(at, key)
        list.insert(self, at, level)  # type: ignore[arg-type]

    def _remove(self, price: float) -> None:
        at = bisect_left(self._index, price if self.number else -price)
        del self._index[at]
        del self[at]  # type: ignore[attr-defined]

    def top(self, depth: int) -> bytes:
        """Return the best levels, packed: as they were the last time, if no change has come since."""
        top = self._top
        if self._known is None:
            return pack_side(self, depth)  # Somebody else changes the side, and may do so unseen.
        if top is None or top[0] != depth:
            top = self._top = (depth, pack_side(self, depth))
        return top[1]

    def storeArray(self, delta: Any) -> None:  # noqa: N802 (CCXT's spelling)
        """Set a level."""
        self._known = self._top = None
        super().storeArray(delta)  # type: ignore[misc]

    def limit(self) -> None:
        """Cut the side to its depth."""
        self._known = self._top = None
        super().limit()  # type: ignore[misc]

    def clear(self) -> None:
        """Forget all levels."""
        self._known = self._top = None
        super().clear()  # type: ignore[misc]


@lru_cache
def book_class(kind: Kind, is_logged: bool) -> Any:
    """Return the class of a book. Orders of an indexed book are no levels: it has no log."""
    base, *bases = _BOOKS[kind]
    extra: list[type] = [QuickSide] if kind == "plain" else []
    is_logged = is_logged and kind != "indexed"
    parts = [_Logged, *extra] if is_logged else extra
    sides = [type(side.__name__, (*parts, side), {"number": number}) for number, side in enumerate(bases)]

    class Book(_Watched, base):  # type: ignore[misc, valid-type]
        """A book whose sides are ours."""

        def __init__(self, snapshot: Any, depth: Any = None) -> None:
            super().__init__({**snapshot, "bids": [], "asks": []}, depth)
            for name, side in zip(("bids", "asks"), sides, strict=True):
                self[name] = side([list(level) for level in snapshot.get(name, ())], depth)
            if is_logged:
                self.log = self["bids"].log = self["asks"].log = []

    return Book


def cut_books(books: Iterable[Any]) -> None:
    """Keep books bounded: an exchange may add levels for months, and never take away those nobody reaches."""
    for book in books:
        for side in (book["bids"], book["asks"]):
            if len(side) > LEVELS_MAX:
                side._depth = LEVELS_MAX
                side.limit()


def rewrite_books(books: Iterable[Any]) -> None:
    """Let the next `l2` rows of books be whole snapshots; None is none."""
    for book in books:
        if book is not None:
            book.is_new = True
