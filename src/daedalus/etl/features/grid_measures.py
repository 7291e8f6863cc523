"""The measures of `grid_returns`, from the sums over one window.

Sums come from running totals, which know them to 1e-32 of all that was ever added. In a window so quiet that this would
show (a mid that moves by its last bit only), they are added up from its returns instead.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, I64
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.pairs import add_product, lag_one, window_pair
from daedalus.etl.features.streaming import add, ratio, window_sum

SPAN = 5
#: Share of the running total of squares below which a window is quiet; the least of r^4 then still has 12 digits.
_QUIET = 1e-8


@kernel
def measure(
    v: int,
    outputs: I64,
    reach: I64,
    ring: F64,
    head: int,
    tail: int,
    totals: F64,
    ring_return: F64,
    sums: F64,
    held: F64,
) -> None:
    """Work out the measures of window `v`; `sums` is scratch."""
    mask = len(ring) - 1
    for c in range(len(reach)):
        first = tail + reach[c]
        sums[c] = window_sum(totals, ring, first & mask, c) if first < head else 0.0
    n = head - tail
    quiet = sums[0] < _QUIET * totals[0, 0]
    if quiet:
        _add_up(tail, head, ring_return, sums)
    for o in range(len(outputs)):
        m = outputs[o, 0]
        if outputs[o, 1] != v:
            continue
        if m < 10:
            held[o] = _simple(m, n, sums)
        elif m < 15:
            held[o] = _of_neighbours(m, n, sums)
        else:
            held[o] = _memory(tail, head, ring, totals, ring_return, quiet)


@kernel
def _add_up(tail: int, head: int, ring_return: F64, sums: F64) -> None:
    """Add up the returns of a window as `add_return` does, in plain numbers."""
    mask, total = len(ring_return) - 1, np.zeros((2, len(sums)))
    sums[:] = 0.0
    for n in range(tail, head):
        total[:] = 0.0
        add_return(n, tail, ring_return, mask, total)
        sums += total[0]


@kernel
def _bipower(n: int, sums: F64) -> float:
    return math.pi / 2.0 * n / (n - 1.0) * sums[6] if n > 1 else math.nan


@kernel
def _simple(m: int, n: int, sums: F64) -> float:
    rv: float = max(0.0, sums[0])
    if m == 0:
        return rv
    if m == 1:
        return _bipower(n, sums)
    if m == 2 or m == 3:
        jump = rv - _bipower(n, sums)
        jump = jump if math.isnan(jump) else max(jump, 0.0)
        return jump if m == 2 else ratio(jump, rv)
    if m == 4 or m == 5:
        return float(sums[m - 3])
    if m == 6 or m == 7:
        difference = sums[1] - sums[2]
        return difference if m == 6 else ratio(difference, sums[1] + sums[2])
    if n < 3:
        return math.nan
    return ratio(math.sqrt(n) * sums[3], rv**1.5) if m == 8 else ratio(n * sums[4], rv * rv)


@kernel
def _of_neighbours(m: int, n: int, sums: F64) -> float:
    rv: float = max(0.0, sums[0])
    if m == 10:
        scale = math.pi / (6.0 - 4.0 * math.sqrt(3.0) + math.pi)
        return scale * ratio(n, n - 2.0) * sums[9] if n > 2 else math.nan
    if m == 11:
        return math.pi / (math.pi - 2.0) * ratio(n, n - 1.0) * sums[7] if n > 1 else math.nan
    if m == 12:
        bpv = _bipower(n, sums)
        quarticity = ratio(_tripower(n, sums), bpv * bpv)
        if math.isnan(quarticity):
            return math.nan
        spread = ((math.pi / 2.0) ** 2 + math.pi - 5.0) / n * max(1.0, quarticity)
        return ratio(rv - bpv, rv) / math.sqrt(spread)
    if m == 13:
        if n < 2 * SPAN:
            return math.nan
        share = (n - SPAN + 1.0) / SPAN / n
        slow: float = (sums[11] / SPAN - share * rv) / (1.0 - share)
        return slow
    if n < SPAN:
        return math.nan
    return ratio(sums[11] / (SPAN * (n - SPAN + 1.0)), rv / n)


@kernel
def _tripower(n: int, sums: F64) -> float:
    """Return the tripower quarticity (Huang and Tauchen 2005)."""
    if n < 3:
        return math.nan
    mean = 2.0 ** (2.0 / 3.0) * math.gamma(7.0 / 6.0) / math.gamma(0.5)
    value: float = n * mean**-3.0 * n / (n - 2.0) * sums[10]
    return value


@kernel
def _memory(tail: int, head: int, ring: F64, totals: F64, ring_return: F64, quiet: bool) -> float:
    """Return the biased lag-1 autocorrelation."""
    n, mask = head - tail, len(ring) - 1
    if n < 2:
        return math.nan
    if quiet:
        return _memory_of_few(tail, head, ring_return)
    total, total_low = window_pair(totals, ring, tail & mask, 5)
    squares, squares_low = window_pair(totals, ring, tail & mask, 0)
    after, after_low = window_pair(totals, ring, (tail + 1) & mask, 8)
    oldest, newest = ring_return[tail & mask], ring_return[(head - 1) & mask]
    return lag_one(float(n), total, total_low, squares, squares_low, after, after_low, oldest, newest, totals[0, 0])


@kernel
def _memory_of_few(tail: int, head: int, ring_return: F64) -> float:
    mask, mean = len(ring_return) - 1, 0.0
    for k in range(tail, head):
        mean += ring_return[k & mask] / (head - tail)
    below = above = 0.0
    for k in range(tail, head):
        d = ring_return[k & mask] - mean
        below += d * d
        if k > tail:
            above += d * (ring_return[(k - 1) & mask] - mean)
    return ratio(above, below)


@kernel
def add_return(n: int, oldest: int, ring_return: F64, mask: int, totals: F64) -> None:
    """Add what return number `n` says, by itself and with those before it that are not older than `oldest`."""
    r = ring_return[n & mask]
    a, square = abs(r), r * r
    add_product(totals, 0, r, r)
    if r > 0.0:
        add(totals, 1, square)
    elif r < 0.0:
        add(totals, 2, square)
    add(totals, 3, square * r)
    add(totals, 4, square * square)
    add(totals, 5, r)
    if n - 1 < oldest:
        return
    before = ring_return[(n - 1) & mask]
    b = abs(before)
    add(totals, 6, a * b)
    add(totals, 7, min(a, b) * min(a, b))
    add_product(totals, 8, r, before)
    if n - 2 < oldest:
        return
    c = abs(ring_return[(n - 2) & mask])
    middle = max(min(a, b), min(max(a, b), c))
    add(totals, 9, middle * middle)
    add(totals, 10, a ** (4.0 / 3.0) * b ** (4.0 / 3.0) * c ** (4.0 / 3.0))
    if n - 4 < oldest:
        return
    five = 0.0
    for j in range(5):
        five += ring_return[(n - j) & mask]
    add(totals, 11, five * five)
