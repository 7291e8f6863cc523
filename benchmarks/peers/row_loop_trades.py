"""Kyle's lambda and VPIN for the row loop."""

from __future__ import annotations

import math
from collections import deque

BAR_NS, BARS = 5_000_000_000, 60
BUCKET, BUCKETS = 1.0, 50


class Kyle:
    """The regression of the change of mid on signed volume over the last bars of 5 s."""

    def __init__(self) -> None:
        self.bars: deque[tuple[float, float | None]] = deque(maxlen=BARS)
        self.bar: int | None = None
        self.volume = 0.0
        self.mid: float | None = None
        self.close: float | None = None
        self.fit: tuple[float | None, float | None, float | None] = (None, None, None)
        self.fresh = False

    def trade(self, ts: int, signed: float) -> None:
        self._close_until(ts)
        self.volume += signed

    def row(self, ts: int, mid: float) -> tuple[float | None, float | None, float | None]:
        self._close_until(ts)
        if self.fresh:
            self.fit, self.fresh = _line([pair for pair in self.bars if pair[1] is not None]), False
        self.mid = mid
        return self.fit

    def _close_until(self, now: int) -> None:
        current = now // BAR_NS
        if self.bar is None:
            self.bar = current
        while self.bar < current:
            change = None if self.mid is None or self.close is None else self.mid - self.close
            self.bars.append((self.volume, change))
            self.close, self.volume, self.fresh = self.mid, 0.0, True
            self.bar += 1


def _line(pairs: list[tuple[float, float]]) -> tuple[float | None, float | None, float | None]:
    n = len(pairs)
    if n < 3:
        return None, None, None
    mean_x, mean_y = sum(x for x, _ in pairs) / n, sum(y for _, y in pairs) / n
    sxx = sum((x - mean_x) ** 2 for x, _ in pairs)
    if sxx == 0.0:
        return None, None, None
    slope = sum((x - mean_x) * (y - mean_y) for x, y in pairs) / sxx
    sst = sum((y - mean_y) ** 2 for _, y in pairs)
    sse = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in pairs)
    if sst == 0.0:
        return 0.0, None, None
    t = slope / math.sqrt(sse / (n - 2) / sxx) if sse > 1e-24 * sst else None
    return slope, 1.0 - sse / sst, t


class Vpin:
    """Mean imbalance of the last buckets of equal volume, true sides."""

    def __init__(self) -> None:
        self.buckets: deque[float] = deque(maxlen=BUCKETS)
        self.fill = self.signed = 0.0

    @property
    def value(self) -> float | None:
        return sum(self.buckets) / BUCKETS if len(self.buckets) == BUCKETS else None

    def trade(self, amount: float, side: int) -> None:
        while amount > 0.0:
            part = min(amount, BUCKET - self.fill)
            self.fill += part
            self.signed += side * part
            amount -= part
            if self.fill >= BUCKET:
                self.buckets.append(abs(self.signed) / BUCKET)
                self.fill = self.signed = 0.0
