"""Acceleration, efficiency and pace of the mid over time windows (feature catalogue, section 5)."""

import math

from daedalus.etl.features.base import F64, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.rolling_returns import AS_OF, as_of, mid_fields, note_mid
from daedalus.etl.features.streaming import add, enter, ratio, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

YEAR_SECONDS = 31_557_600.0
_TEMPLATES = (
    ("rvol_ann_", "", "rvol * sqrt(seconds of a year / window)"),
    ("accel_bps_s2_", "bps/s2", f"second difference of ln mid over two windows; {AS_OF}"),
    ("efficiency_ratio_", "", "|sum of returns| / sum of |returns| (Kaufman)"),
    ("mid_change_rate_", "1/s", "rows whose mid differs from the row before, per second of the window's length"),
    ("mean_interupdate_s_", "s", "mean of dt_s"),
)


def rolling_moves(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    windows = config.horizons
    # The windows and those twice as long. Summed: |r|, r, r != 0, dt, known.
    fields = (*window_fields(2 * len(windows), 5), *mid_fields())
    columns = tuple(
        Column(f"{name}{w}s", "float64", unit, f"{doc}; last {w} s") for name, unit, doc in _TEMPLATES for w in windows
    )
    run = _runner(windows, config.staleness_ns, fields)
    params = {"staleness_ns": config.staleness_ns}
    needs = ("mid", "log_return", "dt_s", *(f"rvol_{w}s" for w in windows))
    return Family("rolling_moves", 2, "pace of the mid over time windows", columns, run, needs, fields, params)


def _runner(windows: tuple[int, ...], staleness_ns: int, fields: tuple[Field, ...]) -> Run:
    lengths = window_lengths_ns((*windows, *(2 * w for w in windows)))

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        inputs = [frame.floats(name) for name in ("mid", "log_return", "dt_s")]
        rvol = frame.stack(f"rvol_{windows[0]}s", len(windows))

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _rolling_moves(start, frame.ts, *inputs, rvol, lengths, staleness_ns, *arrays, out.f64)

        drive("rolling_moves", state, fields, frame.rows, walk)

    return run


@kernel
def _rolling_moves(
    start: int,
    ts: I64,
    mid: F64,
    log_return: F64,
    dt_s: F64,
    rvol: F64,
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
        note_mid(slot, ts[i], mid[i], ring_mid, ring_mid_ts, known_mid, known_ts)
        r = log_return[i]
        add(totals, 0, abs(r))
        add(totals, 1, r)
        add(totals, 2, float(int(abs(r) > 0.0)))
        add(totals, 3, dt_s[i])
        add(totals, 4, float(int(not math.isnan(dt_s[i]))))
        for w in range(windows):
            oldest, twice, seconds = tails[w] & mask, tails[windows + w] & mask, lengths[w] / 1e9
            before = as_of(ts[i] - lengths[w], oldest, staleness_ns, ring_mid, ring_mid_ts)
            earlier = as_of(ts[i] - 2 * lengths[w], twice, staleness_ns, ring_mid, ring_mid_ts)
            out[w, i] = rvol[w, i] * math.sqrt(YEAR_SECONDS / seconds)
            # As the catalogue writes it, rounding included.
            bent = math.log(mid[i]) - 2.0 * math.log(before) + math.log(earlier)
            out[windows + w, i] = 1e4 * bent / (seconds * seconds)
            path = window_sum(totals, ring, oldest, 0)
            out[2 * windows + w, i] = ratio(abs(window_sum(totals, ring, oldest, 1)), path)
            out[3 * windows + w, i] = window_sum(totals, ring, oldest, 2) / seconds
            out[4 * windows + w, i] = ratio(window_sum(totals, ring, oldest, 3), window_sum(totals, ring, oldest, 4))
    return len(ts)
