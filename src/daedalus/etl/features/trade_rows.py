"""What one trade says, against the book and the trades before it (feature catalogue, section 6).

The quote of a trade is the last row with a mid whose time is strictly before the trade's (T5), among the rows that
came before it, not older than the staleness limit. Every visible trade is worked out once, into `Frame.deals`, for the
families that sum over trades.
"""

import math

import numpy as np

from daedalus.etl.features.base import (
    F64,
    FLOAT,
    I8,
    I64,
    INT,
    AnyArray,
    Arrays,
    Block,
    Family,
    Field,
    Frame,
    Record,
    Run,
    record,
)
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import quantile, ratio, replace_ordered, room
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

#: The columns of `Frame.deals`, one row a trade; null is NaN.
COLUMNS = (
    Column("side", "float64", "-1/0/1", "aggressor: given, else by quote, else by tick (Lee and Ready 1991)"),
    Column("side_source", "float64", "0-3", "0 given, 1 quote rule, 2 tick rule, 3 unknown"),
    Column("signed_size", "float64", "base", "side * size"),
    Column("notional", "float64", "quote", "price * size"),
    Column("signed_notional", "float64", "quote", "side * price * size"),
    Column("trade_dt_s", "float64", "s", "time since the trade before; null for the first"),
    Column(
        "trade_log_return", "float64", "", "ln(price / price of the trade before); null for the first or after a gap"
    ),
    Column("run_length", "float64", "count", "signed length of the run of equal sides"),
    Column("large_trade", "float64", "0/1", "notional at least q95 of the 1000 trades before; null until 100"),
    Column("large_trade_fixed", "float64", "0/1", "notional of at least 100 000"),
    Column("price_vs_mid_bps", "float64", "bps", "price against the mid before"),
    Column("price_vs_micro_bps", "float64", "bps", "price against the microprice before"),
    Column("effective_spread_bps", "float64", "bps", "2 side (price - mid) / mid (Huang and Stoll 1996)"),
    Column("trade_through_bps", "float64", "bps", "how far the price is beyond the touch"),
    Column("size_vs_touch", "float64", "", "size over the size of the touch that it hits"),
    Column("sweep_size", "float64", "base", "size of the run of trades of equal time and side so far"),
    Column("sweep_levels", "float64", "count", "different prices in that run"),
)
PLACE = {column.name: k for k, column in enumerate(COLUMNS)}
#: Beside book rows, one more row of `Frame.deals`: the mid before the trade.
MID_BEFORE = len(COLUMNS)
REFERENCE_TRADES = 1000
_REFERENCE_MIN = 100
_LARGE_QUANTILE = 0.95
_LARGE_NOTIONAL = 100_000.0
#: Prices of one sweep that are told apart; beyond, the latest so many.
SWEEP_PRICES = 64


def trade_rows(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off. It has no column of book rows."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fields = (
        Field("ring_ts", INT, (), "ring"),
        Field("ring", FLOAT, (6,), "ring"),  # mid, microprice, bid, ask and their sizes
        Field("head", INT, (1,)),
        Field("tails", INT, (1,)),
        *trade_fields(),
    )
    needs = ("mid", "microprice")
    params = {"staleness_ns": config.staleness_ns}
    run = _runner(config.staleness_ns, fields)
    return Family("trade_rows", 2, "single trades against the book", (), run, needs, fields, params, replays=True)


def trade_fields() -> tuple[Field, ...]:
    """Return what `trade_against` and `trade_size_class` carry: recent notionals, the same ordered, the last trade."""
    return (
        Field("recent", FLOAT, (REFERENCE_TRADES,)),
        Field("ordered", FLOAT, (REFERENCE_TRADES,)),
        record(
            "last",
            seen=INT,
            ts=INT,
            price=FLOAT,
            tick=INT,
            run=INT,
            sweep_side=INT,
            sweep=FLOAT,
            levels=INT,
            sweep_prices=np.dtype((FLOAT, (SWEEP_PRICES,))),
            ordered=INT,
        ),
    )


def _runner(stale_ns: int, fields: tuple[Field, ...]) -> Run:
    # A quote exactly as old as the limit still counts, and a window is open at its far end. Twice the limit, for trades
    # that come late.
    lengths = np.array([2 * stale_ns + 1], np.int64)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.price, frame.trades.amount, frame.trades.side, frame.visible)
        touch = (frame.floats("mid"), frame.floats("microprice"))
        sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
        frame.deals = np.full((len(COLUMNS) + 1, len(frame.trades.ts)), math.nan)
        done = np.zeros(1, np.int64)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return frame.call(
                _trade_rows, start, done, frame.ts, *touch, *sides, *trades, lengths, stale_ns, *arrays, frame.deals
            )

        drive("trade_rows", state, fields, frame.rows, walk)

    return run


