"""The two ways in which bars follow on each other: on a grid of time, and by what was traded.

Both merge book rows and trades by time, trades first at equal times (T5), and stop where the order of what is still to
come is not certain, so that bars do not depend on how the streams are cut into chunks.
"""

from typing import Any

from daedalus.etl.features.base import F64
from daedalus.etl.features.jit import kernel
from daedalus.etl.transforms.bar_kernel import (
    BookRows,
    Deals,
    TradeRows,
    add_row,
    add_trade,
    begin_bar,
    close_bar,
    end_bar,
    pass_time,
    see_row,
)
from daedalus.etl.transforms.bar_rules import closes, restart

SILENCE_NS_MAX = 86_400_000_000_000
"""A silence longer than a day is not filled with empty bars: the market was not recorded."""
WAIT, BOOK, TRADE = 0, 1, 2


@kernel
def next_stream(
    book: BookRows, book_at: int, book_ended: bool, trades: TradeRows, trade_at: int, trades_ended: bool
) -> int:
    """Return which stream has the next event; `WAIT` when a chunk that is still to come may have it, or none has."""
    has_book, has_trade = book_at < len(book.ts), trade_at < len(trades.ts)
    if (not has_book and not book_ended) or (not has_trade and not trades_ended):
        return WAIT
    if has_trade and (not has_book or trades.ts[trade_at] <= book.ts[book_at]):
        return TRADE
    return BOOK if has_book else WAIT


@kernel
def fold_time_bars(
    streams: Any,
    bars: Any,
    blank: Any,
    duration: int,
    staleness: int,
    book: BookRows,
    book_at: int,
    book_ended: bool,
    trades: TradeRows,
    deals: Deals,
    trade_at: int,
    trades_ended: bool,
    out: Any,
) -> tuple[int, int, int]:
    """Fold events into bars [k d, (k+1) d) until the next one is not certain, or `out` is full.

    Parameters
    ----------
    streams, bars, blank
        One record each of `bar_layout.STREAM` and of an open bar, and an untouched bar; shape [1].
    duration, staleness
        Width of the bar and the most that a book row lives, ns.
    book, trades
        Rows of the two streams; `deals` belong to `trades`.
    book_at, trade_at
        First row of each that is not folded yet.
    book_ended, trades_ended
        Whether no further rows will come.
    out
        Records of `bar_layout.bar_record` to fill.

    Returns
    -------
    tuple of int
        Next book row, next trade, records filled.
    """
    stream, filled = streams[0], 0
    while True:
        which = next_stream(book, book_at, book_ended, trades, trade_at, trades_ended)
        if which == WAIT:
            break
        ts = trades.ts[trade_at] if which == TRADE else book.ts[book_at]
        if stream.is_open == 0:
            stream.is_open = 1
            begin_bar(stream, bars, blank, ts - ts % duration, staleness)
            stream.bar_end = ts - ts % duration + duration
        while ts >= stream.bar_end and filled < len(out):
            pass_time(stream, bars[0], stream.bar_end, staleness)
            end_bar(stream, bars[0], stream.bar_end, 0, out[filled])
            close_bar(stream, bars[0])
            filled += 1
            _follow(stream, bars, blank, ts, duration, staleness)
        if ts >= stream.bar_end:
            break
        if which == TRADE:
            add_trade(stream, bars[0], trades, deals, trade_at)
            trade_at += 1
        else:
            pass_time(stream, bars[0], ts, staleness)
            add_row(bars[0], book, book_at)
            see_row(stream, book, book_at)
            book_at += 1
    return book_at, trade_at, filled


@kernel
def _follow(stream: Any, bars: Any, blank: Any, ts: int, duration: int, staleness: int) -> None:
    """Open the bar after the one that ended; after too long a silence the one that holds `ts`.

    The empty bars that are left out change nothing but the number of rows: the last of them is what comes before `ts`.
    """
    start = stream.bar_end
    if ts - start > SILENCE_NS_MAX:
        start = ts - ts % duration
        begin_bar(stream, bars, blank, start - duration, staleness)
        stream.previous_close, stream.previous_mid_close = bars[0].close, bars[0].mid_close
    begin_bar(stream, bars, blank, start, staleness)
    stream.bar_end = start + duration


@kernel
def fold_event_bars(
    streams: Any,
    bars: Any,
    blank: Any,
    rule: F64,
    rules: Any,
    staleness: int,
    book: BookRows,
    book_at: int,
    book_ended: bool,
    trades: TradeRows,
    deals: Deals,
    trade_at: int,
    trades_ended: bool,
    out: Any,
) -> tuple[int, int, int]:
    """Fold events into bars that a trade opens and the trade that meets the rule closes.

    A book row between the trades of a bar is in it; one between two bars is only carried into the next. `rule` and
    `rules` are those of `bar_rules`; the rest is as in `fold_time_bars`, `bar_end` being the last trade's time.
    """
    stream, filled = streams[0], 0
    while filled < len(out):
        which = next_stream(book, book_at, book_ended, trades, trade_at, trades_ended)
        if which == WAIT:
            break
        if which == BOOK:
            if stream.is_open == 1:
                pass_time(stream, bars[0], book.ts[book_at], staleness)
                add_row(bars[0], book, book_at)
            see_row(stream, book, book_at)
            book_at += 1
            continue
        ts = trades.ts[trade_at]
        if stream.is_open == 0:
            stream.is_open = 1
            begin_bar(stream, bars, blank, ts, staleness)
        stream.bar_end = ts
        add_trade(stream, bars[0], trades, deals, trade_at)
        if closes(rule, rules[0], trades.price[trade_at], trades.size[trade_at], trades.given[trade_at]):
            pass_time(stream, bars[0], ts, staleness)
            end_bar(stream, bars[0], ts, 0, out[filled])
            close_bar(stream, bars[0])
            restart(rule, rules[0])
            stream.is_open = 0
            filled += 1
        trade_at += 1
    return book_at, trade_at, filled


@kernel
def end_open_bar(streams: Any, bars: Any, staleness: int, out: Any) -> int:
    """Write the open bar as a partial one into the first record of `out`; return how many were written (0 or 1).

    What is carried does not change, so that the bar goes on when more events come.
    """
    stream, bar = streams[0], bars.copy()[0]
    if stream.is_open == 0:
        return 0
    pass_time(stream, bar, stream.bar_end, staleness)
    end_bar(stream, bar, stream.bar_end, 1, out[0])
    return 1
