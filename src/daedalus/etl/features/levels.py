"""The cleaned levels themselves: prices and sizes (feature catalogue, section 2, first row)."""

import math

from daedalus.etl.features.base import F64, Arrays, Block, Family, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.shared.schemas import Column


def levels(config: FeatureConfig) -> Family:
    """Declare the family. It is always there."""
    columns = tuple(
        Column(f"{side}_{part}_l{k}", "float64", unit, f"{part} at {side} level {k}; null if there is none")
        for side in ("bid", "ask")
        for part, unit in (("price", "quote"), ("size", "base"))
        for k in range(config.max_levels)
    )
    return Family("levels", 1, "prices and sizes of the cleaned levels", columns, _run, core=("*",), replays=True)


def _run(frame: Frame, state: Arrays, out: Block) -> None:
    frame.call(_levels, frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size, out.f64)


@kernel
def _levels(bid: F64, bid_size: F64, ask: F64, ask_size: F64, out: F64) -> None:
    cap = bid.shape[1]
    _transpose(bid, out, 0)
    _transpose(bid_size, out, cap)
    _transpose(ask, out, 2 * cap)
    _transpose(ask_size, out, 3 * cap)


@kernel
def _transpose(side: F64, out: F64, base: int) -> None:
    """Turn [rows, levels] into [levels, rows], eight rows (one cache line) at a time; what is missing is null."""
    rows, cap = side.shape
    for start in range(0, rows, 8):
        stop = min(start + 8, rows)
        for k in range(cap):
            for i in range(start, stop):
                out[base + k, i] = side[i, k] if side[i, k] > 0.0 else math.nan
