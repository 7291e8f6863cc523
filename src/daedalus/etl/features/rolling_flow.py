"""Order flow over time windows (feature catalogue, section 5): counts, sums of OFI and MLOFI, coverage."""

from daedalus.etl.features.base import F64, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, ratio, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column


def rolling_flow(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    levels, windows = config.mlofi_levels, config.horizons
    # Summed: e of every level, mlofi_decay, mean size of the touch.
    fields = (*window_fields(len(windows), levels + 2), Field("first", INT, (1,)))
    needs = (*(f"mlofi_l{m}" for m in range(levels)), "mlofi_decay")
    run = _runner(levels, window_lengths_ns(windows), fields)
    core, standard = (
        ("ofi_sum_*", "mlofi_decay_sum_*"),
        ("ofi_norm_*", "update_rate_*", "window_coverage_*", "n_updates_*"),
    )
    doc = "order flow over time windows"
    return Family("rolling_flow", 1, doc, _columns(config), run, needs, fields, core=core, standard=standard)


def _columns(config: FeatureConfig) -> tuple[Column, ...]:
    """Return the columns, window by window within each feature."""
    levels = range(config.mlofi_levels)
    templates = (
        *((f"mlofi_sum_l{m}_", "float64", "base", f"sum of mlofi_l{m}") for m in levels),
        ("mlofi_decay_sum_", "float64", "base", "sum of mlofi_decay"),
        ("ofi_sum_", "float64", "base", "sum of ofi (Cont et al. 2014)"),
        ("ofi_norm_", "float64", "", "ofi_sum over the mean size of the touch, (bid + ask) / 2"),
        ("update_rate_", "float64", "1/s", "rows per second of the window's length"),
        ("window_coverage_", "float64", "", "share of the window since the first row of the stream (W5)"),
        ("n_updates_", "int64", "count", "rows"),
    )
    return tuple(
        Column(f"{name}{w}s", "int64" if dtype == "int64" else "float64", unit, f"{doc}; last {w} s")
        for name, dtype, unit, doc in templates
        for w in config.horizons
    )


def _runner(levels: int, lengths: I64, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        flow, decayed = frame.stack("mlofi_l0", levels), frame.floats("mlofi_decay")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            inputs = (frame.ts, flow, decayed, frame.bid_size, frame.ask_size)
            return _rolling_flow(start, *inputs, lengths, *arrays, out.f64, out.i64)

        drive("rolling_flow", state, fields, frame.rows, walk)

    return run


@kernel
def _rolling_flow(
    start: int,
    ts: I64,
    flow: F64,
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
    levels = len(flow)
    for i in range(start, len(ts)):
        if enter(ts[i], lengths, ring_ts, ring, head, tails, totals) < 0:
            return i
        if head[0] == 1:
            first[0] = ts[i]
        for m in range(levels):
            add(totals, m, flow[m, i])
        add(totals, levels, decayed[i])
        add(totals, levels + 1, (bid_size[i, 0] + ask_size[i, 0]) / 2.0)
        _write(i, ts[i] - first[0], lengths, ring, head, tails, totals, out, counts)
    return len(ts)


@kernel
def _write(
    i: int, age_ns: int, lengths: I64, ring: F64, head: I64, tails: I64, totals: F64, out: F64, counts: I64
) -> None:
    windows, levels = len(lengths), totals.shape[1] - 2
    for w in range(windows):
        slot, rows = tails[w] & (len(ring) - 1), head[0] - tails[w]
        for c in range(levels + 1):
            out[c * windows + w, i] = window_sum(totals, ring, slot, c)
        ofi = out[w, i]
        row = (levels + 1) * windows + w
        out[row, i] = ofi
        out[row + windows, i] = ratio(ofi, window_sum(totals, ring, slot, levels + 1) / rows)
        out[row + 2 * windows, i] = rows / (lengths[w] / 1e9)
        out[row + 3 * windows, i] = min(1.0, age_ns / lengths[w])
        counts[w, i] = rows
