"""Naive references of the feature catalogue, section 8: VPIN with true sides and by bulk volume classification."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from fractions import Fraction

from daedalus.etl.features.config import FeatureConfig
from tests.references.static_features import Values, div
from tests.references.trade_features import Kept

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
MINUTE = 60 * SECOND
Trades = list[tuple[int, Values]]


class Buckets:
    """Volume buckets; `judge` says what a full one's imbalance is, from bought - sold, size and the last price."""

    def __init__(self, config: FeatureConfig, judge: Callable[[float, float, float], float]) -> None:
        self.config, self.judge = config, judge
        self.imbalances: list[float] = []
        self.values: list[float] = []
        self.day_volumes: dict[int, float] = {}
        self.size = self.fill = self.net = 0.0
        self.start = 0
        self.took: float | None = None

    def opening_size(self, now: int) -> float:
        if self.config.vpin_bucket_volume != "auto":
            return float(self.config.vpin_bucket_volume)
        return self.day_volumes.get(now // DAY - 1, 0.0) / 50

    def count(self, now: int, amount: float) -> None:
        self.day_volumes[now // DAY] = self.day_volumes.get(now // DAY, 0.0) + amount

    def take(self, now: int, amount: float, side: float, price: float) -> None:
        left = amount
        while left > 0:
            if self.fill == 0:
                self.size, self.net, self.start = self.opening_size(now), 0.0, now
                if self.size == 0:
                    return
            part = min(left, self.size - self.fill)
            full = part == self.size - self.fill
            self.net += side * part
            self.fill += part
            left -= part
            if full:
                self.imbalances.append(self.judge(self.net, self.size, price))
                self.took, self.fill = (now - self.start) / 1e9, 0.0
                if self.value is not None:
                    self.values.append(self.value)

    @property
    def value(self) -> float | None:
        n = self.config.vpin_window_buckets
        return math.fsum(self.imbalances[-n:]) / n if len(self.imbalances) >= n else None


class Bulk:
    """2 Phi(dP / sigma) - 1 of a series of last prices."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.changes: list[float] = []

    def tilt(self, price: float) -> float:
        before, self.last = self.last, price
        if before is None:
            return 0.0
        self.changes.append(price - before)
        recent = [Fraction(c) for c in self.changes[-50:]]
        sigma = math.sqrt(statistics.variance(recent)) if len(recent) > 1 else 0.0
        return 2 * statistics.NormalDist().cdf((price - before) / sigma) - 1 if sigma > 0 else 0.0


def toxicity(kept: Kept, trades: Trades, config: FeatureConfig) -> list[Values]:
    """Return the columns of every row."""
    true = Buckets(config, lambda net, size, price: abs(net) / size)
    by_bucket, by_bar = Bulk(), Bulk()
    bulk = Buckets(config, lambda net, size, price: abs(by_bucket.tilt(price)))
    bars = Buckets(config, lambda net, size, price: abs(net) / size)
    ended: list[tuple[int, float, float]] = []
    minute: int | None = None
    volume = close = 0.0
    now, waiting = 0, list(trades)
    out: list[Values] = []

    def end_bars(time: int) -> None:
        nonlocal minute, volume
        minute = time // MINUTE if minute is None else minute
        if time // MINUTE > minute and volume > 0:
            end, tilt = (minute + 1) * MINUTE, by_bar.tilt(close)
            bars.take(end, volume, tilt, close)
            ended.append((end, volume, volume * tilt))
        if time // MINUTE > minute:
            minute, volume = time // MINUTE, 0.0

    for i, (_, ts, _) in enumerate(kept):
        while waiting and waiting[0][0] <= i:
            t = waiting.pop(0)[1]
            own, amount, price = int(t["ts"] or 0), float(t["amount"] or 0), float(t["price"] or 0)
            now = max(now, own)
            end_bars(now)
            true.take(own, amount, float(t["side"] or 0), price)
            bulk.take(own, amount, 0.0, price)
            for buckets in (true, bulk, bars):
                buckets.count(own, amount)
            volume, close = volume + amount, price
        now = max(now, ts)
        end_bars(now)
        size = true.size if true.fill > 0 else true.opening_size(now)
        before = true.values[-251:-1]
        out.append(
            {
                "vpin": true.value,
                "vpin_bucket_fill": div(true.fill, size),
                "vpin_bucket_dur_s": true.took,
                "vpin_cdf": sum(v <= true.values[-1] for v in before) / len(before) if before else None,
                "vpin_bvc": bars.value,
                "vpin_bvc_bucket": bulk.value,
            }
        )
        for w in (300, 3600):
            inside = [e for e in ended if ts - w * SECOND < e[0] <= ts]
            out[-1][f"bvc_imbalance_{w}s"] = div(math.fsum(e[2] for e in inside), math.fsum(e[1] for e in inside))
    return out
