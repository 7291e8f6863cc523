"""Online primitives: exact running sums over time windows, a sliding quantile, least squares. Used by every kernel.

Sums over windows (N6). A family keeps, per summed column, one running total since the start of the stream, as an
unevaluated pair high + low of 106 bits, and its ring keeps for every row the totals *before* that row. The sum over a
window is the difference of two such pairs. So a spike that has left a window costs its
later sums at most 1e-31 of itself, a window without values other than zero sums to exactly 0.0, all windows share one
ring, and a window costs one subtraction per column. Every `REBASE_ROWS` rows, counted in rows, the totals are
restarted from the oldest row that a window still needs, so that neither totals nor errors grow without bound.

Windows are W1: (ts - w, ts], row-causal on ties. A family's window state is: `ring_ts` int64[capacity], `ring`
float64[capacity, 2, columns], `head` int64[1] (position of the next row), `tails` int64[windows] (oldest position
inside each window) and `totals` float64[2, columns].

The same as classes, one value at a time: `RollingSum`, `RollingWelford`, `RollingMax`, `RollingPercentile`,
`DecayedSum`, `VPINCalculator` and `KyleLambdaEstimator`, from `online`.
"""

import math
from importlib import import_module

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Field
from daedalus.etl.features.jit import kernel, primitive

_CLASSES = (
    "DecayedSum",
    "KyleLambdaEstimator",
    "RollingMax",
    "RollingPercentile",
    "RollingSum",
    "RollingWelford",
    "VPINCalculator",
)

REBASE_ROWS = 65_536
#: Beyond this a value is no market's; it contributes nothing, so that totals stay finite.
SUMMABLE_MAX = 1e100


def window_fields(windows: int, columns: int, group: str = "") -> tuple[Field, ...]:
    """Return the state of `windows` time windows that share one ring with `columns` summed columns."""
    return (
        Field(f"{group}ring_ts", INT, (), "ring", group),
        Field(f"{group}ring", FLOAT, (2, columns), "ring", group),
        Field(f"{group}head", INT, (1,)),
        Field(f"{group}tails", INT, (windows,)),
        Field(f"{group}totals", FLOAT, (2, columns)),
    )


def window_lengths_ns(seconds: tuple[int, ...]) -> I64:
    """Return window lengths in ns, int64[windows]."""
    return np.array(seconds, np.int64) * 1_000_000_000


@kernel
def enter(now: int, lengths: I64, ring_ts: I64, ring: F64, head: I64, tails: I64, totals: F64) -> int:
    """Let a row in: drop from every window the rows with ts <= now - length, and note time and totals before the row.

    Returns the row's slot in the ring, or -1 when the ring has no room, in which case calling again is exact.
    """
    mask = len(ring_ts) - 1
    oldest = head[0]
    for w in range(len(lengths)):
        tail, cutoff = tails[w], now - lengths[w]
        while tail < head[0] and ring_ts[tail & mask] <= cutoff:
            tail += 1
        tails[w] = tail
        oldest = min(oldest, tail)
    if head[0] - oldest == len(ring_ts):
        return -1
    if head[0] > 0 and head[0] % REBASE_ROWS == 0:
        rebase(oldest, ring, head, totals)
    slot: int = head[0] & mask
    ring_ts[slot] = now
    for c in range(totals.shape[1]):
        ring[slot, 0, c], ring[slot, 1, c] = totals[0, c], totals[1, c]
    head[0] += 1
    return slot


@kernel
def room(now: int, lengths: I64, ring_ts: I64, head: I64, tails: I64) -> bool:
    """Drop from every window what `enter` would drop, and return whether the ring can take one more row."""
    mask = len(ring_ts) - 1
    oldest = head[0]
    for w in range(len(lengths)):
        tail, cutoff = tails[w], now - lengths[w]
        while tail < head[0] and ring_ts[tail & mask] <= cutoff:
            tail += 1
        tails[w] = tail
        oldest = min(oldest, tail)
    return bool(head[0] - oldest < len(ring_ts))


@primitive
def add(totals: F64, c: int, value: float) -> None:
    """Add the current row's value to the total of column `c`; null adds nothing (N2)."""
    summed = value if abs(value) <= SUMMABLE_MAX else 0.0
    totals[0, c], totals[1, c] = plus(totals[0, c], totals[1, c], summed, 0.0)


@primitive
def window_sum(totals: F64, ring: F64, slot: int, c: int) -> float:
    """Return the sum of column `c` over the rows from that slot on."""
    value: float = (totals[0, c] - ring[slot, 0, c]) + (totals[1, c] - ring[slot, 1, c])
    return value


@primitive
def plus(high: float, low: float, more: float, more_low: float) -> tuple[float, float]:
    """Add two pairs: Knuth's two-sum, then renormalise."""
    after = high + more
    part = after - high
    rest = low + more_low + ((high - (after - part)) + (more - part))
    total = after + rest
    return total, rest - (total - after)


