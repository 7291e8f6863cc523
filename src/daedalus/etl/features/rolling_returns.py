"""Returns and realised variance over time windows (feature catalogue, section 5)."""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column


def rolling_returns(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    windows = len(config.horizons)
    fields = (
        *window_fields(windows, 1),  # summed: squared return
        # The last known mid and its time: before each row in the ring, and now. Mid 0: none yet.
        Field("ring_mid", FLOAT, (), "ring"),
        Field("ring_mid_ts", INT, (), "ring"),
        Field("known_mid", FLOAT, (1,)),
        Field("known_ts", INT, (1,)),
    )
    run = _runner(window_lengths_ns(config.horizons), config.staleness_ns, fields)
    params = {"staleness_ns": config.staleness_ns}
    doc = "returns and realised variance over time windows"
    return Family("rolling_returns", 1, doc, _columns(config), run, ("mid", "log_return"), fields, params)


def _columns(config: FeatureConfig) -> tuple[Column, ...]:
    templates = (
        ("rv_", "sum of squared log returns of the rows"),
        ("rvol_", "square root of rv"),
        ("ret_", "ln(mid / mid as of the window's start); null if that is older than the staleness limit (W7)"),
    )
    return tuple(
        Column(f"{name}{w}s", "float64", "", f"{doc}; last {w} s") for name, doc in templates for w in config.horizons
    )


def _runner(lengths: I64, staleness_ns: int, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        mid, log_return = frame.floats("mid"), frame.floats("log_return")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _rolling_returns(start, frame.ts, mid, log_return, lengths, staleness_ns, *arrays, out.f64)

        drive("rolling_returns", state, fields, frame.rows, walk)

    return run


@kernel
def _rolling_returns(
    start: int,
    ts: I64,
    mid: F64,
    log_return: F64,
    lengths: I64,
    staleness_ns: int,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    ring_mid: F64,
    ring_mid_ts: I64,
    known_mid: F64,
    known_ts: I64,
    out: F64,
) -> int:
    windows, mask = len(lengths), len(ring_ts) - 1
    for i in range(start, len(ts)):
        slot = enter(ts[i], lengths, ring_ts, ring, head, tails, totals)
        if slot < 0:
            return i
        ring_mid[slot], ring_mid_ts[slot] = known_mid[0], known_ts[0]
        if not math.isnan(mid[i]):
            known_mid[0], known_ts[0] = mid[i], ts[i]
        add(totals, 0, log_return[i] * log_return[i])
        for w in range(windows):
            oldest = tails[w] & mask
            out[w, i] = max(0.0, window_sum(totals, ring, oldest, 0))
            out[windows + w, i] = math.sqrt(out[w, i])
            known = ring_mid[oldest] > 0.0 and ts[i] - lengths[w] - ring_mid_ts[oldest] <= staleness_ns
            out[2 * windows + w, i] = math.log(mid[i] / ring_mid[oldest]) if known else math.nan
    return len(ts)
