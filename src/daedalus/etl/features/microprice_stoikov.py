"""Stoikov's micro-price (feature catalogue, section 13.3): the mid, adjusted by what past books in its state led to."""

import math
from dataclasses import asdict

import numpy as np

from daedalus.etl.features.base import F64, Arrays, Block, Family, Frame, Run
from daedalus.etl.features.calibration import MicropriceCalibration
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.shared.schemas import Column

_DOC = "mid + G*(spread, imbalance) (Stoikov 2018); null in a state that the calibration has not seen, or without one"


def microprice_stoikov(config: FeatureConfig) -> Family | None:
    """Declare the family; None when features are switched off."""
    if not config.compute_features:
        return None
    table = config.microprice_calibration
    columns = (Column("microprice_stoikov", "float64", "quote", _DOC),)
    params = {"calibration": None if table is None else asdict(table)}
    return Family("microprice_stoikov", 1, "Stoikov's micro-price", columns, _runner(table), params=params)


def _runner(table: MicropriceCalibration | None) -> Run:
    if table is None:
        tick, edges, adjustments = math.nan, np.empty(0), np.full((1, 1), math.nan)
    else:
        tick, edges = table.tick_size, np.array(table.edges, np.float64)
        adjustments = np.array([[math.nan if x is None else x for x in row] for row in table.adjustments])

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
        _microprice(*sides, tick, edges, adjustments, out.f64[0])

    return run


@kernel
def _microprice(
    bid: F64, bid_size: F64, ask: F64, ask_size: F64, tick: float, edges: F64, adjustments: F64, out: F64
) -> None:
    for i in range(len(bid)):
        b, qb, a, qa = bid[i, 0], bid_size[i, 0], ask[i, 0], ask_size[i, 0]
        width = np.rint((a - b) / tick)
        out[i] = math.nan
        if 1.0 <= width <= len(adjustments):
            share, bucket = qb / (qb + qa), 0
            while bucket < len(edges) and edges[bucket] < share:
                bucket += 1
            out[i] = (b + a) / 2.0 + adjustments[int(width) - 1, bucket]
