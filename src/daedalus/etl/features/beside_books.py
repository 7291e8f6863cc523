"""The streams as one fold whose rows are trades or tickers, with the books beside them; the rules are in `stream`.

A row sees the last book before it that has both sides, if it is not older than the staleness limit (T5, W7). A book
that repeats a sequence number is dropped, as where books are the rows.
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
    AnyArray,
    Arrays,
    Flags,
    Frame,
    QuoteRun,
    TickerRows,
    TradeRun,
    record,
)
from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.stream import (
    BOOK_FIELDS,
    is_valid,
    joined,
    keep_waiting,
    ordered,
    queue_fields,
    raised_trades,
    see,
)
from daedalus.etl.features.tickers import TickerChunk

_QUOTE = record("quote", seen=INT, ts=INT, bid=FLOAT, bid_size=FLOAT, ask=FLOAT, ask_size=FLOAT)
_LEAD = record("lead", seen=INT, ts=INT)
TRADE_FIELDS = (*BOOK_FIELDS, _QUOTE, _LEAD, *queue_fields(QuoteRun))
TICKER_FIELDS = (*TRADE_FIELDS, *queue_fields(TradeRun))


def advance_trades(
    arrays: Arrays, book: BookChunk, trades: TradeChunk, tickers: TickerChunk, staleness_ns: int
) -> Frame:
    """Take a chunk into the state and return what the families see of its trades.

    Trades whose price or amount is not finite and positive are no rows of the frame and leave the state alone;
    `Frame.all_ts` and `all_late` are of every trade. Tickers are not looked at.
    """
    valid = is_valid(trades)
    frame = _led(arrays, trades.ts, trades.collected_at, valid, staleness_ns)
    kept = frame.kept
    frame.trades = TradeRun(frame.ts, frame.collected_at, trades.price[kept], trades.amount[kept], trades.side[kept])
    frame.visible = np.arange(1, frame.rows + 1)
    _quoted(arrays, frame, book, staleness_ns)
    return frame


def advance_tickers(
    arrays: Arrays, book: BookChunk, trades: TradeChunk, tickers: TickerChunk, staleness_ns: int
) -> Frame:
    """Take a chunk into the state and return what the families see of its tickers."""
    frame = _led(arrays, tickers.ts, tickers.collected_at, np.ones(len(tickers), np.bool_), staleness_ns)
    frame.ticker = TickerRows(tickers.values, tickers.next_funding_ts)
    frame.trades = joined(arrays, raised_trades(arrays, trades))
    frame.visible = see(frame, frame.trades)
    keep_waiting(arrays, frame.trades, frame.visible)
    _quoted(arrays, frame, book, staleness_ns)
    return frame


def _led(arrays: Arrays, ts: I64, collected_at: I64, valid: Flags, staleness_ns: int) -> Frame:
    """Return the valid rows, without books beside them."""
    count = len(ts)
    now, dt_ns = np.empty(count, np.int64), np.empty(count, np.int64)
    reset, late = np.empty(count, np.int8), np.empty(count, np.int8)
    _order(ts, valid, staleness_ns, arrays["lead"], now, dt_ns, reset, late)
    kept = np.flatnonzero(valid)
    rows = len(kept)
    none, levels = np.full(rows, NULL_INT), np.zeros(rows, np.int64)
    sides = (np.empty((rows, 1)), np.empty((rows, 1)), np.empty((rows, 1)), np.empty((rows, 1)))
    given = (now[kept], dt_ns[kept], collected_at[kept], none, reset[kept], late[kept])
    frame = Frame(rows, kept, *given, *sides, levels, levels)
    frame.all_ts, frame.all_late = now, late
    return frame


@kernel
def _order(
    ts: I64, valid: Flags, staleness_ns: int, state: AnyArray, now: I64, dt_ns: I64, reset: I8, late: I8
) -> None:
    """Fill the outputs of every row; one that is not valid leaves the state alone."""
    last = state[0]
    for i in range(len(ts)):
        now[i] = ts[i] if last.seen == 0 else max(ts[i], last.ts)
        late[i] = ts[i] < now[i]
        fresh = last.seen == 0 or now[i] - last.ts > staleness_ns
        reset[i] = fresh
        dt_ns[i] = NULL_INT if fresh else now[i] - last.ts
        if valid[i]:
            last.seen, last.ts = 1, now[i]


def _quoted(arrays: Arrays, frame: Frame, book: BookChunk, staleness_ns: int) -> None:
    """Give every row the book before it."""
    books = ordered(arrays, book, staleness_ns)
    touch = [side[:, 0] for side in (books.bid_price, books.bid_size, books.ask_price, books.ask_size)]
    frame.quotes = joined(arrays, QuoteRun(books.ts, books.collected_at, *touch))
    frame.quotes_visible = see(frame, frame.quotes)
    sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
    quotes = (frame.quotes.ts, *(np.ascontiguousarray(side) for side in frame.quotes[2:]))
    _as_of(frame.ts, frame.quotes_visible, *quotes, staleness_ns, arrays["quote"], *sides)
    keep_waiting(arrays, frame.quotes, frame.quotes_visible)


@kernel
def _as_of(
    ts: I64,
    visible: I64,
    quote_ts: I64,
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    staleness_ns: int,
    state: AnyArray,
    out_bid: F64,
    out_bid_size: F64,
    out_ask: F64,
    out_ask_size: F64,
) -> None:
    """Write for every row the last quote with both sides among those that it may see."""
    last, done = state[0], 0
    for i in range(len(ts)):
        while done < visible[i]:
            if not (math.isnan(bid[done]) or math.isnan(ask[done])):
                last.seen, last.ts = 1, quote_ts[done]
                last.bid, last.bid_size = bid[done], bid_size[done]
                last.ask, last.ask_size = ask[done], ask_size[done]
            done += 1
        alive = last.seen == 1 and ts[i] - last.ts <= staleness_ns
        out_bid[i, 0], out_bid_size[i, 0] = (last.bid, last.bid_size) if alive else (math.nan, 0.0)
        out_ask[i, 0], out_ask_size[i, 0] = (last.ask, last.ask_size) if alive else (math.nan, 0.0)
