"""The kernel of time bars: merges book rows and trades by time and folds them into one bar width.

Rules (feature catalogue, section 11): bars are [k d, (k+1) d) on the epoch; trades come before book rows of the same
time (T5); NaN is null and is skipped (N2); a mid older than the staleness is not carried into a bar (W7).
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from daedalus.etl.features.jit import kernel

SILENCE_NS_MAX = 86_400_000_000_000
"""A silence longer than a day is not filled with empty bars: the market was not recorded."""

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
I8 = npt.NDArray[np.int8]


class BookRows(NamedTuple):
    """Order book rows, each array [n]: effective time in ns, not decreasing, and features, NaN for null."""

    ts: I64
    mid: F64
    spread_bps: F64
    imbalance: F64
    ofi: F64
    ret: F64


class TradeRows(NamedTuple):
    """Valid trades, each array [m]: effective time in ns, not decreasing; price, size; side +1, -1, or 0 unknown."""

    ts: I64
    price: F64
    size: F64
    side: I8


@kernel
def _begin(acc: Any, start: int, duration: int, staleness: int) -> None:
    """Open the bar at `start`: take over the last close and the mid that is still alive."""
    acc.bar_start = start
    acc.bar_end = start + duration
    carried = acc.last_close if acc.has_close else np.nan
    acc.open = acc.high = acc.low = acc.close = carried
    alive = acc.has_mid and start - acc.last_mid_ts <= staleness
    mid = acc.last_mid if alive else np.nan
    acc.mid_open = acc.mid_high = acc.mid_low = acc.mid_close = mid
    acc.n_trades = acc.n_buys = acc.n_sells = 0
    acc.volume = acc.notional = acc.buy_volume = acc.sell_volume = 0.0
    acc.n_updates = acc.n_spreads = acc.n_imbalances = 0
    acc.spread_sum = acc.imbalance_sum = acc.ofi_sum = acc.rv = 0.0
    acc.spread_min = acc.spread_max = acc.imbalance_last = np.nan


@kernel
def _log_ratio(now: float, before: float) -> float:
    return math.log(now / before) if now > 0.0 and before > 0.0 else np.nan


@kernel
def _end(acc: Any, out: Any, partial: int) -> None:
    """Write the open bar into an output record and keep what the next one compares with."""
    out.bar_start, out.bar_end = acc.bar_start, acc.bar_end
    out.is_empty = 1 if acc.n_trades == 0 and acc.n_updates == 0 else 0
    out.is_partial = partial
    out.open, out.high, out.low, out.close = acc.open, acc.high, acc.low, acc.close
    out.volume, out.notional = acc.volume, acc.notional
    out.buy_volume, out.sell_volume = acc.buy_volume, acc.sell_volume
    out.n_trades, out.n_buys, out.n_sells = acc.n_trades, acc.n_buys, acc.n_sells
    out.vwap = acc.notional / acc.volume if acc.volume > 0.0 else np.nan
    out.mid_open, out.mid_high, out.mid_low, out.mid_close = acc.mid_open, acc.mid_high, acc.mid_low, acc.mid_close
    first = acc.bars_closed == 0
    out.ret = np.nan if first else _log_ratio(acc.close, acc.previous_close)
    out.mid_ret = np.nan if first else _log_ratio(acc.mid_close, acc.previous_mid_close)
    out.n_updates = acc.n_updates
    out.spread_mean_bps = acc.spread_sum / acc.n_spreads if acc.n_spreads else np.nan
    out.spread_min_bps, out.spread_max_bps = acc.spread_min, acc.spread_max
    out.imbalance_mean = acc.imbalance_sum / acc.n_imbalances if acc.n_imbalances else np.nan
    out.imbalance_last = acc.imbalance_last
    out.ofi_sum = acc.ofi_sum
    out.tfi = acc.buy_volume - acc.sell_volume
    sided = acc.buy_volume + acc.sell_volume
    out.tfi_ratio = out.tfi / sided if sided > 0.0 else np.nan
    out.rv = acc.rv
    acc.bars_closed += 1
    acc.previous_close, acc.previous_mid_close = acc.close, acc.mid_close


@kernel
def _next(acc: Any, ts: int, duration: int, staleness: int) -> None:
    """Open the bar after the one that ended; after too long a silence the one that holds `ts`.

    The empty bars that are left out change nothing but the number of rows: the last of them is what comes before `ts`.
    """
    start = acc.bar_end
    if ts - start > SILENCE_NS_MAX:
        start = ts - ts % duration
        _begin(acc, start - duration, duration, staleness)
        acc.previous_close, acc.previous_mid_close = acc.close, acc.mid_close
    _begin(acc, start, duration, staleness)


@kernel
def _add_trade(acc: Any, trades: TradeRows, j: int) -> None:
    """Count a trade."""
    price, size, side = trades.price[j], trades.size[j], trades.side[j]
    if acc.n_trades == 0:
        acc.open = acc.high = acc.low = price
    acc.high, acc.low = max(acc.high, price), min(acc.low, price)
    acc.close = acc.last_close = price
    acc.has_close = 1
    acc.n_trades += 1
    acc.volume += size
    acc.notional += price * size
    if side > 0:
        acc.n_buys += 1
        acc.buy_volume += size
    elif side < 0:
        acc.n_sells += 1
        acc.sell_volume += size


@kernel
def _add_book(acc: Any, book: BookRows, i: int) -> None:
    """Count a book row; each value may be NaN."""
    mid, spread_bps, imbalance = book.mid[i], book.spread_bps[i], book.imbalance[i]
    acc.n_updates += 1
    if not math.isnan(mid):
        if math.isnan(acc.mid_open):
            acc.mid_open = acc.mid_high = acc.mid_low = mid
        acc.mid_high, acc.mid_low = max(acc.mid_high, mid), min(acc.mid_low, mid)
        acc.mid_close = acc.last_mid = mid
        acc.last_mid_ts = book.ts[i]
        acc.has_mid = 1
    if not math.isnan(spread_bps):
        first = acc.n_spreads == 0
        acc.spread_min = spread_bps if first else min(acc.spread_min, spread_bps)
        acc.spread_max = spread_bps if first else max(acc.spread_max, spread_bps)
        acc.spread_sum += spread_bps
        acc.n_spreads += 1
    if not math.isnan(imbalance):
        acc.imbalance_sum += imbalance
        acc.imbalance_last = imbalance
        acc.n_imbalances += 1
    if not math.isnan(book.ofi[i]):
        acc.ofi_sum += book.ofi[i]
    if not math.isnan(book.ret[i]):
        acc.rv += book.ret[i] * book.ret[i]


@kernel
def fold_bars(
    state: Any,
    duration: int,
    staleness: int,
    book: BookRows,
    book_at: int,
    book_ended: bool,
    trades: TradeRows,
    trade_at: int,
    trades_ended: bool,
    out: Any,
) -> tuple[int, int, int]:
    """Fold events until a stream that has not ended runs out of rows, or `out` is full.

    Parameters
    ----------
    state
        One `bar_layout.ACCUMULATOR` record, shape [1].
    duration, staleness
        Width of the bar and the most that a mid is carried, ns.
    book, trades
        Rows of the two streams.
    book_at, trade_at
        First row of each that is not folded yet.
    book_ended, trades_ended
        Whether no further rows will come.
    out
        Records `bar_layout.BAR_RECORD` to fill.

    Returns
    -------
    tuple of int
        Next book row, next trade, records filled.
    """
    acc = state[0]
    filled = 0
    while True:
        has_book, has_trade = book_at < len(book.ts), trade_at < len(trades.ts)
        if (not has_book and not book_ended) or (not has_trade and not trades_ended):
            break
        if not has_book and not has_trade:
            break
        is_trade = has_trade and (not has_book or trades.ts[trade_at] <= book.ts[book_at])
        ts = trades.ts[trade_at] if is_trade else book.ts[book_at]
        if acc.bar_end == 0:
            _begin(acc, ts - ts % duration, duration, staleness)
        while ts >= acc.bar_end and filled < len(out):
            _end(acc, out[filled], 0)
            filled += 1
            _next(acc, ts, duration, staleness)
        if ts >= acc.bar_end:
            break
        if is_trade:
            _add_trade(acc, trades, trade_at)
            trade_at += 1
        else:
            _add_book(acc, book, book_at)
            book_at += 1
    return book_at, trade_at, filled


@kernel
def end_open_bar(state: Any, out: Any) -> int:
    """Write the open bar as a partial one into the first record of `out`; return how many were written (0 or 1).

    The state is not changed, so that the bar goes on when more events come.
    """
    acc = state.copy()[0]
    if acc.bar_end == 0:
        return 0
    _end(acc, out[0], 1)
    return 1
