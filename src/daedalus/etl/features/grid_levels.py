"""Jumps of the 60 s grid (Lee and Mykland 2008) and resilience of spread and depth (Large 2007; section 5)."""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I8, I64, NULL_INT8, Arrays, Block, Family, Field, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.grid import (
    SECOND_NS,
    advance,
    grid_fields,
    grid_window_fields,
    log_returns,
    take_back,
    unroll,
)
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.pairs import add_pair, regress
from daedalus.etl.features.rolling_moments import depth_series
from daedalus.etl.features.streaming import enter, least_squares, room
from daedalus.shared.schemas import Column

_STEP_NS = 60 * SECOND_NS
_PER_DAY = 1440
#: ceil(sqrt(252 * 1440)) returns of reference.
_REFERENCE = 603
_THRESHOLD = 4.6001
RESILIENCE_WINDOWS = (300, 3600)
#: Share of the running total of squares below which a series hardly varies.
_QUIET = 1e-14
#: A pair of neighbours is in a window if both of its points are.
_PAIR_LENGTHS = np.array([w - 1 for w in RESILIENCE_WINDOWS], np.int64)


def lee_mykland(config: FeatureConfig) -> Family | None:
    """Declare the jump statistic; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fields = (
        *grid_fields("mid", _REFERENCE + 2),
        Field("returns", FLOAT, (_REFERENCE + 2,)),
        Field("held", FLOAT, (1,)),
    )
    columns = (
        Column("lm_stat", "float64", "", "return of 60 s against the bipower of the 602 before; held until the next"),
        Column("lm_jump", "int8", "-1/0/1", "sign of lm_stat where it is beyond the 1 % threshold"),
    )
    stale_ns = config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        arrays = [state[field.name] for field in fields]
        _lee_mykland(frame.ts, frame.floats("mid"), stale_ns, *arrays, out.f64, out.i8)

    params = {"staleness_ns": stale_ns}
    return Family("lee_mykland", 1, "jumps of the 60 s grid", columns, run, ("mid",), fields, params)


@kernel
def _lee_mykland(
    ts: I64, mid: F64, stale_ns: int, points: F64, known: F64, clock: I64, returns: F64, held: F64, out: F64, jumps: I8
) -> None:
    root = math.sqrt(2.0 * math.log(float(_PER_DAY)))
    c = math.sqrt(2.0 / math.pi)
    centre = root / c - (math.log(math.pi) + math.log(math.log(float(_PER_DAY)))) / (2.0 * c * root)
    scale = 1.0 / (c * root)
    for i in range(len(ts)):
        if clock[0] == 0:
            returns[:] = held[:] = math.nan
        first = advance(ts[i], mid[i], _STEP_NS, stale_ns, points, known, clock)
        if first <= clock[1]:
            log_returns(first, clock[1], points, returns)
            held[0] = _statistic(clock[1], returns)
        out[0, i] = held[0]
        beyond = (abs(held[0]) - centre) / scale > _THRESHOLD
        sign = 1 if held[0] > 0.0 else -1
        jumps[0, i] = NULL_INT8 if math.isnan(held[0]) else (sign if beyond else 0)


@kernel
def _statistic(last: int, returns: F64) -> float:
    """Return r over the root of the mean of the K - 2 products of neighbours before it; null unless all are known."""
    size, total = len(returns), 0.0
    for j in range(last - _REFERENCE + 2, last):
        total += abs(returns[j % size]) * abs(returns[(j - 1) % size])
    sigma = math.sqrt(total / (_REFERENCE - 2.0))
    return returns[last % size] / sigma if sigma > 0.0 else math.nan


def resilience(config: FeatureConfig) -> Family | None:
    """Declare the AR(1) of spread and depth; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    columns = tuple(
        Column(f"{name}_{part}_{w}s", "float64", unit, f"{doc} of {what} on the 1 s grid; last {w} s")
        for name, what in (("spread", "spread_bps"), ("depth", "the size of 5 levels a side"))
        for part, unit, doc in (("phi", "", "slope of the AR(1)"), ("half_life_s", "s", "half-life by the AR(1)"))
        for w in RESILIENCE_WINDOWS
    )
    fields = tuple(_series_fields("spread") + _series_fields("depth"))
    stale_ns = config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        half = len(columns) // 2
        for k, (name, values) in enumerate((("spread", frame.floats("spread_bps")), ("depth", depth_series(frame)[0]))):
            arrays = [state[field.name] for field in _series_fields(name)]
            _resilience(frame.ts, values, stale_ns, _PAIR_LENGTHS, *arrays, out.f64[k * half : (k + 1) * half])

    params = {"staleness_ns": stale_ns}
    doc = "how fast spread and depth return"
    return Family("resilience", 2, doc, columns, run, ("spread_bps",), fields, params)


def _series_fields(name: str) -> tuple[Field, ...]:
    points = max(RESILIENCE_WINDOWS) + 1
    windows = len(RESILIENCE_WINDOWS)
    return (
        *grid_fields(name, points),
        *grid_window_fields(name, points, windows, 6),
        Field(f"{name}_held", FLOAT, (2 * windows,)),
    )


@kernel
def _resilience(
    ts: I64,
    values: F64,
    stale_ns: int,
    lengths: I64,
    points: F64,
    known: F64,
    clock: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    held: F64,
    out: F64,
) -> None:
    size = len(points)
    for i in range(len(ts)):
        if clock[0] == 0:
            held[:] = math.nan
        first = advance(ts[i], values[i], SECOND_NS, stale_ns, points, known, clock)
        last = clock[1]
        for k in range(first, last + 1):
            take_back(k, ring_ts, ring, head, totals)
            if not math.isnan(points[k % size] + points[(k - 1) % size]):
                enter(k, lengths, ring_ts, ring, head, tails, totals)
                add_pair(totals, 0, points[(k - 1) % size], points[k % size])
        if first <= last:
            room(last, lengths, ring_ts, head, tails)
            for v in range(len(lengths)):
                _autoregress(v, last, lengths, points, ring, head[0], tails[v], totals, held)
        for c in range(len(held)):
            out[c, i] = held[c]


@kernel
def _autoregress(
    v: int, last: int, lengths: I64, points: F64, ring: F64, head: int, tail: int, totals: F64, held: F64
) -> None:
    """Write slope and half-life of x(k) on x(k - 1) over the points of a window."""
    held[v] = held[len(lengths) + v] = math.nan
    if tail == head:
        return
    held[v], _, sxx = regress(ring, totals, tail & (len(ring) - 1), 0)
    if sxx < _QUIET * totals[0, 3]:
        held[v] = _of_points(last, lengths[v], points)
    if 0.0 < held[v] < 1.0:
        held[len(lengths) + v] = -math.log(2.0) / math.log(held[v])


@kernel
def _of_points(last: int, pairs: int, points: F64) -> float:
    """Return the slope from the points themselves: where they hardly differ, the running totals are too coarse."""
    x, y, fit = np.empty(pairs), np.empty(pairs), np.empty(3)
    unroll(last, points, y, pairs)
    unroll(last - 1, points, x, pairs)
    least_squares(x, y, pairs, fit)
    return float(fit[0])
