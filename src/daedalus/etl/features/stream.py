"""The streams as one fold: order and time (T1-T5), resets (S1, S2), and what of the other streams each row may see.

Rows are those of one stream: books here, trades or tickers in `beside_books`. An event of another stream becomes
visible at the first row for which both hold: its ts_eff is not later than the row's (earlier, where the rows' stream
comes first at equal times: trades, then tickers, then books), and it had been received: it, or an event of its stream
that arrived after it, has `collected_at` not later than the row's. Events keep their order. So the rule needs no
tolerance, never looks ahead, and gives the same answer in batch, live and in any chunks, as long as what was received
by a row is handed over with or before that row. Until they are visible, events wait in the state.
"""

from collections.abc import Mapping
from typing import TypeVar

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
    Field,
    Flags,
    Frame,
    QuoteRun,
    Record,
    TickerRun,
    TradeRun,
    record,
)
from daedalus.etl.features.calls import Caller, directly
from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.tickers import PLACE, TickerChunk
from daedalus.shared.errors import StateError

#: Sequence numbers that a row is compared with; a repeat of an older one passes as new.
NUMBERS_KEPT = 1024
#: Trades that may wait for a book row once a chunk is done.
TRADES_WAITING_MAX = 1 << 20
#: Of other events that no row has followed, the newest that are kept: the rest is old when one follows.
WAITING_MAX = 1 << 18

R = TypeVar("R", TradeRun, TickerRun, QuoteRun)
_PREFIX: Mapping[type, str] = {TradeRun: "trades", TickerRun: "tickers", QuoteRun: "quotes"}


def queue_fields(kind: type[TradeRun] | type[TickerRun] | type[QuoteRun]) -> tuple[Field, ...]:
    """Return the state of events that wait: one queue for each of their columns."""
    dtypes: dict[str, np.dtype[np.generic]] = {"ts": INT, "collected_at": INT, "side": np.dtype("i1")}
    return tuple(Field(f"{_PREFIX[kind]}_{name}", dtypes.get(name, FLOAT), (), "queue") for name in kind._fields)


#: What `ordered` carries, with the newest times of the streams beside.
BOOK_FIELDS = (
    record("last", seen=INT, ts=INT, newest_seq=INT, numbered=INT, trade_ts=INT, ticker_ts=INT),
    Field("numbers", INT, (NUMBERS_KEPT,)),
)
FIELDS = (
    *BOOK_FIELDS,
    *queue_fields(TradeRun),
    *queue_fields(TickerRun),
)


def advance(
    arrays: Arrays,
    book: BookChunk,
    trades: TradeChunk,
    tickers: TickerChunk,
    staleness_ns: int,
    call: Caller = directly,
) -> Frame:
    """Take a chunk into the state and return what the families see of its book rows.

    Rows that repeat a sequence number are dropped, wherever the first stood (T2); a reset forgets the numbers, since a
    connection may count anew. Trades whose price or amount is not finite and positive are dropped.

    Raises
    ------
    StateError
        If more than `TRADES_WAITING_MAX` trades still wait for a book row after this chunk.
    """
    frame = ordered(arrays, book, staleness_ns, call)
    frame.trades = joined(arrays, raised_trades(arrays, trades))
    frame.visible = see(frame, frame.trades)
    frame.tickers = joined(arrays, raised_tickers(arrays, tickers))
    frame.tickers_visible = see(frame, frame.tickers)
    keep_waiting_trades(arrays, frame.trades, frame.visible)
    keep_waiting(arrays, frame.tickers, frame.tickers_visible)
    return frame


def ordered(arrays: Arrays, book: BookChunk, staleness_ns: int, call: Caller = directly) -> Frame:
    """Return the book rows that stay, without the other streams."""
    count = len(book)
    rows, ts, dt_ns = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    reset, late = np.empty(count, np.int8), np.empty(count, np.int8)
    levels = np.empty((2, count), np.int64)
    inputs = (book.ts, book.seq, book.reset, book.bid_price, book.ask_price, staleness_ns)
    kept = call(_order, *inputs, arrays["last"], arrays["numbers"], rows, ts, dt_ns, reset, late, levels)
    collected_at, seq = book.collected_at, book.seq
    sides = (book.bid_price, book.bid_size, book.ask_price, book.ask_size)
    if kept < count:
        rows, ts, dt_ns, reset, late = rows[:kept], ts[:kept], dt_ns[:kept], reset[:kept], late[:kept]
        collected_at, seq = collected_at[rows], seq[rows]
        sides = (sides[0][rows], sides[1][rows], sides[2][rows], sides[3][rows])
    counts = (levels[0, :kept], levels[1, :kept])
    return Frame(kept, rows, ts, dt_ns, collected_at, seq, reset, late, *sides, *counts, call)


@kernel
def _order(
    ts: I64,
    seq: I64,
    flagged: Flags,
    bid: F64,
    ask: F64,
    staleness_ns: int,
    state: AnyArray,
    numbers: I64,
    rows: I64,
    ts_eff: I64,
    dt_ns: I64,
    reset: I8,
    late: I8,
    levels: I64,
) -> int:
    """Fill the outputs for the rows that stay; return how many."""
    last = state[0]
    kept = 0
    for i in range(len(ts)):
        now = ts[i] if last.seen == 0 else max(ts[i], last.ts)
        fresh = last.seen == 0 or flagged[i] or now - last.ts > staleness_ns
        if fresh:
            last.numbered = 0
        if seq[i] != NULL_INT and _is_repeat(seq[i], last, numbers):
            continue
        rows[kept] = i
        ts_eff[kept] = now
        dt_ns[kept] = NULL_INT if fresh else now - last.ts
        reset[kept] = fresh
        late[kept] = ts[i] < now
        levels[0, kept], levels[1, kept] = _count_levels(bid, i), _count_levels(ask, i)
        last.seen, last.ts = 1, now
        kept += 1
    return kept


