"""Regressions and concentration measures over the levels of one side, for `shape`."""

import math

from daedalus.etl.features.base import F64
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio


@kernel
def slopes(
    price: F64, size: F64, distance: F64, count: int, mid: float, lot: float, total: F64, side: int, out: F64, i: int
) -> None:
    """Write the slopes and the convexity of cumulative size on distance; `total` is scratch."""
    total[0] = size[0]
    for k in range(1, count):
        total[k] = total[k - 1] + size[k]
    out[4 + side, i] = ratio(total[count - 1], distance[count - 1])
    _line(distance, total, count, side, out, i)
    out[10 + side, i] = _elasticity(price, total, count, mid, lot)
    out[12 + side, i] = _quadratic(distance, total, count)


@kernel
def _line(x: F64, y: F64, count: int, side: int, out: F64, i: int) -> None:
    """Write slope and R2 of y on x; null without two different x."""
    mean_x, mean_y = _mean(x, count), _mean(y, count)
    sxx = sxy = syy = 0.0
    for k in range(count):
        dx, dy = (x[k] - x[0]) - mean_x, (y[k] - y[0]) - mean_y
        sxx += dx * dx
        sxy += dx * dy
        syy += dy * dy
    slope = ratio(sxy, sxx)
    sse = 0.0
    for k in range(count):
        error = (y[k] - y[0]) - mean_y - slope * ((x[k] - x[0]) - mean_x)
        sse += error * error
    out[6 + side, i] = slope
    out[8 + side, i] = 1.0 - ratio(sse, syy)


@kernel
def _mean(x: F64, count: int) -> float:
    """Return the mean of what the values differ from the first."""
    total = 0.0
    for k in range(count):
        total += x[k] - x[0]
    return total / count


@kernel
def _elasticity(price: F64, total: F64, count: int, mid: float, lot: float) -> float:
    before = math.log(total[0] / lot)
    if not before > 0.0:
        return math.nan
    value = ratio(before, abs(price[0] / mid - 1.0))
    for k in range(1, count):
        now = math.log(total[k] / lot)
        value += ratio(abs(now / before - 1.0), abs(price[k] / price[k - 1] - 1.0))
        before = now
    return value / count


@kernel
def _quadratic(x: F64, y: F64, count: int) -> float:
    """Return the coefficient of x squared, by orthogonal polynomials; null without three different x."""
    different = 1
    for k in range(1, count):
        different += x[k] != x[k - 1]
    if different < 3:
        return math.nan
    mean = _mean(x, count)
    s2 = s3 = 0.0
    for k in range(count):
        d = (x[k] - x[0]) - mean
        s2 += d * d
        s3 += d * d * d
    across = along = 0.0
    for k in range(count):
        d = (x[k] - x[0]) - mean
        p = d * d - s3 / s2 * d - s2 / count
        across += p * (y[k] - y[0])
        along += p * p
    return ratio(across, along)


@kernel
def concentration(size: F64, count: int, total: float, ordered: F64, side: int, out: F64, i: int) -> None:
    """Write the Herfindahl index, the Gini coefficient and the entropy of the sizes; `ordered` is scratch."""
    squares = entropy = 0.0
    for k in range(count):
        share = size[k] / total
        squares += share * share
        entropy -= share * math.log(share) if share > 0.0 else 0.0
        at = k
        while at > 0 and ordered[at - 1] > size[k]:
            ordered[at] = ordered[at - 1]
            at -= 1
        ordered[at] = size[k]
    gini = 0.0
    for k in range(count):
        gini += (2.0 * (k + 1) - count - 1.0) * ordered[k]
    out[14 + side, i] = squares
    out[16 + side, i] = ratio(gini, count * total)
    out[18 + side, i] = 0.0 if count == 1 else entropy / math.log(count)


@kernel
def decay(size: F64, distance: F64, count: int) -> float:
    """Return minus the slope of ln size on distance; null without two different distances."""
    mean_x, mean_y = _mean(distance, count), 0.0
    for k in range(count):
        mean_y += math.log(size[k] / size[0]) / count
    sxx = sxy = 0.0
    for k in range(count):
        dx = (distance[k] - distance[0]) - mean_x
        sxx += dx * dx
        sxy += dx * (math.log(size[k] / size[0]) - mean_y)
    return -ratio(sxy, sxx)
