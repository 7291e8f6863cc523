"""Integrated order flow imbalance (feature catalogue, section 13.2; Cont, Cucuringu and Zhang 2023).

x = the vector `mlofi_norm_l0..` of a window; the feature is w.x / (sum of |w|), where w is the first eigenvector of the
covariance of the same vector on 10 s bars. Bars lie on the epoch, as do the times of fitting (every 1800 s), so the
bars of the 86,400 s before a fit are those of 48 whole blocks: of each block the state keeps count, sums and sums of
products. A bar counts once it has ended; one without rows has no vector. The fit at a boundary is made at the first row
at or after it, from bars that ended by the boundary.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.eigen import first_eigenvector
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.pairs import NOTHING, add_product, centred
from daedalus.etl.features.streaming import (
    SUMMABLE_MAX,
    add,
    enter,
    plus,
    ratio,
    window_fields,
    window_lengths_ns,
    window_sum,
)
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

WINDOWS = (60, 300)
BAR_NS = 10_000_000_000
BLOCK_NS = 1_800_000_000_000
BLOCKS = 48
BARS_MIN = 180


def ofi_integrated(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    levels = config.mlofi_levels
    fields = (
        *window_fields(len(WINDOWS), levels + 1),
        # (bar, boundary of the last fit), each with 1 added; rows of the bar; its sums of flow by level and of size.
        Field("clock", INT, (2,)),
        Field("bar_rows", INT, (1,)),
        Field("bar", FLOAT, (2, levels + 1)),
        # By block, round and round: its number with 1 added, bars, sums of the vector, then of its products.
        Field("block_of", INT, (BLOCKS + 1,)),
        Field("block_bars", INT, (BLOCKS + 1,)),
        Field("block_sums", FLOAT, (BLOCKS + 1, 2, levels + levels * (levels + 1) // 2)),
        Field("weights", FLOAT, (levels,)),
    )
    doc = f"first principal component of mlofi_norm of {levels} levels; null before a fit on {BARS_MIN} bars"
    columns = tuple(Column(f"ofi_integrated_{w}s", "float64", "", f"{doc}; last {w} s") for w in WINDOWS)
    needs = tuple(f"mlofi_l{m}" for m in range(levels))
    return Family("ofi_integrated", 1, "integrated order flow", columns, _runner(levels, fields), needs, fields)


def _runner(levels: int, fields: tuple[Field, ...]) -> Run:
    lengths = window_lengths_ns(WINDOWS)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        inputs = (frame.ts, frame.stack("mlofi_l0", levels), frame.bid_size, frame.ask_size, lengths)

        def walk(start: int) -> int:
            return _ofi_integrated(start, *inputs, *(state[field.name] for field in fields), out.f64)

        drive("ofi_integrated", state, fields, frame.rows, walk)

    return run


@kernel
def _ofi_integrated(
    start: int,
    ts: I64,
    flow: F64,
    bid_size: F64,
    ask_size: F64,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    clock: I64,
    bar_rows: I64,
    bar: F64,
    block_of: I64,
    block_bars: I64,
    block_sums: F64,
    weights: F64,
    out: F64,
) -> int:
    levels, mask = len(flow), len(ring_ts) - 1
    for i in range(start, len(ts)):
        if enter(ts[i], lengths, ring_ts, ring, head, tails, totals) < 0:
            return i
        now, boundary = ts[i] // BAR_NS + 1, ts[i] // BLOCK_NS + 1
        if now != clock[0]:
            if clock[0] > 0:
                block = (clock[0] - 1) * BAR_NS // BLOCK_NS + 1
                _close_bar(block, bar_rows[0], bar, block_of, block_bars, block_sums)
            clock[0], bar_rows[0], bar[:] = now, 0, 0.0
        if boundary != clock[1]:
            clock[1] = boundary
            _fit(boundary, block_of, block_bars, block_sums, weights)
        size = 0.0
        for m in range(levels):
            size += (bid_size[i, m] + ask_size[i, m]) / 2.0 / levels
            add(totals, m, flow[m, i])
            add(bar, m, flow[m, i])
        add(totals, levels, size)
        add(bar, levels, size)
        bar_rows[0] += 1
        for w in range(len(lengths)):
            slot, rows = tails[w] & mask, head[0] - tails[w]
            total = 0.0
            for m in range(levels):
                total += weights[m] * window_sum(totals, ring, slot, m)
            out[w, i] = ratio(total, window_sum(totals, ring, slot, levels) / rows)
    return len(ts)


@kernel
def _close_bar(block: int, rows: int, bar: F64, block_of: I64, block_bars: I64, block_sums: F64) -> None:
    """Add the vector of a bar that has ended to its block; without size it has none."""
    levels, slot = bar.shape[1] - 1, block % len(block_of)
    size = bar[0, levels] / rows
    x = np.empty(levels)
    for m in range(levels):
        x[m] = ratio(bar[0, m], size)
        if not abs(x[m]) <= SUMMABLE_MAX:
            return
    if block_of[slot] != block:
        block_of[slot], block_bars[slot], block_sums[slot, :, :] = block, 0, 0.0
    block_bars[slot] += 1
    at = levels
    for a in range(levels):
        add(block_sums[slot], a, x[a])
        for b in range(a, levels):
            add_product(block_sums[slot], at, x[a], x[b])
            at += 1


@kernel
def _fit(boundary: int, block_of: I64, block_bars: I64, block_sums: F64, weights: F64) -> None:
    """Set the weights, of absolute sum 1, from the blocks before a boundary; NaN from too few bars."""
    levels, columns = len(weights), block_sums.shape[2]
    weights[:] = math.nan
    bars, sums = 0, np.zeros((2, columns))
    for slot in range(len(block_of)):
        if block_of[slot] > 0 and boundary - BLOCKS <= block_of[slot] < boundary:
            bars += block_bars[slot]
            for c in range(columns):
                more, more_low = block_sums[slot, 0, c], block_sums[slot, 1, c]
                sums[0, c], sums[1, c] = plus(sums[0, c], sums[1, c], more, more_low)
    if bars < BARS_MIN:
        return
    covariance, at = np.empty((levels, levels)), levels
    for a in range(levels):
        for b in range(a, levels):
            value = centred(float(bars), sums[0, at], sums[1, at], sums[0, a], sums[1, a], sums[0, b], sums[1, b])
            if a == b and value <= NOTHING * sums[0, at]:
                value = 0.0
            covariance[a, b] = covariance[b, a] = value / (bars - 1.0)
            at += 1
    first_eigenvector(covariance, weights)
    weights /= np.abs(weights).sum()
