"""The columns of a bar (feature catalogue, section 11, first width) and what a kernel carries to make them.

`BAR_COLUMNS` is the one declaration: the Arrow schema, the kernel's output record and the documentation follow from
it. `ACCUMULATOR` is the state of one bar width; all zeros means that nothing was seen. A further column is a field in
each and a line in the kernel.
"""

import numpy as np

from daedalus.shared.schemas import Column


def _price(name: str, doc: str) -> Column:
    return Column(name, "float64", "quote", doc)


def _base(name: str, doc: str) -> Column:
    return Column(name, "float64", "base", doc)


def _count(name: str, doc: str) -> Column:
    return Column(name, "int64", "count", doc)


BAR_COLUMNS: tuple[Column, ...] = (
    Column("bar_start", "int64", "ns", "start of the bar, since the epoch; an event at this very time is in the bar"),
    Column(
        "bar_end", "int64", "ns", "end of the bar and when it is available; an event at this time is in the next bar"
    ),
    Column("is_empty", "int8", "0/1", "1 if neither a trade nor a book row fell into the bar"),
    Column("is_partial", "int8", "0/1", "1 if the recording ended inside the bar"),
    _price("open", "first trade's price; previous close if there was no trade, null before the first"),
    _price("high", "highest trade price, as open if there was none"),
    _price("low", "lowest trade price, as open if there was none"),
    _price("close", "last trade's price, as open if there was none"),
    _base("volume", "traded size, all sides"),
    Column("notional", "float64", "quote", "traded price times size"),
    _base("buy_volume", "size of trades whose aggressor bought"),
    _base("sell_volume", "size of trades whose aggressor sold"),
    _count("n_trades", "trades, of unknown side too"),
    _count("n_buys", "trades whose aggressor bought"),
    _count("n_sells", "trades whose aggressor sold"),
    _price("vwap", "notional / volume; null without a trade"),
    _price("mid_open", "mid carried into the bar if not stale, else the first mid in it"),
    _price("mid_high", "highest mid, mid_open included"),
    _price("mid_low", "lowest mid, mid_open included"),
    _price("mid_close", "last mid that was alive in the bar"),
    Column("ret", "float64", "", "ln(close / previous bar's close)"),
    Column("mid_ret", "float64", "", "ln(mid_close / previous bar's mid_close)"),
    _count("n_updates", "book rows in the bar"),
    Column("spread_mean_bps", "float64", "bps", "mean spread over the book rows; null without one"),
    Column("spread_min_bps", "float64", "bps", "smallest spread over the book rows"),
    Column("spread_max_bps", "float64", "bps", "largest spread over the book rows"),
    Column("imbalance_mean", "float64", "", "mean imbalance at the touch over the book rows; null without one"),
    Column("imbalance_last", "float64", "", "imbalance at the touch of the last book row that has one"),
    _base("ofi_sum", "order flow imbalance, summed over the book rows"),
    _base("tfi", "buy_volume - sell_volume"),
    Column("tfi_ratio", "float64", "", "tfi / (buy_volume + sell_volume); null when both are 0"),
    Column("rv", "float64", "", "sum of the squared log returns of the mid that end in the bar"),
)

_NUMPY = {"int8": np.int8, "int64": np.int64, "float64": np.float64}
BAR_RECORD = np.dtype([(column.name, _NUMPY[column.dtype]) for column in BAR_COLUMNS], align=True)
"""What the kernel writes: a field a column, NaN for null."""

ACCUMULATOR = np.dtype(
    [
        # Where the stream stands; kept from bar to bar.
        ("bar_start", np.int64),
        ("bar_end", np.int64),  # 0: no event yet
        ("has_close", np.int64),
        ("last_close", np.float64),  # price of the last trade
        ("has_mid", np.int64),
        ("last_mid", np.float64),
        ("last_mid_ts", np.int64),
        ("bars_closed", np.int64),
        ("previous_close", np.float64),  # of the previous bar, NaN for null
        ("previous_mid_close", np.float64),
        # The open bar; begun anew with each.
        ("n_trades", np.int64),
        ("n_buys", np.int64),
        ("n_sells", np.int64),
        ("open", np.float64),
        ("high", np.float64),
        ("low", np.float64),
        ("close", np.float64),
        ("volume", np.float64),
        ("notional", np.float64),
        ("buy_volume", np.float64),
        ("sell_volume", np.float64),
        ("mid_open", np.float64),
        ("mid_high", np.float64),
        ("mid_low", np.float64),
        ("mid_close", np.float64),
        ("n_updates", np.int64),
        ("n_spreads", np.int64),
        ("spread_sum", np.float64),
        ("spread_min", np.float64),
        ("spread_max", np.float64),
        ("n_imbalances", np.int64),
        ("imbalance_sum", np.float64),
        ("imbalance_last", np.float64),
        ("ofi_sum", np.float64),
        ("rv", np.float64),
    ],
    align=True,
)
"""State of one bar width."""
