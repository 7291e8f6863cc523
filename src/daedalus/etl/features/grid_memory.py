"""Memory of the mid on the 1 s grid (feature catalogue, section 5): Hurst exponent and permutation entropy."""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, Arrays, Block, Family, Field, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.grid import SECOND_NS, advance, grid_fields, grid_window_fields, take_back
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, ratio, room, window_sum
from daedalus.shared.schemas import Column

_HURST_WINDOWS, _ENTROPY_WINDOW = (300, 3600), 300
_LAGS = 5
_POINTS = max(_HURST_WINDOWS) + 1
#: A difference over a lag of 1, 2, 4, 8 or 16 points is in a window if both of its ends are.
_HURST_LENGTHS = np.array([w - (1 << s) for w in _HURST_WINDOWS for s in range(_LAGS)], np.int64)
_ENTROPY_LENGTHS = np.array([_ENTROPY_WINDOW], np.int64)


def grid_memory(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    hurst_doc = "Hurst exponent over lags 1 to 16 s (Di Matteo 2007)"
    entropy_doc = "order-3 permutation entropy of the mids, normalised (Bandt and Pompe 2002)"
    columns = (
        *(Column(f"hurst_{w}s", "float64", "", f"{hurst_doc}; 1 s grid; last {w} s") for w in _HURST_WINDOWS),
        Column(f"perm_entropy_{_ENTROPY_WINDOW}s", "float64", "", f"{entropy_doc}; 1 s grid; last {_ENTROPY_WINDOW} s"),
    )
    fields = (
        *grid_fields("mid", _POINTS),
        *grid_window_fields("lag", _POINTS, len(_HURST_LENGTHS), 2 * _LAGS),
        *grid_window_fields("order", _ENTROPY_WINDOW, 1, 6),
        Field("order_value", FLOAT, (512,)),
        Field("held", FLOAT, (len(columns),)),
    )
    stale_ns = config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        arrays = [state[field.name] for field in fields]
        _grid_memory(frame.ts, frame.floats("mid"), stale_ns, _HURST_LENGTHS, _ENTROPY_LENGTHS, *arrays, out.f64)

    params = {"staleness_ns": stale_ns}
    return Family("grid_memory", 1, "memory of the mid on the 1 s grid", columns, run, ("mid",), fields, params)


@kernel
def _grid_memory(
    ts: I64,
    mid: F64,
    stale_ns: int,
    lag_lengths: I64,
    order_lengths: I64,
    points: F64,
    known: F64,
    clock: I64,
    lag_ts: I64,
    lag_ring: F64,
    lag_head: I64,
    lag_tails: I64,
    lag_totals: F64,
    order_ts: I64,
    order_ring: F64,
    order_head: I64,
    order_tails: I64,
    order_totals: F64,
    order_value: F64,
    held: F64,
    out: F64,
) -> None:
    size = len(points)
    for i in range(len(ts)):
        if clock[0] == 0:
            held[:] = math.nan
        first = advance(ts[i], mid[i], SECOND_NS, stale_ns, points, known, clock)
        for k in range(first, clock[1] + 1):
            take_back(k, lag_ts, lag_ring, lag_head, lag_totals)
            take_back(k, order_ts, order_ring, order_head, order_totals)
            if math.isnan(points[k % size]):
                continue
            enter(k, lag_lengths, lag_ts, lag_ring, lag_head, lag_tails, lag_totals)
            _add_lags(k, points, lag_totals)
            slot = enter(k, order_lengths, order_ts, order_ring, order_head, order_tails, order_totals)
            order_value[slot] = points[k % size]
            _add_order(order_head[0] - 1, order_tails[0], order_value, order_totals)
        if first <= clock[1]:
            room(clock[1], lag_lengths, lag_ts, lag_head, lag_tails)
            room(clock[1], order_lengths, order_ts, order_head, order_tails)
            for v in range(len(held) - 1):
                held[v] = _hurst(v, lag_ring, lag_head[0], lag_tails, lag_totals)
            held[-1] = _entropy(order_ring, order_head[0], order_tails[0], order_totals)
        for c in range(len(held)):
            out[c, i] = held[c]


@kernel
def _add_lags(k: int, points: F64, totals: F64) -> None:
    """Add how far the point is from those 1, 2, 4, 8 and 16 before it, in logs."""
    size = len(points)
    for s in range(_LAGS):
        moved = abs(math.log(points[k % size]) - math.log(points[(k - (1 << s)) % size]))
        if not math.isnan(moved):
            add(totals, s, moved)
            add(totals, _LAGS + s, 1.0)


@kernel
def _hurst(v: int, ring: F64, head: int, tails: I64, totals: F64) -> float:
    """Return the slope of ln mean |difference| on ln lag (Di Matteo 2007)."""
    x, y = np.zeros(_LAGS), np.zeros(_LAGS)
    for s in range(_LAGS):
        tail = tails[v * _LAGS + s]
        slot = tail & (len(ring) - 1)
        pairs = window_sum(totals, ring, slot, _LAGS + s) if tail < head else 0.0
        total = window_sum(totals, ring, slot, s) if tail < head else 0.0
        if pairs == 0.0 or total == 0.0:
            return math.nan
        x[s], y[s] = math.log(float(1 << s)), math.log(total / pairs)
    slope = spread = 0.0
    for s in range(_LAGS):
        slope += (x[s] - x.mean()) * (y[s] - y.mean())
        spread += (x[s] - x.mean()) ** 2
    return slope / spread


@kernel
def _add_order(n: int, oldest: int, value: F64, totals: F64) -> None:
    """Count the order of known point number `n` and the two before it; equal values keep theirs."""
    if n - 2 < oldest:
        return
    mask = len(value) - 1
    a, b, c = value[(n - 2) & mask], value[(n - 1) & mask], value[n & mask]
    rising = 0 if b <= c else (1 if a <= c else 2)
    falling = 3 if a <= c else (4 if b <= c else 5)
    add(totals, rising if a <= b else falling, 1.0)


@kernel
def _entropy(ring: F64, head: int, tail: int, totals: F64) -> float:
    """Return the entropy of the orders over ln 6; the first two points of the window end none."""
    n = head - tail - 2
    if n < 1:
        return math.nan
    total, slot = 0.0, (tail + 2) & (len(ring) - 1)
    for kind in range(6):
        share = ratio(window_sum(totals, ring, slot, kind), n)
        if share > 0.0:
            total -= share * math.log(share)
    return total / math.log(6.0)