@kernel
def _is_repeat(number: int, last: Record, numbers: I64) -> bool:
    """Return whether a sequence number was there before; if not, remember it."""
    if last.numbered > 0 and number <= last.newest_seq:
        for k in range(min(last.numbered, len(numbers))):
            if numbers[k] == number:
                return True
    last.newest_seq = number if last.numbered == 0 else max(last.newest_seq, number)
    numbers[last.numbered % len(numbers)] = number
    last.numbered += 1
    return False


@kernel
def _count_levels(price: F64, i: int) -> int:
    """Return how many levels of a row are there; they come first."""
    k: int = price.shape[1]
    while k > 0 and np.isnan(price[i, k - 1]):
        k -= 1
    return k


def raised_trades(arrays: Arrays, trades: TradeChunk) -> TradeRun:
    """Return the valid trades of a chunk with ts_eff."""
    valid = is_valid(trades)
    if not valid.all():
        trades = TradeChunk(*(getattr(trades, name)[valid] for name in TradeRun._fields))
    new = TradeRun(trades.ts.copy(), trades.collected_at, trades.price, trades.amount, trades.side)
    _raise_times(new.ts, arrays["last"]["trade_ts"])
    return new


def is_valid(trades: TradeChunk) -> Flags:
    """Tell which trades have a finite and positive price and amount."""
    with np.errstate(invalid="ignore"):
        valid: Flags = (trades.price > 0) & (trades.amount > 0) & (trades.price < np.inf) & (trades.amount < np.inf)
    return valid


def raised_tickers(arrays: Arrays, tickers: TickerChunk) -> TickerRun:
    """Return the tickers of a chunk with ts_eff and their own mid."""
    bid, ask = (tickers.values[:, PLACE[name]] for name in ("bid", "ask"))
    new = TickerRun(tickers.ts.copy(), tickers.collected_at, (bid + ask) / 2.0)
    _raise_times(new.ts, arrays["last"]["ticker_ts"])
    return new


@kernel
def _raise_times(ts: I64, newest: I64) -> None:
    """Replace times by their running maximum (T2)."""
    for j in range(len(ts)):
        newest[0] = max(newest[0], ts[j])
        ts[j] = newest[0]


def joined(arrays: Arrays, new: R) -> R:
    """Return what waited and then the new."""
    prefix = _PREFIX[type(new)]
    if len(arrays[f"{prefix}_ts"]) == 0:
        return new
    columns = [np.concatenate((arrays[f"{prefix}_{name}"], getattr(new, name))) for name in new._fields]
    return type(new)(*columns)


def see(frame: Frame, events: TradeRun | TickerRun | QuoteRun) -> I64:
    """Count for every row the events that it and the rows before it may see, int64[rows]."""
    visible = np.zeros(frame.rows, np.int64)
    if len(events.ts):
        # Books come last at equal times: a row beside them sees those strictly before it.
        first = 1 if isinstance(events, QuoteRun) else 0
        received = _received(events.collected_at)
        _see(frame.ts - first, frame.collected_at, events.ts, received, visible)
    return visible


@kernel
def _received(collected_at: I64) -> I64:
    """Return by when each event must have arrived: the least receive time of it and of all that arrived after it."""
    received = collected_at.copy()
    for j in range(len(received) - 2, -1, -1):
        received[j] = min(received[j], received[j + 1])
    return received


@kernel
def _see(ts: I64, collected_at: I64, event_ts: I64, received: I64, visible: I64) -> None:
    seen = 0
    for i in range(len(ts)):
        while seen < len(event_ts) and event_ts[seen] <= ts[i] and received[seen] <= collected_at[i]:
            seen += 1
        visible[i] = seen


def keep_waiting(arrays: Arrays, events: TradeRun | TickerRun | QuoteRun, visible: I64) -> None:
    """Leave in the state the newest `WAITING_MAX` of the events that no row of the chunk has seen."""
    done = max(int(visible[-1]) if len(visible) else 0, len(events.ts) - WAITING_MAX)
    _keep(arrays, events, done)


def keep_waiting_trades(arrays: Arrays, trades: TradeRun, visible: I64) -> None:
    """Leave in the state the trades that no book row has seen; raises `StateError` if they are too many."""
    done = int(visible[-1]) if len(visible) else 0
    waiting = len(trades.ts) - done
    if waiting > TRADES_WAITING_MAX:
        raise StateError(
            f"{waiting:,} trades wait for a later row of the order book: it has stopped, or its clock is behind that "
            "of the trades; hand over the order book too, or start afresh"
        )
    _keep(arrays, trades, done)


def _keep(arrays: Arrays, events: TradeRun | TickerRun | QuoteRun, done: int) -> None:
    prefix = _PREFIX[type(events)]
    for name in events._fields:
        arrays[f"{prefix}_{name}"] = getattr(events, name)[done:].copy()
