"""Median size of trades over time windows (feature catalogue, section 7), exact."""

import numpy as np

from daedalus.etl.features.base import F64, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.order_tree import DEPTH_MAX, drop, insert, median, tree_fields
from daedalus.etl.features.streaming import window_lengths_ns
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column


def trade_median(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fields = tree_fields(len(config.horizons))
    columns = tuple(
        Column(f"trade_size_median_{w}s", "float64", "base", f"median size of a trade; last {w} s")
        for w in config.horizons
    )
    run = _runner(window_lengths_ns(config.horizons), fields)
    return Family("trade_median", 1, "median size of trades over time windows", columns, run, (), fields)


def _runner(lengths: I64, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.amount, frame.visible)
        done, path = np.zeros(1, np.int64), np.zeros(DEPTH_MAX, np.int64)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _trade_median(start, done, path, frame.ts, *trades, lengths, *arrays, out.f64)

        drive("trade_median", state, fields, frame.rows, walk)

    return run


@kernel
def _trade_median(
    start: int,
    done: I64,
    path: I64,
    ts: I64,
    trade_ts: I64,
    amount: F64,
    visible: I64,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    left: I64,
    right: I64,
    counts: I64,
    head: I64,
    tails: I64,
    root: I64,
    out: F64,
) -> int:
    windows = len(lengths)
    shown = np.full(windows + 1, -1)
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            if not drop(trade_ts[j], lengths, ring_ts, ring, left, right, counts, head, tails, root):
                return i
            insert(trade_ts[j], amount[j], ring_ts, ring, left, right, counts, head, root, path)
            done[0] += 1
        drop(ts[i], lengths, ring_ts, ring, left, right, counts, head, tails, root)
        for w in range(windows):
            if tails[w] == shown[w] and head[0] == shown[windows]:
                # The same trades as a row ago.
                out[w, i] = out[w, i - 1]
            else:
                out[w, i] = median(w, ring, left, right, counts, head, tails, root)
            shown[w] = tails[w]
        shown[windows] = head[0]
    return len(ts)
