"""Extremes of trades over time windows, and the memory of their sides (feature catalogue, section 7).

A window (ts - w, ts] holds the trades that the row may see (T5), by their own time.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.extremes import choose, expire, extreme_fields, push
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import window_lengths_ns
from daedalus.etl.features.trade_rows import PLACE
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

_TEMPLATES = (
    ("trade_size_max_", "base", "largest size of a trade"),
    ("max_run_", "count", "largest |run_length|: the longest run of equal sides so far"),
    ("trade_price_range_bps_", "bps", "highest - lowest price of trades, against mid"),
)
#: Size, |run|, highest price, lowest price.
_SERIES = 4
#: Windows from this length on have a memory of sides.
_MEMORY_SECONDS_MIN = 60


def trade_range(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    windows = config.horizons
    # Of sides, running sums of s, s * s and s * the side before, and the last side; `ring_sides` are the sums before.
    fields = (
        *extreme_fields(len(windows), _SERIES),
        Field("ring_sides", INT, (3,), "ring"),
        Field("sides", INT, (4,)),
    )
    memories = [k for k, w in enumerate(windows) if w >= _MEMORY_SECONDS_MIN]
    memory = "lag-1 autocorrelation of the sides of trades, unknown ones as 0, biased"
    columns = (
        *(Column(f"{n}{w}s", "float64", unit, f"{doc}; last {w} s") for n, unit, doc in _TEMPLATES for w in windows),
        *(Column(f"side_autocorr_{windows[k]}s", "float64", "", f"{memory}; last {windows[k]} s") for k in memories),
    )
    run = _runner(window_lengths_ns(windows), np.array(memories, np.int64), fields)
    return Family("trade_range", 1, "extremes of trades over time windows", columns, run, ("mid", "trade_rows"), fields)


def _runner(lengths: I64, memories: I64, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.price, frame.trades.amount, frame.visible, frame.deals)
        done, mid = np.zeros(1, np.int64), frame.floats("mid")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _trade_range(start, done, frame.ts, mid, *trades, lengths, memories, *arrays, out.f64)

        drive("trade_range", state, fields, frame.rows, walk)

    return run


_SIDE, _RUN = PLACE["side"], PLACE["run_length"]


@kernel
def _trade_range(
    start: int,
    done: I64,
    ts: I64,
    mid: F64,
    trade_ts: I64,
    price: F64,
    amount: F64,
    visible: I64,
    deals: F64,
    lengths: I64,
    memories: I64,
    ring_ts: I64,
    ring: F64,
    older: I64,
    newer: I64,
    head: I64,
    tails: I64,
    back: I64,
    chosen: I64,
    ring_sides: I64,
    sides: I64,
    out: F64,
) -> int:
    windows, mask = len(lengths), len(ring_ts) - 1
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            slot = push(trade_ts[j], lengths, ring_ts, newer, head, tails, chosen)
            if slot < 0:
                return i
            choose(0, amount[j], ring, older, newer, head, tails, back, chosen)
            choose(1, abs(deals[_RUN, j]), ring, older, newer, head, tails, back, chosen)
            choose(2, price[j], ring, older, newer, head, tails, back, chosen)
            choose(3, -price[j], ring, older, newer, head, tails, back, chosen)
            _enter_side(int(deals[_SIDE, j]), ring_sides[slot], sides)
            done[0] += 1
        expire(ts[i], lengths, ring_ts, newer, head, tails, chosen)
        for w in range(windows):
            empty = tails[w] == head[0]
            for c in range(2):
                out[c * windows + w, i] = math.nan if empty else ring[chosen[w, c] & mask, c]
            width = math.nan if empty else ring[chosen[w, 2] & mask, 2] + ring[chosen[w, 3] & mask, 3]
            out[2 * windows + w, i] = width / mid[i] * 1e4
        for k in range(len(memories)):
            out[3 * windows + k, i] = _memory(tails[memories[k]], head[0], ring_sides, sides)
    return len(ts)


@kernel
def _enter_side(side: int, before: I64, sides: I64) -> None:
    """Note the sums before a trade and add its side to them."""
    before[:] = sides[:3]
    sides[0] += side
    sides[1] += side * side
    sides[2] += side * sides[3]
    sides[3] = side


@kernel
def _memory(tail: int, head: int, ring_sides: I64, sides: I64) -> float:
    """Return the autocorrelation over the trades from that position on, from whole numbers; null if all are equal."""
    n, mask = head - tail, len(ring_sides) - 1
    if n < 2:
        return math.nan
    oldest, second = ring_sides[tail & mask], ring_sides[(tail + 1) & mask]
    total, squares = sides[0] - oldest[0], sides[1] - oldest[1]
    below = n * squares - total * total
    if below == 0:
        return math.nan
    mean, first = total / n, second[0] - oldest[0]
    above = (sides[2] - second[2]) - mean * (2 * total - first - sides[3]) + (n - 1) * mean * mean
    memory: float = above / (below / n)
    return memory
