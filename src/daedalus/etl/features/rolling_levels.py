"""Order flow of each level over time windows (feature catalogue, section 5)."""

from daedalus.etl.features.base import F64, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column


def rolling_levels(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    levels, windows = range(config.mlofi_levels), config.horizons
    fields = window_fields(len(windows), len(levels))
    columns = tuple(
        Column(f"mlofi_sum_l{m}_{w}s", "float64", "base", f"sum of mlofi_l{m}; last {w} s")
        for m in levels
        for w in windows
    )
    needs = tuple(f"mlofi_l{m}" for m in levels)
    run = _runner(len(levels), window_lengths_ns(windows), fields)
    return Family("rolling_levels", 1, "order flow of each level over time windows", columns, run, needs, fields)


def _runner(levels: int, lengths: I64, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        flow = frame.stack("mlofi_l0", levels)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _rolling_levels(start, frame.ts, flow, lengths, *arrays, out.f64)

        drive("rolling_levels", state, fields, frame.rows, walk)

    return run


@kernel
def _rolling_levels(
    start: int,
    ts: I64,
    flow: F64,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    out: F64,
) -> int:
    windows, mask = len(lengths), len(ring_ts) - 1
    for i in range(start, len(ts)):
        if enter(ts[i], lengths, ring_ts, ring, head, tails, totals) < 0:
            return i
        for m in range(len(flow)):
            add(totals, m, flow[m, i])
        for w in range(windows):
            slot = tails[w] & mask
            for m in range(len(flow)):
                out[m * windows + w, i] = window_sum(totals, ring, slot, m)
    return len(ts)
