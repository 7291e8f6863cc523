"""What changes from one book row to the next (feature catalogue, section 4): order-flow imbalance, returns, moves.

Order flow (Cont, Kukanov and Stoikov 2014; levels by rank as in Xu, Gould and Howison 2018), weak inequalities on both
sides, a missing level has size 0 and price -inf (bid) or +inf (ask). First row or reset: null, and 0 in sums.
"""

import math

import numpy as np

from daedalus.etl.features.base import (
    F64,
    FLOAT,
    I8,
    I64,
    INT,
    NULL_INT,
    NULL_INT8,
    AnyArray,
    Arrays,
    Block,
    Family,
    Field,
    Frame,
    Run,
    record,
)
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import blank, log_ratio
from daedalus.shared.schemas import Column

_CHANGES = (
    Column("log_return", "float64", "", "ln(mid / previous row's mid)"),
    Column("micro_return", "float64", "", "ln(microprice / previous row's microprice)"),
    Column("dmid_ticks", "float64", "ticks", "change of mid in ticks; null without tick_size (Cont et al. 2014)"),
    Column("mid_velocity_bps_s", "float64", "bps/s", "1e4 * log_return / dt_s; null for ties"),
    Column("mid_accel_bps_s2", "float64", "bps/s2", "change of velocity / dt_s; null for ties"),
    Column("dspread_bps", "float64", "bps", "change of spread_bps"),
    Column("dimbalance_l0", "float64", "", "change of imbalance_l0"),
    Column("ddepth_bid_n5", "float64", "base", "change of the size of the first 5 bid levels"),
    Column("ddepth_ask_n5", "float64", "base", "change of the size of the first 5 ask levels"),
)
_MOVES = (
    Column("bid_move", "int8", "-1/0/1", "sign of the change of the best bid; null if it is or was missing"),
    Column("ask_move", "int8", "-1/0/1", "sign of the change of the best ask; null if it is or was missing"),
    Column("queue_depleted_bid", "int8", "0/1", "the best bid fell or went missing (Cont and de Larrard 2013)"),
    Column("queue_depleted_ask", "int8", "0/1", "the best ask rose or went missing"),
    Column("mid_tick_dir", "int8", "-1/0/1", "sign of the last non-zero change of mid; 0 before any, kept over resets"),
)
DEPTH_LEVELS = 5


def flow_columns(levels: int) -> tuple[Column, ...]:
    """Return the order-flow columns; `mlofi_l{m}` are neighbours."""
    return (
        *(Column(f"mlofi_l{m}", "float64", "base", f"order-flow imbalance of level {m}") for m in range(levels)),
        Column("ofi", "float64", "base", "order-flow imbalance at the touch, + is buying pressure"),
        Column("ofi_bid", "float64", "base", "order flow of the bid side (Kolm, Turiel and Westray 2023)"),
        Column("ofi_ask", "float64", "base", "order flow of the ask side; ofi = ofi_bid - ofi_ask"),
        Column("mlofi_sum", "float64", "base", "sum over levels"),
        Column("mlofi_decay", "float64", "base", "sum over levels weighted exp(-lambda m), not normalised"),
        Column("ofi_notional", "float64", "quote", "ofi * mid"),
    )


