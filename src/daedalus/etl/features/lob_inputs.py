"""The book as models take it: every level's prices and sizes, scaled (feature catalogue, section 13).

Columns are in the order of DeepLOB (Zhang, Zohren and Roberts 2019): of each level ask price, ask size, bid price, bid
size. A level that is missing is null: filling it is the model's job.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.pairs import add_product, variance
from daedalus.etl.features.streaming import SUMMABLE_MAX, add, plus, ratio
from daedalus.shared.schemas import Column

DAY_NS = 86_400_000_000_000
_PARTS = ("ask_price", "ask_size", "bid_price", "bid_size")


def _columns(prefix: str, levels: int, price: tuple[str, str], size: tuple[str, str]) -> tuple[Column, ...]:
    """Return four columns a level; `price` and `size` are (unit, doc)."""
    of_part = [(part, *(price if part.endswith("price") else size)) for part in _PARTS]
    return tuple(
        Column(f"{prefix}_{part}_l{k}", "float64", unit, f"{part} at level {k}: {doc}")
        for k in range(levels)
        for part, unit, doc in of_part
    )


def lob_rel(config: FeatureConfig) -> Family | None:
    """Declare the levels relative to the current mid; None when features are switched off."""
    if not config.compute_features:
        return None
    price, size = ("bps", "distance from mid, signed; null without mid"), ("", "ln(1 + size)")
    columns = _columns("lob_rel", config.max_levels, price, size)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        _lob_rel(frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size, out.f64)

    return Family("lob_rel", 1, "the book relative to mid", columns, run)


def lob_norm(config: FeatureConfig) -> Family | None:
    """Declare the levels as z-scores against earlier days; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    count, days = 4 * config.max_levels, config.norm_days
    against = ("", f"z-score against its rows of the {days} UTC days before")
    fields = (
        # By day, round and round: how many values, then sums of values and of squares.
        Field("day_of", INT, (days + 1,)),
        Field("counts", INT, (days + 1, count)),
        Field("sums", FLOAT, (days + 1, 2, 2 * count)),
        Field("today", INT, (1,)),
        Field("mean", FLOAT, (count,)),
        Field("std", FLOAT, (count,)),
    )
    columns = _columns("lob_norm", config.max_levels, against, against)
    return Family("lob_norm", 1, "the book against earlier days", columns, _norm_runner(fields), fields=fields)


def _norm_runner(fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        arrays = [state[field.name] for field in fields]
        _lob_norm(frame.ts, frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size, *arrays, out.f64)

    return run


@kernel
def _lob_rel(bid: F64, bid_size: F64, ask: F64, ask_size: F64, out: F64) -> None:
    for i in range(len(bid)):
        mid = (bid[i, 0] + ask[i, 0]) / 2.0
        for k in range(bid.shape[1]):
            out[4 * k, i] = (ask[i, k] - mid) / mid * 1e4
            out[4 * k + 1, i] = math.log1p(ask_size[i, k]) if ask_size[i, k] > 0.0 else math.nan
            out[4 * k + 2, i] = (bid[i, k] - mid) / mid * 1e4
            out[4 * k + 3, i] = math.log1p(bid_size[i, k]) if bid_size[i, k] > 0.0 else math.nan


@kernel
def _lob_norm(
    ts: I64,
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    day_of: I64,
    counts: I64,
    sums: F64,
    today: I64,
    mean: F64,
    std: F64,
    out: F64,
) -> None:
    levels, slots = bid.shape[1], len(day_of)
    row = np.empty(4 * levels)
    for i in range(len(ts)):
        # A day's number is kept with 1 added, so that 0 is none.
        day = ts[i] // DAY_NS + 1
        slot = day % slots
        if day != today[0]:
            today[0] = day
            day_of[slot], counts[slot, :], sums[slot, :, :] = day, 0, 0.0
            _fit(day, day_of, counts, sums, mean, std)
        for k in range(levels):
            row[4 * k] = ask[i, k]
            row[4 * k + 1] = ask_size[i, k] if ask_size[i, k] > 0.0 else math.nan
            row[4 * k + 2] = bid[i, k]
            row[4 * k + 3] = bid_size[i, k] if bid_size[i, k] > 0.0 else math.nan
        for c in range(len(row)):
            out[c, i] = ratio(row[c] - mean[c], std[c])
            if abs(row[c]) <= SUMMABLE_MAX:
                counts[slot, c] += 1
                add(sums[slot], c, row[c])
                add_product(sums[slot], len(row) + c, row[c], row[c])


@kernel
def _fit(day: int, day_of: I64, counts: I64, sums: F64, mean: F64, std: F64) -> None:
    """Set mean and deviation (N3) of every column over the days before; null where there is nothing."""
    columns = len(mean)
    for c in range(columns):
        n, total, low, squares, squares_low = 0, 0.0, 0.0, 0.0, 0.0
        for slot in range(len(day_of)):
            if day_of[slot] > 0 and day - len(day_of) < day_of[slot] < day:
                n += counts[slot, c]
                total, low = plus(total, low, sums[slot, 0, c], sums[slot, 1, c])
                more, more_low = sums[slot, 0, columns + c], sums[slot, 1, columns + c]
                squares, squares_low = plus(squares, squares_low, more, more_low)
        mean[c] = ratio(total + low, float(n))
        std[c] = math.sqrt(variance(float(n), squares, squares_low, total, low, squares))
