"""The online primitives as classes: one value at a time, by the kernels that compute the columns."""

import math

import numpy as np

from daedalus.etl.features.base import NULL_INT
from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.extremes import choose, extreme_fields, push
from daedalus.etl.features.pairs import add_product, variance, window_pair
from daedalus.etl.features.state import grow_rings, new_arrays
from daedalus.etl.features.streaming import add, enter, quantile, replace_ordered, window_fields, window_sum


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


class RollingWelford:
    """Count, sum, mean and unbiased variance of the values in a time window (ts - w, ts]; exact, without drift.

    Parameters
    ----------
    seconds
        Length of the window.

    Examples
    --------
    >>> window = RollingWelford(5)
    >>> for second, value in enumerate([1.0, 2.0, 3.0]):
    ...     window.update(second * 1_000_000_000, value)
    >>> window.mean, window.variance
    (2.0, 1.0)
    """

    def __init__(self, seconds: int) -> None:
        self._fields = window_fields(1, 3)
        self._state = new_arrays(self._fields)
        self._lengths = np.array([seconds * 1_000_000_000], np.int64)

    def update(self, ts: int, value: float) -> None:
        """Let a value in; `ts` (ns) must not step back, NaN counts as a row without a value."""
        while enter(ts, self._lengths, *(self._state[field.name] for field in self._fields)) < 0:
            grow_rings("online", self._state, self._fields)
        totals = self._state["totals"]
        if not math.isnan(value):
            add(totals, 0, 1.0)
            add(totals, 1, value)
            add_product(totals, 2, value, value)

    def _slot(self) -> int:
        return int(self._state["tails"][0]) & (len(self._state["ring_ts"]) - 1)

    @property
    def count(self) -> int:
        """Values in the window."""
        return int(window_sum(self._state["totals"], self._state["ring"], self._slot(), 0))

    @property
    def sum(self) -> float:
        """Their sum; 0 for none."""
        return float(window_sum(self._state["totals"], self._state["ring"], self._slot(), 1))

    @property
    def mean(self) -> float | None:
        """Their mean; None for none."""
        return self.sum / self.count if self.count else None

    @property
    def variance(self) -> float | None:
        """Their unbiased variance; None for fewer than two."""
        totals, ring, slot = self._state["totals"], self._state["ring"], self._slot()
        squares, total = window_pair(totals, ring, slot, 2), window_pair(totals, ring, slot, 1)
        return _known(variance(float(self.count), *squares, *total, float(totals[0, 2])))


class RollingSum(RollingWelford):
    """The sum of the values in a time window; `sum` and `count` are what it is for."""


class RollingMax:
    """The largest value in a time window; for the smallest, give and take negated values.

    Examples
    --------
    >>> window = RollingMax(5)
    >>> [window.update(second * 1_000_000_000, value) for second, value in enumerate([3.0, 1.0, 2.0])]
    [3.0, 3.0, 3.0]
    """

    def __init__(self, seconds: int) -> None:
        self._fields = extreme_fields(1, 1)
        self._state = new_arrays(self._fields)
        self._lengths = np.array([seconds * 1_000_000_000], np.int64)

    def update(self, ts: int, value: float) -> float | None:
        """Let a value in and return the largest; None when there is none."""
        s = self._state
        while push(ts, self._lengths, s["ring_ts"], s["newer"], s["head"], s["tails"], s["chosen"]) < 0:
            grow_rings("online", s, self._fields)
        choose(0, value, s["ring"], s["older"], s["newer"], s["head"], s["tails"], s["back"], s["chosen"])
        best = int(s["chosen"][0, 0])
        return float(s["ring"][best & (len(s["ring"]) - 1), 0]) if best >= 0 else None


class RollingPercentile:
    """Type 7 quantiles of the last n values.

    Examples
    --------
    >>> last = RollingPercentile(3)
    >>> for value in (9.0, 1.0, 2.0, 3.0):
    ...     last.update(value)
    >>> last.quantile(0.5)
    2.0
    """

    def __init__(self, values: int) -> None:
        self._recent, self._ordered = np.full(values, math.nan), np.zeros(values)
        self._seen, self._count = 0, 0

    def update(self, value: float) -> None:
        """Let a value in; NaN takes a place without being one."""
        slot = self._seen % len(self._recent)
        self._count = replace_ordered(self._ordered, self._count, self._recent[slot], value)
        self._recent[slot] = value
        self._seen += 1

    def quantile(self, q: float) -> float | None:
        """Return the quantile of what is known; None for nothing."""
        return _known(quantile(self._ordered, self._count, q))


