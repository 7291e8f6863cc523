"""Exact sums of products over windows, and the moments that follow: everything in pairs high + low of 106 bits.

With squares summed exactly, variance and covariance come from sums over a window without the cancellation that makes
the textbook formula useless in 53 bits; what is below 1e-26 of the squares is rounding and counts as 0. So is what is
below 1e-29 of the running total that a window's squares were taken from: a spike leaves that much behind.
"""

import math

from daedalus.etl.features.base import F64
from daedalus.etl.features.jit import kernel, primitive
from daedalus.etl.features.streaming import SUMMABLE_MAX, add, plus, window_sum

_SPLIT = 134_217_729.0  # 2**27 + 1
NOTHING = 1e-26
_NOTHING_OF_TOTAL = 1e-29


@primitive
def product(a: float, b: float) -> tuple[float, float]:
    """Return a * b and its rounding error (Dekker)."""
    high = a * b
    t = _SPLIT * a
    a_high = t - (t - a)
    t = _SPLIT * b
    b_high = t - (t - b)
    a_low, b_low = a - a_high, b - b_high
    return high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low


@primitive
def add_product(totals: F64, c: int, a: float, b: float) -> None:
    """Add a * b, exactly, to the total of column `c`; null adds nothing."""
    known = (abs(a) <= SUMMABLE_MAX) & (abs(b) <= SUMMABLE_MAX)
    high, low = product(a if known else 0.0, b if known else 0.0)
    totals[0, c], totals[1, c] = plus(totals[0, c], totals[1, c], high, low)


@primitive
def window_pair(totals: F64, ring: F64, slot: int, c: int) -> tuple[float, float]:
    """Return the sum of column `c` over the rows from that slot on, as a pair."""
    high, low = plus(totals[0, c], totals[1, c], -ring[slot, 0, c], -ring[slot, 1, c])
    return high, low


@primitive
def centred(n: float, xy: float, xy_low: float, x: float, x_low: float, y: float, y_low: float) -> float:
    """Return the sum of (x - mean x)(y - mean y) from sums of n rows."""
    high, low = product(x, y)
    low += x * y_low + x_low * y
    part = high / n
    back, back_low = product(part, n)
    rest = ((high - back) - back_low + low) / n
    value, value_low = plus(xy, xy_low, -part, -rest)
    return value + value_low


@primitive
def is_nothing(deviation: float, squares: float, running: float) -> bool:
    """Return whether a centred sum of squares is rounding, given the raw one and the running total of the squares."""
    return (deviation <= NOTHING * squares) | (deviation <= _NOTHING_OF_TOTAL * abs(running))


@primitive
def variance(n: float, squares: float, squares_low: float, total: float, total_low: float, running: float) -> float:
    """Return the unbiased variance from sums over n rows; null for fewer than 2 (N3). `running`: as in `is_nothing`."""
    m2 = centred(n, squares, squares_low, total, total_low, total, total_low)
    value = 0.0 if is_nothing(m2, squares, running) else m2 / (n - 1.0)
    return value if n >= 2.0 else math.nan


@kernel
def regress(ring: F64, totals: F64, slot: int, c: int) -> tuple[float, float, float]:
    """Return slope, R2 (section 8) and Sxx of y on x; the sums of n, x, y, x2, xy and y2 begin at column `c`.

    Fewer than 3 pairs or no variation of x: null. None of y: slope 0, R2 null.
    """
    n = window_sum(totals, ring, slot, c)
    if n < 3.0:
        return math.nan, math.nan, math.nan
    x, x_low = window_pair(totals, ring, slot, c + 1)
    y, y_low = window_pair(totals, ring, slot, c + 2)
    xx, xx_low = window_pair(totals, ring, slot, c + 3)
    xy, xy_low = window_pair(totals, ring, slot, c + 4)
    yy, yy_low = window_pair(totals, ring, slot, c + 5)
    sxx = centred(n, xx, xx_low, x, x_low, x, x_low)
    syy = centred(n, yy, yy_low, y, y_low, y, y_low)
    if is_nothing(sxx, xx, totals[0, c + 3]):
        return math.nan, math.nan, sxx
    if is_nothing(syy, yy, totals[0, c + 5]):
        return 0.0, math.nan, sxx
    sxy = centred(n, xy, xy_low, x, x_low, y, y_low)
    return sxy / sxx, sxy / sxx * (sxy / syy), sxx


@kernel
def add_pair(totals: F64, c: int, x: float, y: float) -> None:
    """Add what `regress` needs of a pair; nothing if either is null."""
    if not math.isnan(x + y):
        add(totals, c, 1.0)
        add(totals, c + 1, x)
        add(totals, c + 2, y)
        add_product(totals, c + 3, x, x)
        add_product(totals, c + 4, x, y)
        add_product(totals, c + 5, y, y)


@kernel
def lag_one(
    n: float,
    total: float,
    total_low: float,
    squares: float,
    squares_low: float,
    after: float,
    after_low: float,
    oldest: float,
    newest: float,
    running: float,
) -> float:
    """Return the biased lag-1 autocorrelation of n values; null for fewer than 2 or without variation.

    From their sum, the sum of their squares, and the sum of the n - 1 products of neighbours `after`. Centred on the
    means of all but the first and of all but the last, what is left of the products is one of the two ends. `running`:
    as in `is_nothing`.
    """
    if n < 2.0:
        return math.nan
    below = centred(n, squares, squares_low, total, total_low, total, total_low)
    if is_nothing(below, squares, running):
        return math.nan
    late, late_low = plus(total, total_low, -oldest, 0.0)
    early, early_low = plus(total, total_low, -newest, 0.0)
    inner = centred(n - 1.0, after, after_low, late, late_low, early, early_low)
    ends = _from_mean(oldest, n, total, total_low) * _from_mean(newest, n, total, total_low) / (n - 1.0)
    return (inner + ends) / below


@kernel
def _from_mean(value: float, n: float, total: float, total_low: float) -> float:
    """Return value - total / n without cancellation."""
    high, low = product(value, n)
    rest, rest_low = plus(high, low, -total, -total_low)
    return (rest + rest_low) / n
