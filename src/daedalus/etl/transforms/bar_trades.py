"""What the trades of bars say against the book before them: side, size class, run and effective spread (section 6).

The same kernels as the trade features; the quote of a trade is the last row with a mid before it in the merged order.
"""

import math
from typing import Any

import numpy as np

from daedalus.etl.features.base import F64
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.state import new_arrays
from daedalus.etl.features.trade_rows import COLUMNS, PLACE, trade_against, trade_fields, trade_size_class
from daedalus.etl.transforms.bar_folds import TRADE, WAIT, next_stream
from daedalus.etl.transforms.bar_kernel import BookRows, Deals, TradeRows

_FIELDS = trade_fields()


class DealFold:
    """Works out the trades of one market, in order, each once; `staleness` is the most that a quote lives, ns."""

    def __init__(self, staleness: int) -> None:
        self._staleness = staleness
        self._arrays = new_arrays(_FIELDS)
        self._quote = np.zeros(1, [("mid", np.float64), ("ts", np.int64)])

    def fold(
        self, book: BookRows, book_at: int, book_ended: bool, trades: TradeRows, trade_at: int, trades_ended: bool
    ) -> Deals:
        """Return what the trades of a chunk say; NaN from the first on whose place among the rows is not certain."""
        out = np.full((len(COLUMNS), len(trades.ts)), math.nan)
        arrays = [self._arrays[field.name] for field in _FIELDS]
        _deals(
            self._quote,
            self._staleness,
            book,
            book_at,
            book_ended,
            trades,
            trade_at,
            trades_ended,
            *arrays,
            out,
        )
        names = ("side", "large_trade", "run_length", "effective_spread_bps")
        return Deals(*(out[PLACE[name]] for name in names))


@kernel
def _deals(
    quotes: Any,
    staleness: int,
    book: BookRows,
    book_at: int,
    book_ended: bool,
    trades: TradeRows,
    trade_at: int,
    trades_ended: bool,
    recent: F64,
    ordered: F64,
    state: Any,
    out: F64,
) -> None:
    last, quote, values = state[0], quotes[0], np.full(6, math.nan)
    while True:
        which = next_stream(book, book_at, book_ended, trades, trade_at, trades_ended)
        if which == WAIT:
            break
        if which != TRADE:
            if not math.isnan(book.mid[book_at]):
                quote.mid, quote.ts = book.mid[book_at], book.ts[book_at]
            book_at += 1
            continue
        j, ts = trade_at, trades.ts[trade_at]
        values[0] = quote.mid if quote.mid > 0.0 and ts - quote.ts <= staleness else math.nan
        trade_against(ts, trades.price[j], trades.size[j], trades.given[j], staleness, values, last, out[:, j])
        trade_size_class(out[:, j], recent, ordered, last)
        trade_at += 1