class DecayedSum:
    """A sum that halves every `half_life` seconds (feature catalogue, section 9).

    Examples
    --------
    >>> fading = DecayedSum(10.0)
    >>> fading.update(0, 8.0)
    >>> fading.value(20_000_000_000)
    2.0
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self._sum, self._ts = 0.0, 0

    def update(self, ts: int, value: float) -> None:
        """Let a value in at `ts`, ns."""
        self._sum, self._ts = self.value(ts) + value, ts

    def value(self, ts: int) -> float:
        """Return the sum as of `ts`."""
        return float(self._sum * 2.0 ** (-(ts - self._ts) / 1e9 / self.half_life))


class _Estimator:
    """One family over books of one level and trades, event by event."""

    def __init__(self, config: FeatureConfig, family: str) -> None:
        self._features = FeatureSet(config, [family])
        self._state = self._features.new_state()

    def _trades(self, ts: int, price: float, amount: float, side: int) -> TradeChunk:
        times = np.array([ts], np.int64)
        return TradeChunk(times, times, np.array([price]), np.array([amount]), np.array([side], np.int8))

    def _book(self, ts: int, bid: float, ask: float) -> BookChunk:
        times, price = np.array([ts], np.int64), (np.array([[bid]]), np.array([[ask]]))
        size, none = np.ones((1, 1)), np.full(1, NULL_INT)
        return BookChunk(times, times, none, np.zeros(1, np.bool_), price[0], size, price[1], size)


class VPINCalculator(_Estimator):
    """VPIN over trades (feature catalogue, section 8).

    Parameters
    ----------
    bucket_volume
        Volume of one bucket, base units.
    buckets
        Buckets that VPIN averages over.

    Examples
    --------
    >>> vpin = VPINCalculator(2.0, 2)
    >>> [vpin.update(ts, 1.0, side) for ts, side in enumerate([1, 1, 1, -1])]
    [None, None, None, 0.5]
    """

    def __init__(self, bucket_volume: float, buckets: int = 50) -> None:
        options = {"vpin_bucket_volume": bucket_volume, "vpin_window_buckets": buckets}
        super().__init__(FeatureConfig(max_levels=1, **options), "vpin")  # type: ignore[arg-type]

    def update(self, ts: int, amount: float, side: int) -> float | None:
        """Let a trade in (`ts` in ns, side +1, -1 or 0) and return VPIN; None until there are enough buckets."""
        # Always at mid, so that a side that is not known stays so.
        book, trade = self._book(ts, 1.0, 2.0), self._trades(ts, 1.5, amount, side)
        self._state, outputs = self._features.apply(self._state, book, trade)
        return _known(outputs["vpin"][0])


class KyleLambdaEstimator(_Estimator):
    """Kyle's lambda over 5 s bars (feature catalogue, section 8).

    Parameters
    ----------
    seconds
        How far the regression looks back, a multiple of 5.
    """

    def __init__(self, seconds: int = 300) -> None:
        super().__init__(FeatureConfig(max_levels=1, kyle_lambda_window=seconds), "kyle")

    def trade(self, ts: int, amount: float, side: int) -> None:
        """Let a trade in: `ts` in ns, side +1, -1 or 0; a side that is not known moves nothing."""
        if side == 0:
            return
        none = self._book(ts, 1.0, 2.0).rows(0, 0)
        self._state, _ = self._features.apply(self._state, none, self._trades(ts, 1.0, amount, side))

    def update(self, ts: int, bid: float, ask: float) -> tuple[float | None, float | None, float | None]:
        """Let a book in and return lambda, R2 and t; None where there is none."""
        self._state, outputs = self._features.apply(self._state, self._book(ts, bid, ask))
        values = [_known(outputs[name][0]) for name in ("kyle_lambda", "kyle_lambda_r2", "kyle_lambda_t")]
        return values[0], values[1], values[2]
