"""Realised measures on the 1 s grid (feature catalogue, section 5): variation, jumps, asymmetry, memory.

Grid points without a mid are skipped together with the returns that they end or start; measures of neighbours take the
returns that are left in their order.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.grid import (
    SECOND_NS,
    advance,
    autocorrelation,
    gather,
    grid_fields,
    hurst,
    log_returns,
    median_rv,
    minimum_rv,
    order_entropy,
    powers,
    tripower,
    two_scales,
    unroll,
    variance_ratio,
)
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio
from daedalus.shared.schemas import Column

_SPAN = 5
#: Measures in the order of the kernel's branches: name, unit, doc, and from which window on or for which windows.
_MEASURES: tuple[tuple[str, str, int | tuple[int, ...]], ...] = (
    ("rv_g1_", "sum of squared returns (Andersen et al. 2003)", 0),
    ("bpv_", "bipower variation (Barndorff-Nielsen and Shephard 2004)", 0),
    ("jump_var_", "realised less bipower variation, at least 0", 0),
    ("jump_ratio_", "jump_var over realised variation", 0),
    ("rs_pos_", "sum of squared returns above 0", 0),
    ("rs_neg_", "sum of squared returns below 0", 0),
    ("sjv_", "rs_pos - rs_neg (Patton and Sheppard 2015)", 0),
    ("sjv_ratio_", "sjv over rs_pos + rs_neg", 0),
    ("rskew_", "realised skewness (Amaya et al. 2015)", 0),
    ("rkurt_", "realised kurtosis (Amaya et al. 2015)", 0),
    ("medrv_", "MedRV (Andersen, Dobrev and Schaumburg 2012)", 300),
    ("minrv_", "MinRV (Andersen, Dobrev and Schaumburg 2012)", 300),
    ("bns_z_", "jump test (Huang and Tauchen 2005)", (300, 900, 3600)),
    ("tsrv_", "two-scale realised variance, slow scale 5 s (Zhang et al. 2005)", (300, 3600)),
    ("var_ratio_", "variance ratio of 5 s to 1 s (Lo and MacKinlay 1988)", 60),
    ("ret_autocorr_", "lag-1 autocorrelation, biased", 60),
    ("hurst_", "Hurst exponent over lags 1 to 16 s (Di Matteo 2007)", (300, 3600)),
    ("perm_entropy_", "order-3 permutation entropy of the mids, normalised (Bandt and Pompe 2002)", (300,)),
)


def grid_returns(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    chosen = [(m, w) for m in range(len(_MEASURES)) for w in _windows(_MEASURES[m][2], config.horizons)]
    windows = sorted({w for _, w in chosen})
    outputs = np.array([(m, windows.index(w)) for m, w in chosen], np.int64)
    points = windows[-1] + 1
    fields = (
        *grid_fields("mid", points),
        Field("returns", FLOAT, (points,)),
        Field("powered", FLOAT, (points,)),  # |r| ** (4 / 3)
        Field("logs", FLOAT, (points,)),  # ln of the points
        Field("held", FLOAT, (len(chosen),)),
    )
    columns = tuple(
        Column(f"{_MEASURES[m][0]}{w}s", "float64", "", f"{_MEASURES[m][1]}; 1 s grid; last {w} s") for m, w in chosen
    )
    run = _runner(outputs, np.array(windows, np.int64), config.staleness_ns, fields)
    params = {"staleness_ns": config.staleness_ns}
    doc = "realised measures on the 1 s grid"
    return Family("grid_returns", 1, doc, columns, run, ("mid",), fields, params)


def _windows(wanted: int | tuple[int, ...], horizons: tuple[int, ...]) -> tuple[int, ...]:
    """Return a measure's own windows, or the horizons from a length on."""
    return wanted if isinstance(wanted, tuple) else tuple(w for w in horizons if w >= wanted)


def _runner(outputs: I64, windows: I64, stale_ns: int, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        arrays = [state[field.name] for field in fields]
        _grid_returns(frame.ts, frame.floats("mid"), stale_ns, outputs, windows, *arrays, out.f64)

    return run


@kernel
def _grid_returns(
    ts: I64,
    mid: F64,
    stale_ns: int,
    outputs: I64,
    windows: I64,
    points: F64,
    known: F64,
    clock: I64,
    returns: F64,
    powered: F64,
    logs: F64,
    held: F64,
    out: F64,
) -> None:
    r, p, mids, x = (np.empty(len(points)), np.empty(len(points)), np.empty(len(points)), np.empty(windows[-1]))
    starts, starts_mid = np.zeros(len(windows), np.int64), np.zeros(len(windows), np.int64)
    sums = np.zeros((len(windows), 6))
    for i in range(len(ts)):
        if clock[0] == 0:
            returns[:] = powered[:] = logs[:] = held[:] = math.nan
        first = advance(ts[i], mid[i], SECOND_NS, stale_ns, points, known, clock)
        last = clock[1]
        if first <= last:
            log_returns(first, last, points, returns)
            for k in range(first, last + 1):
                powered[k % len(powered)] = abs(returns[k % len(returns)]) ** (4.0 / 3.0)
                logs[k % len(logs)] = math.log(points[k % len(points)])
            unroll(last, logs, x, len(x))
            gather(last, powered, p, starts, windows)
            count = gather(last, returns, r, starts, windows)
            count_mid = gather(last, points, mids, starts_mid, windows)
            for v in range(len(windows)):
                powers(r, starts[v], count, sums[v])
            for o in range(len(outputs)):
                m, v = outputs[o]
                if m < 10:
                    held[o] = _from_powers(m, count - starts[v], sums[v])
                elif m == 17:
                    held[o] = order_entropy(mids, starts_mid[v], count_mid)
                elif m == 16:
                    held[o] = hurst(x, windows[v])
                else:
                    held[o] = _from_returns(m, r, p, starts[v], count, sums[v])
        for o in range(len(outputs)):
            out[o, i] = held[o]


@kernel
def _bipower(n: int, sums: F64) -> float:
    return math.pi / 2.0 * n / (n - 1.0) * sums[5] if n > 1 else math.nan


@kernel
def _from_powers(m: int, n: int, sums: F64) -> float:
    rv: float = sums[0]
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
def _from_returns(m: int, r: F64, powered: F64, start: int, count: int, sums: F64) -> float:
    n, rv = count - start, sums[0]
    if m == 10:
        return median_rv(r, start, count)
    if m == 11:
        return minimum_rv(r, start, count)
    if m == 12:
        bpv = _bipower(n, sums)
        quarticity = ratio(tripower(powered, start, count), bpv * bpv)
        if math.isnan(quarticity):
            return math.nan
        spread = ((math.pi / 2.0) ** 2 + math.pi - 5.0) / n * max(1.0, quarticity)
        return ratio(rv - bpv, rv) / math.sqrt(spread)
    if m == 13:
        return two_scales(r, start, count, _SPAN, rv)
    if m == 14:
        return variance_ratio(r, start, count, _SPAN, rv)
    return autocorrelation(r, start, count)