@kernel
def _trade_rows(
    start: int,
    done: I64,
    ts: I64,
    mid: F64,
    microprice: F64,
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    trade_ts: I64,
    price: F64,
    amount: F64,
    side: I8,
    visible: I64,
    lengths: I64,
    stale_ns: int,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    recent: F64,
    ordered: F64,
    state: AnyArray,
    deals: F64,
) -> int:
    last = state[0]
    quote, mask = np.empty(6), len(ring_ts) - 1
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            _quote(trade_ts[j], stale_ns, ring_ts, ring, head, tails, quote)
            trade_against(trade_ts[j], price[j], amount[j], side[j], stale_ns, quote, last, deals[:, j])
            trade_size_class(deals[:, j], recent, ordered, last)
            deals[MID_BEFORE, j] = quote[0]
            done[0] += 1
        if math.isnan(mid[i]):
            continue
        if not room(ts[i], lengths, ring_ts, head, tails):
            return i
        slot = head[0] & mask
        ring_ts[slot] = ts[i]
        ring[slot, 0], ring[slot, 1] = mid[i], microprice[i]
        ring[slot, 2], ring[slot, 3], ring[slot, 4], ring[slot, 5] = (
            bid[i, 0],
            ask[i, 0],
            bid_size[i, 0],
            ask_size[i, 0],
        )
        head[0] += 1
    return len(ts)


@kernel
def _quote(now: int, stale_ns: int, ring_ts: I64, ring: F64, head: I64, tails: I64, quote: F64) -> None:
    """Fetch the last row strictly before `now` that is not too old; none: NaN."""
    mask, position = len(ring_ts) - 1, head[0] - 1
    while position >= tails[0] and ring_ts[position & mask] >= now:
        position -= 1
    quote[:] = math.nan
    if position >= tails[0] and now - ring_ts[position & mask] <= stale_ns:
        quote[:] = ring[position & mask]


@kernel
def trade_against(
    now: int, price: float, amount: float, given: int, stale_ns: int, quote: F64, last: Record, deal: F64
) -> None:
    """Write what a valid trade says against a quote (mid, microprice, touch prices and sizes) and those before it."""
    mid, source, side = quote[0], 0, int(given)
    if last.seen == 1 and price != last.price:
        last.tick = 1 if price > last.price else -1
    if side == 0 and (price > mid or price < mid):
        side, source = (1 if price > mid else -1), 1
    elif side == 0:
        side = last.tick
        source = 2 if side != 0 else 3
    deal[0], deal[1], deal[2] = side, source, side * amount
    deal[3], deal[4] = price * amount, side * price * amount
    if last.seen == 1:
        deal[5] = (now - last.ts) / 1e9
        deal[6] = math.log(price / last.price) if now - last.ts <= stale_ns else math.nan
    if side != 0:
        last.run = last.run + side if last.run * side > 0 else side
    deal[7] = last.run
    deal[9] = float(int(deal[3] >= _LARGE_NOTIONAL))
    deal[10] = (price - mid) / mid * 1e4
    deal[11] = (price - quote[1]) / quote[1] * 1e4
    if side != 0:
        deal[12] = 2.0 * side * (price - mid) / mid * 1e4
        beyond = price - quote[3] if side > 0 else quote[2] - price
        deal[13] = math.nan if math.isnan(beyond) else max(0.0, beyond / mid * 1e4)
        deal[14] = ratio(amount, quote[5] if side > 0 else quote[4])
    if last.seen == 1 and now == last.ts and side == last.sweep_side:
        last.sweep += amount
    else:
        last.levels, last.sweep = 0, amount
    _add_sweep_price(price, last)
    deal[15], deal[16] = last.sweep, last.levels
    last.seen, last.ts, last.price, last.sweep_side = 1, now, price, side


@kernel
def _add_sweep_price(price: float, last: Record) -> None:
    """Count a price of the sweep unless it was there before."""
    for k in range(min(last.levels, SWEEP_PRICES)):
        if last.sweep_prices[k] == price:
            return
    last.sweep_prices[last.levels % SWEEP_PRICES] = price
    last.levels += 1


@kernel
def trade_size_class(deal: F64, recent: F64, ordered: F64, last: Record) -> None:
    """Compare the notional with those of the trades before, then enter it among them."""
    if last.ordered >= _REFERENCE_MIN:
        deal[8] = float(int(deal[3] >= quantile(ordered, min(last.ordered, len(recent)), _LARGE_QUANTILE)))
    slot, count = last.ordered % len(recent), min(last.ordered, len(recent))
    gone = recent[slot] if last.ordered >= len(recent) else math.nan
    replace_ordered(ordered, count, gone, deal[3])
    recent[slot] = deal[3]
    last.ordered += 1