def order_flow(config: FeatureConfig) -> Family | None:
    """Declare the order-flow family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    levels = config.mlofi_levels
    book = Field("book", FLOAT, (4, levels))
    weights = np.array([math.exp(-config.ofi_decay_alpha * m) for m in range(levels)])

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
        frame.call(_flow, frame.reset, *sides, frame.floats("mid"), weights, state["book"], out.f64)

    params = {"ofi_decay_alpha": config.ofi_decay_alpha}
    columns = flow_columns(levels)
    doc = "order-flow imbalance per row"
    core = ("ofi", "mlofi_l*", "mlofi_decay")
    return Family("order_flow", 1, doc, columns, run, ("mid",), (book,), params, core, ("*",), replays=True)


@kernel
def _flow(
    reset: I8,
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    mid: F64,
    weights: F64,
    book: F64,
    out: F64,
) -> None:
    """`book` holds the previous row: bid prices, bid sizes, ask prices, ask sizes, missing prices infinite."""
    levels = len(weights)
    for i in range(len(reset)):
        sum_flow = decayed = touch_bid = touch_ask = 0.0
        for m in range(levels):
            pb, qb = _or(bid[i, m], -math.inf), bid_size[i, m]
            pa, qa = _or(ask[i, m], math.inf), ask_size[i, m]
            gained = _side_flow(pb, qb, book[0, m], book[1, m])
            offered = _side_flow(-pa, qa, -book[2, m], book[3, m])
            book[0, m], book[1, m], book[2, m], book[3, m] = pb, qb, pa, qa
            out[m, i] = gained - offered
            sum_flow += gained - offered
            decayed += weights[m] * (gained - offered)
            if m == 0:
                touch_bid, touch_ask = gained, offered
        out[levels, i] = touch_bid - touch_ask
        out[levels + 1, i] = touch_bid
        out[levels + 2, i] = touch_ask
        out[levels + 3, i] = sum_flow
        out[levels + 4, i] = decayed
        out[levels + 5, i] = (touch_bid - touch_ask) * mid[i]
        if reset[i]:
            blank(out, 0, i)


@kernel
def _side_flow(price: float, size: float, price_before: float, size_before: float) -> float:
    """Return what a side gained: `price` counts upwards towards the touch."""
    flow = size if price >= price_before else 0.0
    return flow - size_before if price <= price_before else flow


@kernel
def _or(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


def changes(config: FeatureConfig) -> Family | None:
    """Declare returns, velocities and moves; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    names = ("mid", "microprice", "spread", "imbalance", "depth_bid", "depth_ask", "bid", "ask", "velocity")
    last = record("last", tick_dir=INT, **dict.fromkeys(names, FLOAT))
    needs = ("mid", "microprice", "spread_bps", "imbalance_l0")
    tick = math.nan if config.tick_size is None else config.tick_size
    params = {"tick_size": config.tick_size}
    run, columns = _changes_runner(tick), _CHANGES + _MOVES
    core = ("log_return", "mid_velocity_bps_s", "mid_accel_bps_s2")
    return Family("changes", 2, "changes per row", columns, run, needs, (last,), params, core, ("*",), replays=True)


def _changes_runner(tick: float) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        inputs = [frame.floats(name) for name in ("mid", "microprice", "spread_bps", "imbalance_l0")]
        sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
        frame.call(_changes, frame.dt_ns, *inputs, *sides, tick, state["last"], out.f64, out.i8)

    return run


@kernel
def _changes(
    dt_ns: I64,
    mid: F64,
    microprice: F64,
    spread: F64,
    imbalance: F64,
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    tick: float,
    state: AnyArray,
    out: F64,
    moves: I8,
) -> None:
    last = state[0]
    for i in range(len(dt_ns)):
        depth_bid, depth_ask = _first_sizes(bid_size, i), _first_sizes(ask_size, i)
        if depth_bid == 0.0 and depth_ask == 0.0:
            depth_bid = depth_ask = math.nan
        velocity = math.nan
        if dt_ns[i] == NULL_INT:
            blank(out, 0, i)
            moves[0, i] = moves[1, i] = moves[2, i] = moves[3, i] = NULL_INT8
        else:
            out[0, i] = log_ratio(mid[i], last.mid)
            out[1, i] = log_ratio(microprice[i], last.microprice)
            out[2, i] = (mid[i] - last.mid) / tick
            dt_s = dt_ns[i] / 1e9 if dt_ns[i] > 0 else math.nan
            velocity = 1e4 * out[0, i] / dt_s
            out[3, i] = velocity
            out[4, i] = (velocity - last.velocity) / dt_s
            out[5, i] = spread[i] - last.spread
            out[6, i] = imbalance[i] - last.imbalance
            out[7, i] = depth_bid - last.depth_bid
            out[8, i] = depth_ask - last.depth_ask
            moves[0, i] = _sign(bid[i, 0] - last.bid)
            moves[1, i] = _sign(ask[i, 0] - last.ask)
            moves[2, i] = _or(bid[i, 0], -math.inf) < _or(last.bid, -math.inf)
            moves[3, i] = _or(ask[i, 0], math.inf) > _or(last.ask, math.inf)
            change = mid[i] - last.mid
            if change != 0.0 and not math.isnan(change):
                last.tick_dir = 1 if change > 0.0 else -1
        moves[4, i] = last.tick_dir
        last.mid, last.microprice, last.spread, last.imbalance = mid[i], microprice[i], spread[i], imbalance[i]
        last.depth_bid, last.depth_ask = depth_bid, depth_ask
        last.bid, last.ask, last.velocity = bid[i, 0], ask[i, 0], velocity


@kernel
def _first_sizes(size: F64, i: int) -> float:
    quantity = 0.0
    for k in range(min(DEPTH_LEVELS, size.shape[1])):
        quantity += size[i, k]
    return quantity


@kernel
def _sign(change: float) -> int:
    """Return the sign, null for NaN."""
    if math.isnan(change):
        return NULL_INT8
    return (change > 0.0) - (change < 0.0)
