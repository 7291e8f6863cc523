"""One side of a synthetic book, in whole ticks and whole 1e-8 units, so that nothing ever leaves the grid."""

from bisect import bisect_left, insort

#: Sizes are counted in these units of the base currency.
SIZE_DECIMALS = 8
SIZE_UNITS = 10**SIZE_DECIMALS


def decimal_text(units: int, decimals: int) -> str:
    """Return ``units * 10**-decimals`` as exchanges write it, without trailing zeros.

    Examples
    --------
    >>> decimal_text(6331025, 2), decimal_text(10_000_000, 8), decimal_text(0, 8)
    ('63310.25', '0.1', '0')
    """
    whole, rest = divmod(units, 10**decimals)
    if not rest:
        return str(whole)
    return f"{whole}.{rest:0{decimals}d}".rstrip("0")


class Ladder:
    """Sizes by tick; index 0 is the best level. `sign` is 1 for bids and -1 for asks."""

    __slots__ = ("_keys", "sign", "sizes")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.sizes: dict[int, int] = {}
        self._keys: list[int] = []  # ascending towards the touch: the tick of a bid, minus the tick of an ask

    def __len__(self) -> int:
        """Return the number of levels."""
        return len(self._keys)

    @property
    def best(self) -> int:
        """The best tick. IndexError if the side is empty."""
        return self.sign * self._keys[-1]

    @property
    def best_size(self) -> int:
        """Size at the best tick."""
        return self.sizes[self.best]

    def tick(self, index: int) -> int:
        """Return the tick of a level, counted from the best."""
        return self.sign * self._keys[-1 - index]

    def set(self, tick: int, size: int) -> None:
        """Set the size at a tick; 0 removes."""
        key = self.sign * tick
        if size > 0:
            if tick not in self.sizes:
                insort(self._keys, key)
            self.sizes[tick] = size
        elif self.sizes.pop(tick, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def ticks(self) -> list[int]:
        """Return all ticks, best first."""
        return [self.sign * key for key in reversed(self._keys)]
