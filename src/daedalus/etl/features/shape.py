"""The shape of each side of the book (feature catalogue, section 3): slopes, concentration, walls, gaps.

Over the first `shape_levels` levels of a side unless a column says otherwise; distances are in bps from mid, 0 for
levels beyond it. What needs mid is null without one; what needs only a side is null only where that side is empty.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, I64, NULL_INT, Arrays, Block, Family, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.shape_fits import concentration, decay, slopes
from daedalus.etl.features.streaming import blank, ratio
from daedalus.shared.schemas import Column

GAPS = 5
SMART_SCALE_BPS = 10.0
DEPTH_DECAY = 0.5
PRESSURE_EPSILON_BPS = 0.1

#: Per side, in the order of the kernel: bid and ask of each are neighbours.
_SIDED = (
    ("smart_depth_{s}", "base", "size weighted exp(-distance / 10 bps), all kept levels"),
    ("decayed_depth_{s}", "base", "size weighted exp(-0.5 level)"),
    ("book_slope_{s}", "base/bps", "size over the distance of its last level"),
    ("book_slope_reg_{s}", "base/bps", "slope of cumulative size on distance"),
    ("book_slope_reg_r2_{s}", "", "R2 of that regression"),
    ("book_slope_ns_{s}", "", "elasticity of ln cumulative lots to price (Naes and Skjeltorp 2006)"),
    ("book_convexity_{s}", "base/bps2", "quadratic term of cumulative size on distance"),
    ("hhi_{s}", "", "sum of squared shares of size"),
    ("gini_{s}", "", "Gini coefficient of the sizes, population form"),
    ("depth_entropy_{s}", "", "entropy of the shares of size over ln n"),
    ("depth50_bps_{s}", "bps", "distance of the level where half of the size is reached"),
    ("cog_bps_{s}", "bps", "distance of the size-weighted price"),
    ("wall_ratio_{s}", "", "largest size over the mean of the others"),
    ("wall_bps_{s}", "bps", "distance of the largest level"),
    ("depth_decay_{s}", "1/bps", "minus the slope of ln size on distance"),
    ("max_gap_bps_{s}", "bps", "largest gap between neighbouring levels"),
)
_BOTH = (
    ("imbalance_smart", "", "imbalance of smart_depth"),
    ("imbalance_decayed", "", "imbalance of decayed_depth"),
    ("slope_asym", "", "imbalance of book_slope"),
    ("cog_asym_bps", "bps", "cog_bps_ask - cog_bps_bid; above 0: asks are further away"),
    ("book_width_bps", "bps", "last kept ask - last kept bid"),
    ("pressure", "", "imbalance of size over distance"),
)
_LEVELS = (
    ("depth50_level_{s}", "first level at which half of the size is reached"),
    ("wall_level_{s}", "level of the largest size, the first of equals"),
)
_SIDES = ("bid", "ask")
_PAIRS = 2 * len(_SIDED)
_FIRST_GAP = _PAIRS + len(_BOTH)


def shape(config: FeatureConfig) -> Family | None:
    """Declare the family; None when features are switched off."""
    if not config.compute_features:
        return None
    doc = "the shape of each side of the book"
    run = _runner(config.lot_size, min(config.shape_levels, config.max_levels))
    params = {"lot_size": config.lot_size, "shape_levels": config.shape_levels}
    return Family("shape", 1, doc, _columns(), run, params=params)


def _columns() -> tuple[Column, ...]:
    return (
        *(Column(name.format(s=s), "float64", unit, f"{doc}; {s}") for name, unit, doc in _SIDED for s in _SIDES),
        *(Column(name, "float64", unit, doc) for name, unit, doc in _BOTH),
        *(
            Column(f"gap_bps_{s}_l{k}", "float64", "bps", f"distance between {s} levels {k} and {k + 1}")
            for s in _SIDES
            for k in range(GAPS)
        ),
        *(Column(name.format(s=s), "int64", "level", f"{doc}; {s}") for name, doc in _LEVELS for s in _SIDES),
    )


def _runner(lot_size: float, deepest: int) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
        _shape(*sides, frame.bid_levels, frame.ask_levels, lot_size, deepest, out.f64, out.i64)

    return run


@kernel
def _shape(
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    bids: I64,
    asks: I64,
    lot: float,
    deepest: int,
    out: F64,
    levels: I64,
) -> None:
    distance, scratch = np.zeros(bid.shape[1]), np.zeros(deepest)
    for i in range(len(bid)):
        mid = (bid[i, 0] + ask[i, 0]) / 2.0
        weight = _side(bid[i], bid_size[i], bids[i], mid, -1.0, 0, lot, distance, scratch, out, levels, i)
        weight_ask = _side(ask[i], ask_size[i], asks[i], mid, 1.0, 1, lot, distance, scratch, out, levels, i)
        for k in range(3):
            qb, qa = out[2 * k, i], out[2 * k + 1, i]
            out[_PAIRS + k, i] = ratio(qb - qa, qb + qa)
        out[_PAIRS + 3, i] = out[23, i] - out[22, i]
        out[_PAIRS + 4, i] = out[_PAIRS + 5, i] = math.nan
        if bids[i] > 0 and asks[i] > 0:
            out[_PAIRS + 4, i] = (ask[i, asks[i] - 1] - bid[i, bids[i] - 1]) / mid * 1e4
            out[_PAIRS + 5, i] = ratio(weight - weight_ask, weight + weight_ask)
        elif bids[i] + asks[i] == 0:
            blank(out, 0, i)


@kernel
def _side(
    price: F64,
    size: F64,
    count: int,
    mid: float,
    sign: float,
    side: int,
    lot: float,
    distance: F64,
    scratch: F64,
    out: F64,
    levels: I64,
    i: int,
) -> float:
    """Write one side's columns of row i and return its pressure."""
    for c in range(2 + side, _PAIRS, 2):
        out[c, i] = math.nan
    for k in range(GAPS):
        known = k + 1 < count
        out[_FIRST_GAP + side * GAPS + k, i] = abs(price[k + 1] - price[k]) / mid * 1e4 if known else math.nan
    levels[side, i] = levels[2 + side, i] = NULL_INT
    first = min(count, len(scratch))
    smart = decayed = pressure = value = total = 0.0
    for k in range(count):
        away = sign * (price[k] - mid) / mid * 1e4
        distance[k] = away if math.isnan(away) else max(0.0, away)
        smart += size[k] * math.exp(-distance[k] / SMART_SCALE_BPS)
        if k < first:
            decayed += size[k] * math.exp(-DEPTH_DECAY * k)
            pressure += size[k] / (distance[k] + PRESSURE_EPSILON_BPS)
            value += price[k] * size[k]
            total += size[k]
    out[side, i] = smart if not math.isnan(mid) else math.nan
    out[2 + side, i] = decayed
    if count == 0:
        return 0.0
    slopes(price, size, distance, first, mid, lot, scratch, side, out, i)
    concentration(size, first, total, scratch, side, out, i)
    centre = sign * (ratio(value, total) - mid) / mid * 1e4
    out[22 + side, i] = centre if math.isnan(centre) else max(0.0, centre)
    _marks(price, size, distance, first, total, mid, side, out, levels, i)
    out[28 + side, i] = decay(size, distance, first)
    return pressure


@kernel
def _marks(
    price: F64,
    size: F64,
    distance: F64,
    first: int,
    total: float,
    mid: float,
    side: int,
    out: F64,
    levels: I64,
    i: int,
) -> None:
    """Write the level of half the depth, the wall and the largest gap."""
    half, wall, so_far, widest = -1, 0, 0.0, math.nan
    for k in range(first):
        so_far += size[k]
        if half < 0 and so_far >= 0.5 * total * (1.0 - 1e-12):
            half = k
        if size[k] > size[wall]:
            wall = k
        if k > 0:
            gap = abs(price[k] - price[k - 1]) / mid * 1e4
            widest = gap if math.isnan(widest) else max(widest, gap)
    half = max(half, 0)
    levels[side, i], levels[2 + side, i] = half, wall
    out[20 + side, i] = distance[half]
    others = 0.0
    for k in range(first):
        others += size[k] if k != wall else 0.0
    out[24 + side, i] = ratio(size[wall], ratio(others, first - 1.0))
    out[26 + side, i] = distance[wall]
    out[30 + side, i] = widest
