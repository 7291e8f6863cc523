"""Jumps of the 60 s grid (Lee and Mykland 2008) and resilience of spread and depth (Large 2007; section 5)."""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I8, I64, NULL_INT8, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.grid import SECOND_NS, advance, grid_fields, log_returns, unroll
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.rolling_moments import depth_series
from daedalus.etl.features.streaming import least_squares
from daedalus.shared.schemas import Column

_STEP_NS = 60 * SECOND_NS
_PER_DAY = 1440
#: ceil(sqrt(252 * 1440)) returns of reference.
_REFERENCE = 603
_THRESHOLD = 4.6001
RESILIENCE_WINDOWS = (300, 3600)


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
    points, count = max(RESILIENCE_WINDOWS) + 1, 4 * len(RESILIENCE_WINDOWS)
    fields = (*grid_fields("spread", points), *grid_fields("depth", points), Field("held", FLOAT, (count,)))
    columns = tuple(
        Column(f"{name}_{part}_{w}s", "float64", unit, f"{doc} of {what} on the 1 s grid; last {w} s")
        for name, what in (("spread", "spread_bps"), ("depth", "the size of 5 levels a side"))
        for part, unit, doc in (("phi", "", "slope of the AR(1)"), ("half_life_s", "s", "half-life by the AR(1)"))
        for w in RESILIENCE_WINDOWS
    )
    run = _resilience_runner(config.staleness_ns, fields)
    params = {"staleness_ns": config.staleness_ns}
    doc = "how fast spread and depth return"
    return Family("resilience", 1, doc, columns, run, ("spread_bps",), fields, params)


def _resilience_runner(stale_ns: int, fields: tuple[Field, ...]) -> Run:
    windows = np.array(RESILIENCE_WINDOWS, np.int64)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        arrays = [state[field.name] for field in fields]
        depth = depth_series(frame)[0]
        _resilience(frame.ts, frame.floats("spread_bps"), depth, stale_ns, windows, *arrays, out.f64)

    return run


@kernel
def _resilience(
    ts: I64,
    spread: F64,
    depth: F64,
    stale_ns: int,
    windows: I64,
    spread_points: F64,
    spread_known: F64,
    spread_clock: I64,
    depth_points: F64,
    depth_known: F64,
    depth_clock: I64,
    held: F64,
    out: F64,
) -> None:
    half = len(held) // 2
    for i in range(len(ts)):
        if spread_clock[0] == 0:
            held[:] = math.nan
        first = advance(ts[i], spread[i], SECOND_NS, stale_ns, spread_points, spread_known, spread_clock)
        advance(ts[i], depth[i], SECOND_NS, stale_ns, depth_points, depth_known, depth_clock)
        if first <= spread_clock[1]:
            _autoregress(spread_clock[1], windows, spread_points, held[:half])
            _autoregress(depth_clock[1], windows, depth_points, held[half:])
        for c in range(len(held)):
            out[c, i] = held[c]


@kernel
def _autoregress(last: int, windows: I64, points: F64, held: F64) -> None:
    """Write slope and half-life of x(k) on x(k - 1) over the points of each window."""
    size, fit = len(points), np.empty(3)
    x, y = np.empty(size), np.empty(size)
    for v in range(len(windows)):
        pairs = windows[v] - 1
        unroll(last, points, y, pairs)
        unroll(last - 1, points, x, pairs)
        least_squares(x, y, pairs, fit)
        held[v] = fit[0]
        alive = 0.0 < fit[0] < 1.0
        held[len(windows) + v] = -math.log(2.0) / math.log(fit[0]) if alive else math.nan
