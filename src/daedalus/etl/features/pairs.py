"""Exact sums of products over windows, and the moments that follow: everything in pairs high + low of 106 bits.

With squares summed exactly, variance and covariance come from sums over a window without the cancellation that makes
the textbook formula useless in 53 bits; what is below 1e-26 of the squares is rounding and counts as 0.
"""

import math

from daedalus.etl.features.base import F64
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import SUMMABLE_MAX, plus

_SPLIT = 134_217_729.0  # 2**27 + 1
NOTHING = 1e-26


@kernel
def product(a: float, b: float) -> tuple[float, float]:
    """Return a * b and its rounding error (Dekker)."""
    high = a * b
    t = _SPLIT * a
    a_high = t - (t - a)
    t = _SPLIT * b
    b_high = t - (t - b)
    a_low, b_low = a - a_high, b - b_high
    return high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low


@kernel
def add_product(totals: F64, c: int, a: float, b: float) -> None:
    """Add a * b, exactly, to the total of column `c`; null adds nothing."""
    if abs(a) <= SUMMABLE_MAX and abs(b) <= SUMMABLE_MAX:
        high, low = product(a, b)
        totals[0, c], totals[1, c] = plus(totals[0, c], totals[1, c], high, low)


@kernel
def window_pair(totals: F64, ring: F64, slot: int, c: int) -> tuple[float, float]:
    """Return the sum of column `c` over the rows from that slot on, as a pair."""
    high, low = plus(totals[0, c], totals[1, c], -ring[slot, 0, c], -ring[slot, 1, c])
    return high, low


@kernel
def centred(n: float, xy: float, xy_low: float, x: float, x_low: float, y: float, y_low: float) -> float:
    """Return the sum of (x - mean x)(y - mean y) from sums of n rows."""
    high, low = product(x, y)
    low += x * y_low + x_low * y
    part = high / n
    back, back_low = product(part, n)
    rest = ((high - back) - back_low + low) / n
    value, value_low = plus(xy, xy_low, -part, -rest)
    return value + value_low


@kernel
def variance(n: float, squares: float, squares_low: float, total: float, total_low: float) -> float:
    """Return the unbiased variance from sums over n rows; null for fewer than 2 (N3)."""
    if n < 2.0:
        return math.nan
    m2 = centred(n, squares, squares_low, total, total_low, total, total_low)
    return 0.0 if m2 <= NOTHING * squares else m2 / (n - 1.0)
