"""The columns of a bar (feature catalogue, section 11) and what the kernels carry to make them.

`bar_columns` is the one declaration: the Arrow schema, the kernels' output record and the documentation follow from
it. A further column is a line here, a field of what is carried, and a line in the kernel.

All zeros means that nothing was seen. Time bars and event bars have the same columns.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from daedalus.shared.schemas import Column

Records = npt.NDArray[Any]


def _price(name: str, doc: str) -> Column:
    return Column(name, "float64", "quote", doc)


def _base(name: str, doc: str) -> Column:
    return Column(name, "float64", "base", doc)


def _count(name: str, doc: str) -> Column:
    return Column(name, "int64", "count", doc)


def _bps(name: str, doc: str) -> Column:
    return Column(name, "float64", "bps", doc)


def _plain(name: str, doc: str) -> Column:
    return Column(name, "float64", "", doc)


_BOUNDS = (
    Column("bar_start", "int64", "ns", "start of the bar, since the epoch; an event at this very time is in the bar"),
    Column(
        "bar_end",
        "int64",
        "ns",
        "end of the bar and when it is available; of a time bar it belongs to the next one, of an event bar to this",
    ),
)
_FLAGS = (
    Column("is_empty", "int8", "0/1", "1 if neither a trade nor a book row fell into the bar"),
    Column("is_partial", "int8", "0/1", "1 if the recording ended inside the bar"),
    Column("has_gap", "int8", "0/1", "1 if the gap ledger says that something may be missing in the bar"),
)
_TRADED = (
    _price("open", "first trade's price; previous close if there was no trade, null before the first"),
    _price("high", "highest trade price, as open if there was none"),
    _price("low", "lowest trade price, as open if there was none"),
    _price("close", "last trade's price, as open if there was none"),
    _base("volume", "traded size, all sides"),
    Column("notional", "float64", "quote", "traded price times size"),
    _base("buy_volume", "size of trades whose aggressor bought (catalogue, section 6)"),
    _base("sell_volume", "size of trades whose aggressor sold"),
    _count("n_trades", "trades, of unknown side too"),
    _count("n_buys", "trades whose aggressor bought"),
    _count("n_sells", "trades whose aggressor sold"),
    _price("vwap", "notional / volume; null without a trade"),
)
_MID = (
    _price("twap_mid", "time-weighted mid, the state carried in included; null if no time is covered (W8)"),
    _price("mid_open", "mid carried into the bar if not stale, else the first mid in it"),
    _price("mid_high", "highest mid, mid_open included"),
    _price("mid_low", "lowest mid, mid_open included"),
    _price("mid_close", "last mid that was alive in the bar"),
    _plain("ret", "ln(close / previous bar's close)"),
    _plain("mid_ret", "ln(mid_close / previous bar's mid_close)"),
)
_BOOK = (
    _count("n_updates", "book rows in the bar"),
    _bps("spread_mean_bps", "mean spread over the book rows; null without one"),
    _bps("spread_min_bps", "smallest spread over the book rows"),
    _bps("spread_max_bps", "largest spread over the book rows"),
    _bps("spread_std_bps", "standard deviation of the spread over the book rows (ddof 1); null for fewer than two"),
    _bps("spread_twa_bps", "time-weighted spread, the state carried in included"),
    _plain("imbalance_mean", "mean imbalance at the touch over the book rows; null without one"),
    _plain("imbalance_twa", "time-weighted imbalance at the touch, the state carried in included"),
    _plain("imbalance_last", "imbalance at the touch of the last book row that has one"),
    _plain("imbalance_n5_mean", "mean imbalance of the first five levels over the book rows"),
    _bps("microprice_dev_last_bps", "microprice against mid of the last book row that has one"),
    _base("depth_bid_n5_mean", "mean depth of the first five bid levels over the book rows"),
    _base("depth_ask_n5_mean", "mean depth of the first five ask levels over the book rows"),
)
_FLOW = (
    _base("ofi_sum", "order flow imbalance, summed over the book rows"),
    _base("mlofi_decay_sum", "weighted multi-level order flow imbalance, summed over the book rows"),
    _plain("ofi_norm", "ofi_sum over the mean size of the touch, (bid + ask) / 2; null for 0"),
    _base("tfi", "buy_volume - sell_volume"),
    _plain("tfi_ratio", "tfi / (buy_volume + sell_volume); null when both are 0"),
)
_RETURNS = (
    _plain("rv", "sum of the squared log returns of the mid, row to row, that end in the bar"),
    _plain("bpv", "bipower variation of those returns, with n / (n - 1); null for fewer than two"),
    _plain("medrv", "median realised variance of those returns; null for fewer than three"),
    _plain("rs_pos", "sum of the squared positive ones"),
    _plain("rs_neg", "sum of the squared negative ones"),
    _plain("sjv", "rs_pos - rs_neg"),
    _plain("jump_var", "max(rv - bpv, 0)"),
    _plain("rskew", "sqrt(n) sum r^3 / rv^1.5; null for fewer than three or rv = 0"),
    _plain("rkurt", "n sum r^4 / rv^2; null for fewer than three or rv = 0"),
    _plain("parkinson", "variance from the range of the mid (Parkinson 1980); 0 for an empty bar"),
    _plain("garman_klass", "variance from open, high, low, close of the mid (Garman, Klass 1980); 0 for an empty bar"),
    _plain("rogers_satchell", "variance from them without drift (Rogers, Satchell 1991); 0 for an empty bar"),
)
_DEALS = (
    _base("trade_size_mean", "mean size of a trade; null without one"),
    _base("trade_size_max", "largest size of a trade; null without one"),
    _plain("large_share", "share of the volume in trades of notional >= q95 of the 1000 before them"),
    Column("max_run", "float64", "count", "longest run of equal sides that a trade of the bar stands in; null without"),
    _bps("effective_spread_bps", "size-weighted mean of 2 side (price - mid before) / mid (Huang, Stoll 1996)"),
    Column("amihud", "float64", "1/1e6 quote", "|ret| / notional * 1e6 (Amihud 2002); null without a trade"),
    Column("vpin_last", "float64", "[0,1]", "VPIN as of the last book row"),
    Column("kyle_lambda_last", "float64", "quote/base", "Kyle's lambda of 5 s bars as of the last book row"),
    _bps("range_bps", "(mid_high - mid_low) / twap_mid"),
    _plain("close_pos", "(mid_close - mid_low) / (mid_high - mid_low); null when they are equal"),
)


def bar_columns(levels: int) -> tuple[Column, ...]:
    """Return the columns of a bar, with `levels` levels of MLOFI."""
    flow = (_base(f"mlofi_l{m}_sum", f"e of level {m}, summed over the book rows") for m in range(levels))
    return (*_BOUNDS, *_FLAGS, *_TRADED, *_MID, *_BOOK, *flow, *_FLOW, *_RETURNS, *_DEALS)


_NUMPY = {"int8": np.int8, "int64": np.int64, "float64": np.float64}


def bar_record(levels: int) -> np.dtype[Any]:
    """Return what a kernel writes: a field a column, NaN for null; the levels of MLOFI as one field, `mlofi`."""
    named = [c for c in bar_columns(levels) if not c.name.startswith("mlofi_l")]
    fields: list[Any] = [(column.name, _NUMPY[column.dtype]) for column in named if column.name != "has_gap"]
    return np.dtype([*fields, ("mlofi", np.float64, (levels,))], align=True)


STREAM = np.dtype(
    [
        ("is_open", np.int64),  # whether a bar is open
        ("bar_end", np.int64),  # of the open bar; of an event bar as far as it is known
        ("bars_closed", np.int64),
        ("last_close", np.float64),  # price of the last trade, 0 before the first
        ("row_ts", np.int64),  # the last book row, which lives until the next one (W8)
        ("row_mid", np.float64),
        ("row_spread", np.float64),
        ("row_imbalance", np.float64),
        ("vpin", np.float64),
        ("kyle_lambda", np.float64),
        ("rows", np.int64),
        ("previous_close", np.float64),  # of the previous bar, NaN for null
        ("previous_mid_close", np.float64),
    ],
    align=True,
)
"""Where a stream stands, kept from bar to bar."""

_OPEN_INT = (
    "bar_start", "n_trades", "n_buys", "n_sells", "n_updates", "n_spreads", "n_imbalances", "n_imbalances_n5",
    "n_depths", "n_returns", "max_run", "tw_at",
)  # fmt: skip
_OPEN_SUM = (
    "volume", "notional", "buy_volume", "sell_volume", "large_volume", "effective", "effective_volume",
    "size_max", "mid_tw", "mid_s", "spread_tw", "spread_s", "imbalance_tw", "imbalance_s", "spread_sum",
    "spread_base", "spread_difference", "spread_square", "imbalance_sum", "imbalance_n5_sum", "depth_bid_sum",
    "depth_ask_sum", "touch_sum", "ofi_sum", "mlofi_decay_sum", "rs_pos", "rs_neg", "cubes", "fourths",
    "bipower", "medians", "before", "before_that",
)  # fmt: skip
_OPEN_NULL = (
    "open", "high", "low", "close", "mid_open", "mid_high", "mid_low", "mid_close", "spread_min",
    "spread_max", "imbalance_last", "microprice_dev_last",
)  # fmt: skip


def blank_bar(levels: int) -> Records:
    """Return a bar that nothing has happened in, shape [1]: counts and sums 0, values NaN."""
    fields: list[Any] = [(name, np.int64) for name in _OPEN_INT]
    fields += [(name, np.float64) for name in (*_OPEN_SUM, *_OPEN_NULL)]
    blank = np.zeros(1, np.dtype([*fields, ("mlofi", np.float64, (levels,))], align=True))
    for name in _OPEN_NULL:
        blank[name] = np.nan
    return blank
