"""Order flow over time windows (feature catalogue, section 5): counts, sums of OFI, coverage."""

from daedalus.etl.features.base import F64, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, ratio, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

_TEMPLATES = (
    ("mlofi_decay_sum_", "base", "sum of mlofi_decay"),
    ("ofi_sum_", "base", "sum of ofi (Cont et al. 2014)"),
    ("ofi_norm_", "", "ofi_sum over the mean size of the touch, (bid + ask) / 2"),
    ("update_rate_", "1/s", "rows per second of the window's length"),
    ("window_coverage_", "", "share of the window since the first row of the stream (W5)"),
)


def rolling_flow(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    windows = config.horizons
    # Summed: mlofi_decay, ofi, mean size of the touch.
    fields = (*window_fields(len(windows), 3), Field("first", INT, (1,)))
    columns = (
        *(Column(f"{n}{w}s", "float64", unit, f"{doc}; last {w} s") for n, unit, doc in _TEMPLATES for w in windows),
        *(Column(f"n_updates_{w}s", "int64", "count", f"rows; last {w} s") for w in windows),
    )
    run = _runner(window_lengths_ns(windows), fields)
    core, standard = ("ofi_sum_*", "mlofi_decay_sum_*"), ("*",)
    doc, needs = "order flow over time windows", ("ofi", "mlofi_decay")
    return Family("rolling_flow", 2, doc, columns, run, needs, fields, core=core, standard=standard, replays=True)


def _runner(lengths: I64, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        inputs = (frame.ts, frame.floats("ofi"), frame.floats("mlofi_decay"), frame.bid_size, frame.ask_size)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return frame.call(_rolling_flow, start, *inputs, lengths, *arrays, out.f64, out.i64)

        drive("rolling_flow", state, fields, frame.rows, walk)

    return run


@kernel
def _rolling_flow(
    start: int,
    ts: I64,
    ofi: F64,
    decayed: F64,
    bid_size: F64,
    ask_size: F64,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    first: I64,
    out: F64,
    counts: I64,
) -> int:
    windows, mask = len(lengths), len(ring_ts) - 1
    for i in range(start, len(ts)):
        if enter(ts[i], lengths, ring_ts, ring, head, tails, totals) < 0:
            return i
        if head[0] == 1:
            first[0] = ts[i]
        add(totals, 0, decayed[i])
        add(totals, 1, ofi[i])
        add(totals, 2, (bid_size[i, 0] + ask_size[i, 0]) / 2.0)
        for w in range(windows):
            slot, rows = tails[w] & mask, head[0] - tails[w]
            flow = window_sum(totals, ring, slot, 1)
            out[w, i] = window_sum(totals, ring, slot, 0)
            out[windows + w, i] = flow
            out[2 * windows + w, i] = ratio(flow, window_sum(totals, ring, slot, 2) / rows)
            out[3 * windows + w, i] = rows / (lengths[w] / 1e9)
            coverage = (ts[i] - first[0]) / lengths[w]
            out[4 * windows + w, i] = coverage if coverage < 1.0 else 1.0
            counts[w, i] = rows
    return len(ts)
