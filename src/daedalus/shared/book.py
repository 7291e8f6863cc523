"""The one order book: exact, bounded, cheap at the touch. Collectors and the rebuild from `l2` use it alike.

Each side is a dict of sizes and a sorted list of keys whose END is the best price, so that the inserts and removals of
a live market, which are near the touch, move few elements, and the top N is a slice.
"""

import struct
from bisect import bisect_left, insort

from daedalus.shared.events import CHANGE, BookSide

#: Levels kept per side; the furthest from the touch go first. The deepest real books hold about 40,000.
LEVELS_MAX = 200_000
#: Packed changes that wait at most, bytes.
WAITING_BYTES_MAX = 1 << 20


class _Side:
    """One side. Keys ascend towards the touch: the price of a bid, minus the price of an ask."""

    __slots__ = ("keys", "sign", "sizes")

    def __init__(self, sign: float) -> None:
        self.sign = sign
        self.keys: list[float] = []
        self.sizes: dict[float, float] = {}

    def set(self, price: float, size: float) -> bool:
        """Set the absolute size at a price; 0 removes. Return whether a level had to be dropped for the bound."""
        key = self.sign * price
        known = key in self.sizes
        if size > 0.0:
            self.sizes[key] = size
            if not known:
                insort(self.keys, key)
                if len(self.keys) > LEVELS_MAX:
                    del self.sizes[self.keys.pop(0)]
                    return True
        elif known:
            del self.sizes[key]
            del self.keys[bisect_left(self.keys, key)]
        return False

    def fill(self, levels: list[tuple[float, float]]) -> int:
        """Replace the whole side; a price named twice keeps its last size. Return how many the bound dropped."""
        self.sizes = {self.sign * price: size for price, size in levels}
        self.sizes = {key: size for key, size in self.sizes.items() if size > 0.0}
        self.keys = sorted(self.sizes)
        surplus = max(0, len(self.keys) - LEVELS_MAX)
        for key in self.keys[:surplus]:
            del self.sizes[key]
        del self.keys[:surplus]
        return surplus

    def flat(self, depth: int) -> list[float]:
        """Return price, size, price, size ... of the best levels, best first."""
        sizes, sign = self.sizes, self.sign
        out: list[float] = []
        for key in self.keys[: -depth - 1 : -1]:
            out += (sign * key, sizes[key])
        return out


class OrderBook:
    """Price levels of one market, both sides.

    Prices are compared exactly: the same decimal text is the same level. A deletion of an unknown level is routine and
    changes nothing. Packed changes are kept until somebody looks at the book, and of those that meet at one price only
    the last is then applied: near the touch that is most of them. Not thread-safe.
    """

    __slots__ = ("_asks", "_bids", "_dropped", "_waiting", "_waiting_bytes")

    def __init__(self) -> None:
        self._bids = _Side(1.0)
        self._asks = _Side(-1.0)
        self._dropped = self._waiting_bytes = 0
        self._waiting: list[bytes] = []

    @property
    def dropped(self) -> int:
        """Levels that the bound `LEVELS_MAX` cost since the start."""
        self._settle()
        return self._dropped

    def set(self, side: BookSide, price: float, size: float) -> None:
        """Set the absolute size at a price; a size of 0 removes the level."""
        self._settle()
        self._dropped += (self._bids if side == "bid" else self._asks).set(price, size)

    def replace(self, bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> None:
        """Take a snapshot: all that was known before is forgotten."""
        self._settle()
        self._dropped += self._bids.fill(bids) + self._asks.fill(asks)

    def apply(self, changes: bytes, is_snapshot: bool = False) -> None:
        """Take packed changes (`events.CHANGE`), to be applied in order."""
        if is_snapshot:
            rows = list(CHANGE.iter_unpack(changes))
            self.replace([(p, q) for _, s, p, q in rows if not s], [(p, q) for _, s, p, q in rows if s])
            return
        self._waiting.append(changes)
        self._waiting_bytes += len(changes)
        if self._waiting_bytes > WAITING_BYTES_MAX:
            self._settle()

    def _settle(self) -> None:
        """Apply what waits."""
        if not self._waiting:
            return
        packed = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        is_alone = len(self._waiting) == 1
        self._waiting, self._waiting_bytes = [], 0
        sides = (self._bids, self._asks)
        rows = CHANGE.iter_unpack(packed)
        if is_alone or max(len(side.keys) for side in sides) + len(packed) // CHANGE.size > LEVELS_MAX:
            for _, side, price, size in rows:  # At the bound every step counts.
                self._dropped += sides[side].set(price, size)
            return
        last: tuple[dict[float, float], dict[float, float]] = ({}, {})
        for _, side, price, size in rows:
            last[side][price] = size
        for half, sizes in zip(sides, last, strict=True):
            for price, size in sizes.items():
                half.set(price, size)

    def top(self, depth: int) -> tuple[bytes, bytes]:
        """Return the best `depth` levels of bids and asks as packed levels (`events.LEVEL`), best first."""
        self._settle()
        bids, asks = self._bids.flat(depth), self._asks.flat(depth)
        return struct.pack(f"<{len(bids)}d", *bids), struct.pack(f"<{len(asks)}d", *asks)

    def levels(self, side: BookSide, depth: int | None = None) -> list[tuple[float, float]]:
        """Return (price, size) of the best levels of a side, best first; all of them when `depth` is None."""
        self._settle()
        half = self._bids if side == "bid" else self._asks
        flat = half.flat(len(half.keys) if depth is None else depth)
        return list(zip(flat[::2], flat[1::2], strict=True))

    def __len__(self) -> int:
        """Return the number of levels on both sides."""
        self._settle()
        return len(self._bids.keys) + len(self._asks.keys)
