"""Realised measures on the 1 s grid (feature catalogue, section 5): variation, jumps, asymmetry, autocorrelation.

Grid points without a mid are skipped together with the returns that they end or start; measures of neighbours take the
returns that are left in their order. Each is a sum over returns, or over neighbouring ones, kept as a running total.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.grid import SECOND_NS, advance, grid_fields, take_back
from daedalus.etl.features.grid_measures import add_return, measure
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import enter, log_ratio, room, window_fields
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

#: Measures by their number in `grid_measures`: name, doc, and from which window on or for which windows.
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
)
#: How many returns of a window a sum leaves out, because they reach back to returns before it.
_REACH = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 4], np.int64)


def grid_returns(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    chosen = [(m, w) for m in range(len(_MEASURES)) for w in _windows(_MEASURES[m][2], config.horizons)]
    windows = sorted({w for _, w in chosen})
    outputs = np.array([(m, windows.index(w)) for m, w in chosen], np.int64)
    fields = (
        *grid_fields("mid", windows[-1] + 1),
        *window_fields(len(windows), len(_REACH)),
        Field("ring_return", FLOAT, (), "ring"),
        Field("held", FLOAT, (len(chosen),)),
    )
    columns = tuple(
        Column(f"{_MEASURES[m][0]}{w}s", "float64", "", f"{_MEASURES[m][1]}; 1 s grid; last {w} s") for m, w in chosen
    )
    run = _runner(outputs, np.array(windows, np.int64), config.staleness_ns, fields)
    params = {"staleness_ns": config.staleness_ns}
    doc = "realised measures on the 1 s grid"
    return Family("grid_returns", 2, doc, columns, run, ("mid",), fields, params)


def _windows(wanted: int | tuple[int, ...], horizons: tuple[int, ...]) -> tuple[int, ...]:
    """Return a measure's own windows, or the horizons from a length on."""
    return wanted if isinstance(wanted, tuple) else tuple(w for w in horizons if w >= wanted)


def _runner(outputs: I64, windows: I64, stale_ns: int, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        mid = frame.floats("mid")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _grid_returns(start, frame.ts, mid, stale_ns, outputs, windows, _REACH, *arrays, out.f64)

        drive("grid_returns", state, fields, frame.rows, walk)

    return run


@kernel
def _grid_returns(
    start: int,
    ts: I64,
    mid: F64,
    stale_ns: int,
    outputs: I64,
    windows: I64,
    reach: I64,
    points: F64,
    known: F64,
    clock: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    ring_return: F64,
    held: F64,
    out: F64,
) -> int:
    size, sums = len(points), np.empty(len(reach))
    for i in range(start, len(ts)):
        if clock[0] == 0:
            held[:] = math.nan
        elif head[0] - tails[-1] + ts[i] // SECOND_NS - clock[1] >= len(ring_ts) and len(ring_ts) <= size:
            return i
        first = advance(ts[i], mid[i], SECOND_NS, stale_ns, points, known, clock)
        last = clock[1]
        for k in range(first, last + 1):
            take_back(k, ring_ts, ring, head, totals)
            r = log_ratio(points[k % size], points[(k - 1) % size])
            if not math.isnan(r):
                slot = enter(k, windows, ring_ts, ring, head, tails, totals)
                ring_return[slot] = r
                add_return(head[0] - 1, tails[-1], ring_return, len(ring_return) - 1, totals)
        if first <= last:
            room(last, windows, ring_ts, head, tails)
            for v in range(len(windows)):
                measure(v, outputs, reach, ring, head[0], tails[v], totals, ring_return, sums, held)
        for o in range(len(outputs)):
            out[o, i] = held[o]
    return len(ts)
