"""Returns and realised variance over time windows (feature catalogue, section 5)."""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel, primitive
from daedalus.etl.features.streaming import add, enter, log_ratio, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

AS_OF = "null if that is older than the staleness limit (W7)"
_TEMPLATES = (
    ("rv_", "", "sum of squared log returns of the rows"),
    ("rvol_", "", "square root of rv"),
    ("ret_", "", f"ln(mid / mid as of the window's start); {AS_OF}"),
    ("velocity_bps_s_", "bps/s", "1e4 * ret / window"),
)


def rolling_returns(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fields = (*window_fields(len(config.horizons), 1), *mid_fields())
    columns = tuple(
        Column(f"{name}{w}s", "float64", unit, f"{doc}; last {w} s")
        for name, unit, doc in _TEMPLATES
        for w in config.horizons
    )
    run = _runner(window_lengths_ns(config.horizons), config.staleness_ns, fields)
    params = {"staleness_ns": config.staleness_ns}
    doc, needs = "returns and realised variance over time windows", ("mid", "log_return")
    return Family("rolling_returns", 3, doc, columns, run, needs, fields, params, ("rvol_*",), ("*",), replays=True)


def mid_fields() -> tuple[Field, ...]:
    """Return the state of the last known mid and its time: before each row in the ring, and now. Mid 0: none yet."""
    return (
        Field("ring_mid", FLOAT, (), "ring"),
        Field("ring_mid_ts", INT, (), "ring"),
        Field("known_mid", FLOAT, (1,)),
        Field("known_ts", INT, (1,)),
    )


def _runner(lengths: I64, staleness_ns: int, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        mid, log_return = frame.floats("mid"), frame.floats("log_return")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return frame.call(
                _rolling_returns, start, frame.ts, mid, log_return, lengths, staleness_ns, *arrays, out.f64
            )

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
        note_mid(slot, ts[i], mid[i], ring_mid, ring_mid_ts, known_mid, known_ts)
        add(totals, 0, log_return[i] * log_return[i])
        for w in range(windows):
            oldest = tails[w] & mask
            before = as_of(ts[i] - lengths[w], oldest, staleness_ns, ring_mid, ring_mid_ts)
            total, moved = window_sum(totals, ring, oldest, 0), log_ratio(mid[i], before)
            rv = total if total > 0.0 else 0.0
            out[w, i] = rv
            out[windows + w, i] = math.sqrt(rv)
            out[2 * windows + w, i] = moved
            out[3 * windows + w, i] = 1e4 * moved / (lengths[w] / 1e9)
    return len(ts)


@primitive
def note_mid(slot: int, now: int, mid: float, ring_mid: F64, ring_mid_ts: I64, known_mid: F64, known_ts: I64) -> None:
    """Note the mid known before the row of that slot, then let the row's own in."""
    ring_mid[slot], ring_mid_ts[slot] = known_mid[0], known_ts[0]
    if not math.isnan(mid):
        known_mid[0], known_ts[0] = mid, now


@primitive
def as_of(when: int, slot: int, staleness_ns: int, ring_mid: F64, ring_mid_ts: I64) -> float:
    """Return the last mid known just before a row of the ring, null if there is none or it is older than the limit."""
    known = (ring_mid[slot] > 0.0) & (when - ring_mid_ts[slot] <= staleness_ns)
    return ring_mid[slot] if known else math.nan
