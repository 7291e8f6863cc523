"""Static features of the touch and of each level against its opposite (feature catalogue, section 2)."""

import math
from dataclasses import replace

import numpy as np

from daedalus.etl.features.base import F64, Arrays, Block, Family, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio
from daedalus.shared.schemas import Column

COLUMNS = (
    Column("mid", "float64", "quote", "(best bid + best ask) / 2; null unless both sides exist"),
    Column("spread", "float64", "quote", "best ask - best bid; not positive when locked or crossed"),
    Column("spread_bps", "float64", "bps", "spread relative to mid"),
    Column("spread_ticks", "float64", "ticks", "spread in ticks, rounded; null without tick_size"),
    Column("microprice", "float64", "quote", "mid weighted by the opposite sizes (Gatheral-Oomen 2010)"),
    Column("microprice_dev_bps", "float64", "bps", "microprice relative to mid = spread_bps * imbalance_l0 / 2"),
    Column("log_size_ratio_l0", "float64", "", "ln(bid size / ask size) at the touch (Lipton et al. 2013)"),
    Column("touch_notional_bid", "float64", "quote", "price * size at the best bid"),
    Column("touch_notional_ask", "float64", "quote", "price * size at the best ask"),
    Column("log_mid", "float64", "", "ln(mid)"),
)


def touch(config: FeatureConfig) -> Family | None:
    """Declare the family; None when features are switched off."""
    if not config.compute_features:
        return None
    imbalances = tuple(
        Column(f"imbalance_l{k}", "float64", "", f"(bid size - ask size) / (sum) at level {k}; one side missing: +-1")
        for k in range(config.max_levels)
    )
    tick = math.nan if config.tick_size is None else config.tick_size
    doc = "touch, microprice and imbalance of each level"
    params = {"tick_size": config.tick_size}
    core = ("mid", "spread", "spread_bps", "microprice", "microprice_dev_bps", "imbalance_l*")
    columns = COLUMNS + imbalances
    return Family("touch", 1, doc, columns, _runner(tick), params=params, core=core, standard=("*",), replays=True)


def quote(config: FeatureConfig) -> Family | None:
    """Declare the same of the book before a trade or a ticker (T5), null when it is older than the staleness limit."""
    family = touch(config)
    if family is None:
        return None
    columns = tuple(replace(column, doc=f"{column.doc}; of the book before") for column in family.columns)
    params = {**family.params, "staleness_ns": config.staleness_ns}
    doc = "the touch of the book before the row"
    core = ("mid", "spread_bps", "microprice", "imbalance_l0")
    return replace(family, name="quote", doc=doc, columns=columns, params=params, core=core, standard=())


def _runner(tick: float) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        frame.call(_touch, frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size, tick, out.f64)

    return run


@kernel
def _touch(bid: F64, bid_size: F64, ask: F64, ask_size: F64, tick: float, out: F64) -> None:
    for i in range(len(bid)):
        b, qb, a, qa = bid[i, 0], bid_size[i, 0], ask[i, 0], ask_size[i, 0]
        mid = (b + a) / 2.0
        spread = a - b
        micro = ratio(qb * a + qa * b, qb + qa)
        out[0, i] = mid
        out[1, i] = spread
        out[2, i] = spread / mid * 1e4
        out[3, i] = np.rint(spread / tick)
        out[4, i] = micro
        out[5, i] = (micro - mid) / mid * 1e4
        out[6, i] = math.log(qb / qa) if qb > 0.0 and qa > 0.0 else math.nan
        out[7, i] = b * qb
        out[8, i] = a * qa
        out[9, i] = math.log(mid)
    _imbalances(bid_size, ask_size, out, 10)


@kernel
def _imbalances(bid_size: F64, ask_size: F64, out: F64, base: int) -> None:
    """Write (bid - ask) / (bid + ask) of every level from column `base` on, eight rows (one cache line) at a time."""
    rows, cap = bid_size.shape
    for start in range(0, rows, 8):
        stop = min(start + 8, rows)
        for k in range(cap):
            for i in range(start, stop):
                out[base + k, i] = ratio(bid_size[i, k] - ask_size[i, k], bid_size[i, k] + ask_size[i, k])
