"""Returns and realised variance over time windows (feature catalogue, section 5)."""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, ratio, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

YEAR_SECONDS = 31_557_600.0


def rolling_returns(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    windows = len(config.horizons)
    fields = (
        # The windows and those twice as long, for the acceleration. Summed: r squared, |r|, r, r != 0, dt, known.
        *window_fields(2 * windows, 6),
        # The last known mid and its time: before each row in the ring, and now. Mid 0: none yet.
        Field("ring_mid", FLOAT, (), "ring"),
        Field("ring_mid_ts", INT, (), "ring"),
        Field("known_mid", FLOAT, (1,)),
        Field("known_ts", INT, (1,)),
    )
    doubled = tuple(2 * w for w in config.horizons)
    run = _runner(window_lengths_ns((*config.horizons, *doubled)), config.staleness_ns, fields)
    params = {"staleness_ns": config.staleness_ns}
    doc = "returns and realised variance over time windows"
    core, standard = ("rvol_[0-9]*",), ("rv_*", "ret_*", "velocity_bps_s_*")
    needs = ("mid", "log_return", "dt_s")
    return Family("rolling_returns", 2, doc, _columns(config), run, needs, fields, params, core, standard)


def _columns(config: FeatureConfig) -> tuple[Column, ...]:
    as_of = "null if that is older than the staleness limit (W7)"
    templates = (
        ("rv_", "", "sum of squared log returns of the rows"),
        ("rvol_", "", "square root of rv"),
        ("ret_", "", f"ln(mid / mid as of the window's start); {as_of}"),
        ("rvol_ann_", "", "rvol * sqrt(seconds of a year / window)"),
        ("velocity_bps_s_", "bps/s", "1e4 * ret / window"),
        ("accel_bps_s2_", "bps/s2", f"second difference of ln mid over two windows; {as_of}"),
        ("efficiency_ratio_", "", "|sum of returns| / sum of |returns| (Kaufman)"),
        ("mid_change_rate_", "1/s", "rows whose mid differs from the row before, per second of the window's length"),
        ("mean_interupdate_s_", "s", "mean of dt_s"),
    )
    return tuple(
        Column(f"{name}{w}s", "float64", unit, f"{doc}; last {w} s")
        for name, unit, doc in templates
        for w in config.horizons
    )


def _runner(lengths: I64, staleness_ns: int, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        inputs = [frame.floats(name) for name in ("mid", "log_return", "dt_s")]

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _rolling_returns(start, frame.ts, *inputs, lengths, staleness_ns, *arrays, out.f64)

        drive("rolling_returns", state, fields, frame.rows, walk)

    return run


@kernel
def _rolling_returns(
    start: int,
    ts: I64,
    mid: F64,
    log_return: F64,
    dt_s: F64,
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
    windows, mask = len(lengths) // 2, len(ring_ts) - 1
    for i in range(start, len(ts)):
        slot = enter(ts[i], lengths, ring_ts, ring, head, tails, totals)
        if slot < 0:
            return i
        ring_mid[slot], ring_mid_ts[slot] = known_mid[0], known_ts[0]
        if not math.isnan(mid[i]):
            known_mid[0], known_ts[0] = mid[i], ts[i]
        r = log_return[i]
        add(totals, 0, r * r)
        add(totals, 1, abs(r))
        add(totals, 2, r)
        add(totals, 3, float(int(abs(r) > 0.0)))
        add(totals, 4, dt_s[i])
        add(totals, 5, float(int(not math.isnan(dt_s[i]))))
        for w in range(windows):
            oldest, seconds = tails[w] & mask, lengths[w] / 1e9
            twice = tails[windows + w] & mask
            before = _as_of(ts[i] - lengths[w], oldest, staleness_ns, ring_mid, ring_mid_ts)
            earlier = _as_of(ts[i] - 2 * lengths[w], twice, staleness_ns, ring_mid, ring_mid_ts)
            rv, moved = max(0.0, window_sum(totals, ring, oldest, 0)), math.log(mid[i] / before)
            out[w, i] = rv
            out[windows + w, i] = math.sqrt(rv)
            out[2 * windows + w, i] = moved
            out[3 * windows + w, i] = math.sqrt(rv) * math.sqrt(YEAR_SECONDS / seconds)
            out[4 * windows + w, i] = 1e4 * moved / seconds
            out[5 * windows + w, i] = 1e4 * (moved - math.log(before / earlier)) / seconds**2
            path = window_sum(totals, ring, oldest, 1)
            out[6 * windows + w, i] = ratio(abs(window_sum(totals, ring, oldest, 2)), path)
            out[7 * windows + w, i] = window_sum(totals, ring, oldest, 3) / seconds
            out[8 * windows + w, i] = ratio(window_sum(totals, ring, oldest, 4), window_sum(totals, ring, oldest, 5))
    return len(ts)


@kernel
def _as_of(when: int, slot: int, staleness_ns: int, ring_mid: F64, ring_mid_ts: I64) -> float:
    """Return the last mid known just before a row of the ring, null if there is none or it is older than the limit."""
    known = ring_mid[slot] > 0.0 and when - ring_mid_ts[slot] <= staleness_ns
    return ring_mid[slot] if known else math.nan
