"""A series sampled on a grid of the epoch (previous tick, W7), and what windows of its returns say.

A window (ts - w, ts] with w a multiple of the grid's step holds the last w / step grid points, whenever within a step
it is asked: so columns change only when a point is passed, are worked out then, from the points, and held between.
The point at exactly ts takes the rows of that ts seen so far, and is sampled again at the next of them.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Field
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio

SECOND_NS = 1_000_000_000


def grid_fields(name: str, points: int) -> tuple[Field, ...]:
    """Return the state of one sampled series: the last `points` points, the last known value and the clock."""
    return (
        Field(f"{name}_points", FLOAT, (points,)),
        Field(f"{name}_known", FLOAT, (1,)),
        Field(f"{name}_clock", INT, (3,)),
    )


@kernel
def advance(now: int, value: float, step: int, stale_ns: int, points: F64, known: F64, clock: I64) -> int:
    """Let a row in and sample the points up to it.

    `clock` is (seen, last point, time of the last known value). Returns the first point that is new or sampled again,
    or the one after the last when there is none.
    """
    current = now // step
    if clock[0] == 0:
        clock[0], clock[1] = 1, current - 1
        known[0] = math.nan
        points[:] = math.nan
    first = min(clock[1] + 1, current) if current * step == now else clock[1] + 1
    first = int(max(first, current - len(points) + 1))
    for k in range(first, current + 1):
        if k * step < now:
            points[k % len(points)] = known[0] if k * step - clock[2] <= stale_ns else math.nan
    if not math.isnan(value):
        known[0], clock[2] = value, now
    if current * step == now:
        points[current % len(points)] = known[0] if now - clock[2] <= stale_ns else math.nan
    clock[1] = current
    return first


@kernel
def log_returns(first: int, last: int, points: F64, returns: F64) -> None:
    """Write the returns that end at the points from `first` to `last`."""
    size = len(points)
    for k in range(first, last + 1):
        returns[k % size] = math.log(points[k % size] / points[(k - 1) % size])


@kernel
def gather(last: int, values: F64, into: F64, ends: I64, windows: I64) -> int:
    """Copy what is known of the ring `values` up to position `last`, newest last, and return how many there are.

    `ends[v]` becomes where the last `windows[v]` positions begin among them; `windows` ascend, the last is the longest.
    """
    size, longest, count = len(values), windows[-1], 0
    v = len(windows) - 1
    slot = (last - longest + 1) % size
    for k in range(last - longest + 1, last + 1):
        while v >= 0 and k == last - windows[v] + 1:
            ends[v] = count
            v -= 1
        if not math.isnan(values[slot]):
            into[count] = values[slot]
            count += 1
        slot = slot + 1 if slot + 1 < size else 0
    return count


@kernel
def unroll(last: int, values: F64, into: F64, count: int) -> None:
    """Copy the last `count` positions of the ring `values` up to `last`, newest last, the unknown ones as well."""
    size = len(values)
    slot = (last - count + 1) % size
    for k in range(count):
        into[k] = values[slot]
        slot = slot + 1 if slot + 1 < size else 0


@kernel
def powers(r: F64, start: int, count: int, sums: F64) -> None:
    """Write the sums of r2, r2 of r > 0, r2 of r < 0, r3, r4 and |r||r before| of the returns from `start` on."""
    sums[:] = 0.0
    for k in range(start, count):
        square = r[k] * r[k]
        sums[0] += square
        if r[k] > 0.0:
            sums[1] += square
        elif r[k] < 0.0:
            sums[2] += square
        sums[3] += square * r[k]
        sums[4] += square * square
        if k > start:
            sums[5] += abs(r[k]) * abs(r[k - 1])


@kernel
def median_rv(r: F64, start: int, count: int) -> float:
    """Return MedRV (Andersen, Dobrev and Schaumburg 2012)."""
    n, total = count - start, 0.0
    for k in range(start + 2, count):
        a, b, c = abs(r[k - 2]), abs(r[k - 1]), abs(r[k])
        middle = max(min(a, b), min(max(a, b), c))
        total += middle * middle
    return math.pi / (6.0 - 4.0 * math.sqrt(3.0) + math.pi) * ratio(n, n - 2.0) * total if n > 2 else math.nan


@kernel
def minimum_rv(r: F64, start: int, count: int) -> float:
    """Return MinRV (Andersen, Dobrev and Schaumburg 2012)."""
    n, total = count - start, 0.0
    for k in range(start + 1, count):
        least = min(abs(r[k - 1]), abs(r[k]))
        total += least * least
    return math.pi / (math.pi - 2.0) * ratio(n, n - 1.0) * total if n > 1 else math.nan


@kernel
def tripower(powered: F64, start: int, count: int) -> float:
    """Return the tripower quarticity (Huang and Tauchen 2005) of returns given as |r| ** (4 / 3)."""
    n, total = count - start, 0.0
    if n < 3:
        return math.nan
    for k in range(start + 2, count):
        total += powered[k] * powered[k - 1] * powered[k - 2]
    mean = 2.0 ** (2.0 / 3.0) * math.gamma(7.0 / 6.0) / math.gamma(0.5)
    value: float = n * mean**-3.0 * n / (n - 2.0) * total
    return value


@kernel
def overlapping(r: F64, start: int, count: int, span: int) -> float:
    """Return the sum of squares of all sums of `span` neighbouring returns."""
    total = 0.0
    for k in range(start + span - 1, count):
        part = 0.0
        for j in range(span):
            part += r[k - j]
        total += part * part
    return total


@kernel
def two_scales(r: F64, start: int, count: int, span: int, rv: float) -> float:
    """Return the two-scale realised variance (Zhang, Mykland and Ait-Sahalia 2005)."""
    n = count - start
    if n < 2 * span:
        return math.nan
    share = (n - span + 1.0) / span / n
    return (overlapping(r, start, count, span) / span - share * rv) / (1.0 - share)


@kernel
def variance_ratio(r: F64, start: int, count: int, span: int, rv: float) -> float:
    """Return VR(span) without removing the mean (Lo and MacKinlay 1988)."""
    n = count - start
    if n < span:
        return math.nan
    return ratio(overlapping(r, start, count, span) / (span * (n - span + 1.0)), rv / n)


@kernel
def autocorrelation(r: F64, start: int, count: int) -> float:
    """Return the lag-1 autocorrelation, biased; null without variation."""
    n = count - start
    if n < 2:
        return math.nan
    mean = 0.0
    for k in range(start, count):
        mean += (r[k] - r[start]) / n
    below = above = 0.0
    for k in range(start, count):
        d = (r[k] - r[start]) - mean
        below += d * d
        if k > start:
            above += d * ((r[k - 1] - r[start]) - mean)
    return ratio(above, below)


@kernel
def hurst(logs: F64, window: int) -> float:
    """Return the slope of ln mean |difference| on ln lag, lags 1, 2, 4, 8, 16 of the log points (Di Matteo 2007)."""
    x, y = np.zeros(5), np.zeros(5)
    for s in range(5):
        lag, total, pairs = 1 << s, 0.0, 0
        for k in range(len(logs) - window + lag, len(logs)):
            moved = abs(logs[k] - logs[k - lag])
            if not math.isnan(moved):
                total += moved
                pairs += 1
        if pairs == 0 or total == 0.0:
            return math.nan
        x[s], y[s] = math.log(float(lag)), math.log(total / pairs)
    slope = spread = 0.0
    for s in range(5):
        slope += (x[s] - x.mean()) * (y[s] - y.mean())
        spread += (x[s] - x.mean()) ** 2
    return slope / spread


@kernel
def order_entropy(points: F64, start: int, count: int) -> float:
    """Return the entropy of the order of three neighbours over ln 6; equal values keep theirs (Bandt and Pompe)."""
    seen, n = np.zeros(6), count - start - 2
    for k in range(start, count - 2):
        a, b, c = points[k], points[k + 1], points[k + 2]
        rising = 0 if b <= c else (1 if a <= c else 2)
        falling = 3 if a <= c else (4 if b <= c else 5)
        kind = rising if a <= b else falling
        seen[kind] += 1.0
    if n < 1:
        return math.nan
    total = 0.0
    for kind in range(6):
        if seen[kind] > 0.0:
            total -= seen[kind] / n * math.log(seen[kind] / n)
    return total / math.log(6.0)
