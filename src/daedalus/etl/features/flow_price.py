"""Order flow against the price and itself over its own windows (feature catalogue, section 5)."""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.pairs import add_pair, add_product, lag_one, regress, window_pair
from daedalus.etl.features.streaming import add, enter, ratio, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

_WINDOWS = (60, 300, 3600)
_FITS, _MEMORIES, _NORM = (300, 3600), (60, 300), 60
#: Sums besides MLOFI: pairs, x, y, x2, xy, y2 of the regression; flows, e, e2, e times e before; sizes of all levels.
_SUMS = 11


def flow_price(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    levels = config.mlofi_levels
    fields = (
        *window_fields(len(_WINDOWS), _SUMS + levels),
        Field("ring_flow", FLOAT, (), "ring"),
        Field("before", FLOAT, (1,)),
        Field("known", FLOAT, (1,)),
    )
    columns = (
        *(Column(f"ofi_mid_beta_{w}s", "float64", "bps/base", f"slope of returns on ofi; last {w} s") for w in _FITS),
        *(Column(f"ofi_mid_r2_{w}s", "float64", "", f"R2 of that regression; last {w} s") for w in _FITS),
        *(Column(f"ofi_autocorr_{w}s", "float64", "", f"lag-1 autocorrelation of ofi; last {w} s") for w in _MEMORIES),
        *(
            Column(f"mlofi_norm_l{m}_{_NORM}s", "float64", "", f"mlofi_sum_l{m} over the mean size of the levels")
            for m in range(levels)
        ),
    )
    needs = (*(f"mlofi_l{m}" for m in range(levels)), "log_return")
    doc = "order flow against price and itself"
    return Family("flow_price", 2, doc, columns, _runner(levels, fields), needs, fields)


def _runner(levels: int, fields: tuple[Field, ...]) -> Run:
    lengths = window_lengths_ns(_WINDOWS)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        inputs = (frame.ts, frame.stack("mlofi_l0", levels), frame.floats("log_return"), frame.bid_size, frame.ask_size)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _flow_price(start, *inputs, lengths, *arrays, out.f64)

        drive("flow_price", state, fields, frame.rows, walk)

    return run


@kernel
def _flow_price(
    start: int,
    ts: I64,
    flow: F64,
    log_return: F64,
    bid_size: F64,
    ask_size: F64,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    ring_flow: F64,
    before: F64,
    known: F64,
    out: F64,
) -> int:
    mask, levels = len(ring_ts) - 1, len(flow)
    for i in range(start, len(ts)):
        slot = enter(ts[i], lengths, ring_ts, ring, head, tails, totals)
        if slot < 0:
            return i
        e, y = flow[0, i], 1e4 * log_return[i]
        ring_flow[slot] = e
        add_pair(totals, 0, e, y)
        if not math.isnan(e):
            add(totals, 6, 1.0)
            add(totals, 7, e)
            add_product(totals, 8, e, e)
            if known[0] > 0.0:
                add_product(totals, 9, e, before[0])
            before[0], known[0] = e, 1.0
        for m in range(levels):
            add(totals, 10, (bid_size[i, m] + ask_size[i, m]) / 2.0 / levels)
            add(totals, _SUMS + m, flow[m, i])
        for k in range(2):
            out[k, i], out[2 + k, i], _ = regress(ring, totals, tails[1 + k] & mask, 0)
            out[4 + k, i] = _memory(tails[k], head[0], ring, totals, ring_flow, before[0])
        oldest = tails[0] & mask
        size = window_sum(totals, ring, oldest, 10) / (head[0] - tails[0])
        for m in range(levels):
            out[6 + m, i] = ratio(window_sum(totals, ring, oldest, _SUMS + m), size)
    return len(ts)


@kernel
def _memory(tail: int, head: int, ring: F64, totals: F64, ring_flow: F64, newest: float) -> float:
    """Return the biased lag-1 autocorrelation of the known flows of a window."""
    mask = len(ring) - 1
    first = tail
    while first < head and math.isnan(ring_flow[first & mask]):
        first += 1
    slot = tail & mask
    n = window_sum(totals, ring, slot, 6)
    total, total_low = window_pair(totals, ring, slot, 7)
    squares, squares_low = window_pair(totals, ring, slot, 8)
    # The products of the first flow reach out of the window.
    after, after_low = 0.0, 0.0
    if first + 1 < head:
        after, after_low = window_pair(totals, ring, (first + 1) & mask, 9)
    oldest = ring_flow[first & mask]
    return lag_one(n, total, total_low, squares, squares_low, after, after_low, oldest, newest, totals[0, 8])
