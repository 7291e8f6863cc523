"""The kernels that fill a bar and write it out; how a bar begins and ends is `bar_folds`'.

Rules (feature catalogue, section 11): NaN is null and is skipped (N2); a row lives until the next one, at most for the
staleness (W8): so long its values count for time-weighted means, and its mid is carried into a bar.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from daedalus.etl.features.base import F64, I8, I64
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio

_MED_SCALE = math.pi / (6.0 - 4.0 * math.sqrt(3.0) + math.pi)


class BookRows(NamedTuple):
    """Order book rows, each array [n]: effective time in ns, not decreasing, and features, NaN for null.

    `mlofi` is [levels, n].
    """

    ts: I64
    mid: F64
    spread_bps: F64
    imbalance: F64
    imbalance_n5: F64
    microprice_dev: F64
    depth_bid: F64
    depth_ask: F64
    bid_size: F64
    ask_size: F64
    ret: F64
    mlofi_decay: F64
    vpin: F64
    kyle_lambda: F64
    mlofi: F64


class TradeRows(NamedTuple):
    """Valid trades, each array [m]: effective time in ns, not decreasing; price, size, given side (0 unknown)."""

    ts: I64
    price: F64
    size: F64
    given: I8


class Deals(NamedTuple):
    """What a trade says against the book and the trades before it, each array [m] (catalogue, section 6)."""

    side: F64
    large: F64
    run: F64
    effective_bps: F64


@kernel
def begin_bar(stream: Any, bars: Any, blank: Any, start: int, staleness: int) -> None:
    """Open a bar at `start`: take over the last close and the mid that is still alive."""
    bars[0] = blank[0]
    bar = bars[0]
    bar.bar_start = bar.tw_at = start
    if stream.last_close > 0.0:
        bar.open = bar.high = bar.low = bar.close = stream.last_close
    if stream.rows > 0 and start - stream.row_ts <= staleness and not math.isnan(stream.row_mid):
        bar.mid_open = bar.mid_high = bar.mid_low = bar.mid_close = stream.row_mid


@kernel
def pass_time(stream: Any, bar: Any, now: int, staleness: int) -> None:
    """Weigh what the last book row said with the time from where the bar stands to `now`."""
    if stream.rows > 0:
        lived = (min(now, stream.row_ts + staleness) - bar.tw_at) / 1e9
        if lived > 0.0:
            if not math.isnan(stream.row_mid):
                bar.mid_tw += stream.row_mid * lived
                bar.mid_s += lived
            if not math.isnan(stream.row_spread):
                bar.spread_tw += stream.row_spread * lived
                bar.spread_s += lived
            if not math.isnan(stream.row_imbalance):
                bar.imbalance_tw += stream.row_imbalance * lived
                bar.imbalance_s += lived
    bar.tw_at = now


@kernel
def add_trade(stream: Any, bar: Any, trades: TradeRows, deals: Deals, j: int) -> None:
    """Count a trade."""
    price, size, side = trades.price[j], trades.size[j], deals.side[j]
    if bar.n_trades == 0:
        bar.open = bar.high = bar.low = price
    bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
    stream.last_close = price
    bar.n_trades += 1
    bar.volume += size
    bar.notional += price * size
    bar.size_max = max(bar.size_max, size)
    bar.max_run = max(bar.max_run, int(abs(deals.run[j])))
    if side > 0:
        bar.n_buys += 1
        bar.buy_volume += size
    elif side < 0:
        bar.n_sells += 1
        bar.sell_volume += size
    if deals.large[j] == 1.0:
        bar.large_volume += size
    if not math.isnan(deals.effective_bps[j]):
        bar.effective += deals.effective_bps[j] * size
        bar.effective_volume += size


@kernel
def see_row(stream: Any, book: BookRows, i: int) -> None:
    """Make a book row the last one, whether or not a bar is open."""
    stream.rows += 1
    stream.row_ts, stream.row_mid = book.ts[i], book.mid[i]
    stream.row_spread, stream.row_imbalance = book.spread_bps[i], book.imbalance[i]
    stream.vpin, stream.kyle_lambda = book.vpin[i], book.kyle_lambda[i]


@kernel
def add_row(bar: Any, book: BookRows, i: int) -> None:
    """Count a book row; each value may be NaN."""
    mid, imbalance = book.mid[i], book.imbalance[i]
    bar.n_updates += 1
    if not math.isnan(mid):
        if math.isnan(bar.mid_open):
            bar.mid_open = bar.mid_high = bar.mid_low = mid
        bar.mid_high, bar.mid_low, bar.mid_close = max(bar.mid_high, mid), min(bar.mid_low, mid), mid
    if not math.isnan(book.spread_bps[i]):
        _add_spread(bar, book.spread_bps[i])
    if not math.isnan(imbalance):
        bar.imbalance_sum += imbalance
        bar.imbalance_last = imbalance
        bar.n_imbalances += 1
    if not math.isnan(book.imbalance_n5[i]):
        bar.imbalance_n5_sum += book.imbalance_n5[i]
        bar.n_imbalances_n5 += 1
    if not math.isnan(book.microprice_dev[i]):
        bar.microprice_dev_last = book.microprice_dev[i]
    if not math.isnan(book.depth_bid[i]):
        bar.depth_bid_sum += book.depth_bid[i]
        bar.depth_ask_sum += book.depth_ask[i]
        bar.touch_sum += (_known(book.bid_size[i]) + _known(book.ask_size[i])) / 2.0
        bar.n_depths += 1
    for m in range(len(book.mlofi)):
        bar.mlofi[m] += _known(book.mlofi[m, i])
    bar.mlofi_decay_sum += _known(book.mlofi_decay[i])
    if not math.isnan(book.ret[i]):
        _add_return(bar, book.ret[i])


@kernel
def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value


@kernel
def _add_spread(bar: Any, spread: float) -> None:
    if bar.n_spreads == 0:
        bar.spread_min = bar.spread_max = bar.spread_base = spread
    bar.spread_min, bar.spread_max = min(bar.spread_min, spread), max(bar.spread_max, spread)
    difference = spread - bar.spread_base
    bar.spread_sum += spread
    bar.spread_difference += difference
    bar.spread_square += difference * difference
    bar.n_spreads += 1


@kernel
def _add_return(bar: Any, r: float) -> None:
    size, square = abs(r), r * r
    if r > 0.0:
        bar.rs_pos += square
    elif r < 0.0:
        bar.rs_neg += square
    bar.cubes += square * r
    bar.fourths += square * square
    if bar.n_returns > 0:
        bar.bipower += size * bar.before
    if bar.n_returns > 1:
        low, high = min(bar.before, bar.before_that), max(bar.before, bar.before_that)
        middle = max(low, min(high, size))
        bar.medians += middle * middle
    bar.before, bar.before_that = size, bar.before
    bar.n_returns += 1


@kernel
def end_bar(stream: Any, bar: Any, end: int, partial: int, out: Any) -> None:
    """Write the open bar into an output record."""
    out.bar_start, out.bar_end = bar.bar_start, end
    out.is_empty = 1 if bar.n_trades == 0 and bar.n_updates == 0 else 0
    out.is_partial = partial
    _end_trades(bar, out)
    _end_mid(stream, bar, out)
    _end_rows(stream, bar, out)
    _end_returns(bar, out)
    out.amihud = ratio(abs(out.ret) * 1e6, bar.notional)


@kernel
def close_bar(stream: Any, bar: Any) -> None:
    """Keep what the next bar compares with."""
    stream.bars_closed += 1
    stream.previous_close, stream.previous_mid_close = bar.close, bar.mid_close


@kernel
def _end_trades(bar: Any, out: Any) -> None:
    out.open, out.high, out.low, out.close = bar.open, bar.high, bar.low, bar.close
    out.volume, out.notional = bar.volume, bar.notional
    out.buy_volume, out.sell_volume = bar.buy_volume, bar.sell_volume
    out.n_trades, out.n_buys, out.n_sells = bar.n_trades, bar.n_buys, bar.n_sells
    out.vwap = ratio(bar.notional, bar.volume)
    out.tfi = bar.buy_volume - bar.sell_volume
    out.tfi_ratio = ratio(out.tfi, bar.buy_volume + bar.sell_volume)
    out.trade_size_mean = ratio(bar.volume, float(bar.n_trades))
    out.trade_size_max = bar.size_max if bar.n_trades > 0 else np.nan
    out.large_share = ratio(bar.large_volume, bar.volume)
    out.max_run = float(bar.max_run) if bar.n_trades > 0 else np.nan
    out.effective_spread_bps = ratio(bar.effective, bar.effective_volume)


@kernel
def _end_mid(stream: Any, bar: Any, out: Any) -> None:
    out.mid_open, out.mid_high, out.mid_low, out.mid_close = bar.mid_open, bar.mid_high, bar.mid_low, bar.mid_close
    out.twap_mid = ratio(bar.mid_tw, bar.mid_s)
    first = stream.bars_closed == 0
    out.ret = np.nan if first else _log_ratio(bar.close, stream.previous_close)
    out.mid_ret = np.nan if first else _log_ratio(bar.mid_close, stream.previous_mid_close)
    out.range_bps = ratio((bar.mid_high - bar.mid_low) * 1e4, out.twap_mid)
    out.close_pos = ratio(bar.mid_close - bar.mid_low, bar.mid_high - bar.mid_low)
    high, low = _log_ratio(bar.mid_high, bar.mid_open), _log_ratio(bar.mid_low, bar.mid_open)
    close = _log_ratio(bar.mid_close, bar.mid_open)
    if out.is_empty == 1:
        high = low = close = 0.0
    out.parkinson = (high - low) ** 2 / (4.0 * math.log(2.0))
    out.garman_klass = 0.5 * (high - low) ** 2 - (2.0 * math.log(2.0) - 1.0) * close**2
    out.rogers_satchell = high * (high - close) + low * (low - close)


@kernel
def _log_ratio(now: float, before: float) -> float:
    return math.log(now / before) if now > 0.0 and before > 0.0 else np.nan


@kernel
def _end_rows(stream: Any, bar: Any, out: Any) -> None:
    rows = float(bar.n_depths)
    out.n_updates = bar.n_updates
    out.spread_mean_bps = ratio(bar.spread_sum, float(bar.n_spreads))
    out.spread_min_bps, out.spread_max_bps = bar.spread_min, bar.spread_max
    out.spread_std_bps = _deviation(bar.n_spreads, bar.spread_difference, bar.spread_square)
    out.spread_twa_bps = ratio(bar.spread_tw, bar.spread_s)
    out.imbalance_mean = ratio(bar.imbalance_sum, float(bar.n_imbalances))
    out.imbalance_twa = ratio(bar.imbalance_tw, bar.imbalance_s)
    out.imbalance_last = bar.imbalance_last
    out.imbalance_n5_mean = ratio(bar.imbalance_n5_sum, float(bar.n_imbalances_n5))
    out.microprice_dev_last_bps = bar.microprice_dev_last
    out.depth_bid_n5_mean, out.depth_ask_n5_mean = ratio(bar.depth_bid_sum, rows), ratio(bar.depth_ask_sum, rows)
    for m in range(len(bar.mlofi)):
        out.mlofi[m] = bar.mlofi[m]
    out.ofi_sum = bar.mlofi[0]
    out.mlofi_decay_sum = bar.mlofi_decay_sum
    out.ofi_norm = ratio(bar.mlofi[0], ratio(bar.touch_sum, rows))
    out.vpin_last = stream.vpin if stream.rows > 0 else np.nan
    out.kyle_lambda_last = stream.kyle_lambda if stream.rows > 0 else np.nan


@kernel
def _deviation(count: int, difference: float, square: float) -> float:
    """Return the unbiased deviation from sums of what the values differ from the first of them."""
    if count < 2:
        return np.nan
    return math.sqrt(max(square - difference * difference / count, 0.0) / (count - 1))


@kernel
def _end_returns(bar: Any, out: Any) -> None:
    n, rv = bar.n_returns, bar.rs_pos + bar.rs_neg
    out.rv, out.rs_pos, out.rs_neg, out.sjv = rv, bar.rs_pos, bar.rs_neg, bar.rs_pos - bar.rs_neg
    out.bpv = math.pi / 2.0 * n / (n - 1.0) * bar.bipower if n > 1 else np.nan
    out.jump_var = max(rv - out.bpv, 0.0) if n > 1 else np.nan
    out.medrv = _MED_SCALE * n / (n - 2.0) * bar.medians if n > 2 else np.nan
    out.rskew = ratio(math.sqrt(n) * bar.cubes, rv**1.5) if n > 2 else np.nan
    out.rkurt = ratio(n * bar.fourths, rv * rv) if n > 2 else np.nan
