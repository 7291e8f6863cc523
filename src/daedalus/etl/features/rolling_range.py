"""Highest and lowest mid and spread over time windows (feature catalogue, section 5)."""

import math

from daedalus.etl.features.base import F64, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.extremes import choose, extreme_fields, push
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import window_lengths_ns
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

#: Highest and lowest mid, highest and lowest spread.
_SERIES = 4
_TEMPLATES = (
    ("mid_high_dev_bps_", "mid against the highest mid"),
    ("mid_low_dev_bps_", "mid against the lowest mid"),
    ("range_bps_", "highest - lowest mid, against mid"),
    ("spread_max_bps_", "largest spread_bps"),
    ("spread_min_bps_", "smallest spread_bps"),
)


def rolling_range(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    windows = config.horizons
    fields = extreme_fields(len(windows), _SERIES)
    columns = tuple(
        Column(f"{name}{w}s", "float64", "bps", f"{doc}; last {w} s") for name, doc in _TEMPLATES for w in windows
    )
    run = _runner(window_lengths_ns(windows), fields)
    doc = "ranges over time windows"
    return Family("rolling_range", 1, doc, columns, run, ("mid", "spread_bps"), fields)


def _runner(lengths: I64, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        mid, spread = frame.floats("mid"), frame.floats("spread_bps")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _ranges(start, frame.ts, mid, spread, lengths, *arrays, out.f64)

        drive("rolling_range", state, fields, frame.rows, walk)

    return run


@kernel
def _ranges(
    start: int,
    ts: I64,
    mid: F64,
    spread: F64,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    older: I64,
    newer: I64,
    head: I64,
    tails: I64,
    back: I64,
    chosen: I64,
    out: F64,
) -> int:
    windows, mask = len(lengths), len(ring_ts) - 1
    for i in range(start, len(ts)):
        if push(ts[i], lengths, ring_ts, newer, head, tails, chosen) < 0:
            return i
        choose(0, mid[i], ring, older, newer, head, tails, back, chosen)
        choose(1, -mid[i], ring, older, newer, head, tails, back, chosen)
        choose(2, spread[i], ring, older, newer, head, tails, back, chosen)
        choose(3, -spread[i], ring, older, newer, head, tails, back, chosen)
        for w in range(windows):
            high = ring[chosen[w, 0] & mask, 0] if chosen[w, 0] >= 0 else math.nan
            low = -ring[chosen[w, 1] & mask, 1] if chosen[w, 1] >= 0 else math.nan
            out[w, i] = (mid[i] - high) / mid[i] * 1e4
            out[windows + w, i] = (mid[i] - low) / mid[i] * 1e4
            out[2 * windows + w, i] = (high - low) / mid[i] * 1e4
            out[3 * windows + w, i] = ring[chosen[w, 2] & mask, 2] if chosen[w, 2] >= 0 else math.nan
            out[4 * windows + w, i] = -ring[chosen[w, 3] & mask, 3] if chosen[w, 3] >= 0 else math.nan
    return len(ts)