@kernel
def rebase(oldest: int, ring: F64, head: I64, totals: F64) -> None:
    """Restart the totals: subtract from all of them what they were before the oldest row in need."""
    mask = len(ring) - 1
    for c in range(totals.shape[1]):
        base, base_low = totals[0, c], totals[1, c]
        if oldest < head[0]:
            base, base_low = ring[oldest & mask, 0, c], ring[oldest & mask, 1, c]
        for position in range(oldest, head[0]):
            slot = position & mask
            ring[slot, 0, c], ring[slot, 1, c] = plus(ring[slot, 0, c], ring[slot, 1, c], -base, -base_low)
        totals[0, c], totals[1, c] = plus(totals[0, c], totals[1, c], -base, -base_low)


@kernel
def blank(out: F64, first: int, i: int) -> None:
    """Make the columns of a row from `first` on null."""
    for c in range(first, len(out)):
        out[c, i] = math.nan


@primitive
def ratio(numerator: float, denominator: float) -> float:
    """Return the quotient; NaN for x/0, 0/0 and whatever is not finite (N1)."""
    value = numerator / denominator
    return value if abs(value) < math.inf else math.nan


@primitive
def log_ratio(value: float, base: float) -> float:
    """Return ln(value / base). Close to 1 by the series of atanh, several times faster than `math.log`, as exact."""
    quotient = value / base
    s = (quotient - 1.0) / (quotient + 1.0)
    if abs(s) < 0.005:
        z = s * s
        return 2.0 * s * (1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z / 9.0))))
    return math.log(quotient)


@kernel
def quantile(ordered: F64, count: int, q: float) -> float:
    """Return the type 7 quantile (N4) of the ascending first `count` values, with NumPy's own arithmetic; none: NaN."""
    if count == 0:
        return math.nan
    place = (count - 1) * q
    low = min(math.floor(place), count - 1)
    below: float = ordered[low]
    above: float = ordered[min(low + 1, count - 1)]
    part, step = place - low, above - below
    return above - step * (1.0 - part) if part >= 0.5 else below + step * part


@kernel
def replace_ordered(ordered: F64, count: int, old: float, new: float) -> int:
    """Replace a value among the ascending first `count` values and return the new count.

    `old` must be there, or NaN: nothing goes. `new` may be NaN: nothing comes.
    """
    at = count
    if not math.isnan(old):
        count -= 1
        at = _place(ordered, count + 1, old)
    if math.isnan(new):
        for k in range(at, count):
            ordered[k] = ordered[k + 1]
        return count
    while at > 0 and ordered[at - 1] > new:
        ordered[at] = ordered[at - 1]
        at -= 1
    while at < count and ordered[at + 1] < new:
        ordered[at] = ordered[at + 1]
        at += 1
    ordered[at] = new
    return count + 1


@kernel
def _place(ordered: F64, count: int, value: float) -> int:
    """Return where the first of the ascending first `count` values stands that is not below `value`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def least_squares(x: F64, y: F64, count: int, fit: F64) -> None:
    """Regress y on x with an intercept and write slope, R2 and t of the slope to `fit` (feature catalogue, section 8).

    Only pairs where neither is NaN among the first `count` enter. Fewer than 3 pairs or Sxx = 0: all NaN. SST = 0:
    slope 0, R2 and t NaN. SSE <= 1e-24 SST: t NaN. Both are centred on the first pair, so that equal values differ by
    exactly 0.
    """
    fit[:] = math.nan
    pairs, x0, y0, mean_x, mean_y = _means(x, y, count)
    if pairs < 3:
        return
    sxx = sxy = sst = 0.0
    for k in range(count):
        if not math.isnan(x[k] + y[k]):
            dx, dy = (x[k] - x0) - mean_x, (y[k] - y0) - mean_y
            sxx += dx * dx
            sxy += dx * dy
            sst += dy * dy
    if sxx == 0.0:
        return
    fit[0] = sxy / sxx
    if sst == 0.0:
        return
    sse = 0.0
    for k in range(count):
        if not math.isnan(x[k] + y[k]):
            error = (y[k] - y0) - mean_y - fit[0] * ((x[k] - x0) - mean_x)
            sse += error * error
    fit[1] = 1.0 - sse / sst
    if sse > 1e-24 * sst:
        fit[2] = fit[0] / math.sqrt(sse / (pairs - 2) / sxx)


@kernel
def _means(x: F64, y: F64, count: int) -> tuple[int, float, float, float, float]:
    """Return how many pairs are whole, the first of them, and the means of what the others differ from it."""
    pairs, x0, y0, sum_x, sum_y = 0, 0.0, 0.0, 0.0, 0.0
    for k in range(count):
        if not math.isnan(x[k] + y[k]):
            if pairs == 0:
                x0, y0 = x[k], y[k]
            pairs += 1
            sum_x += x[k] - x0
            sum_y += y[k] - y0
    return pairs, x0, y0, sum_x / max(pairs, 1), sum_y / max(pairs, 1)


def __getattr__(name: str) -> object:
    """Hand out the classes of `online`, which is built on this module."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("daedalus.etl.features.online"), name)
