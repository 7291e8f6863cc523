"""The stream itself as a fold: order and time (T1-T5), resets (S1, S2), and which trades each book row may see.

A trade becomes visible at the first book row for which both hold: the trade's ts_eff is not later than the row's, and
the trade had been received: it, or a trade that arrived after it, has `collected_at` not later than the row's. Trades
keep their order and come before the row. So the rule needs no tolerance, never looks ahead, and gives the same answer
in batch, live and in any chunks, as long as the trades received by a row are handed over with or before that row. Until
they are visible, trades wait in the state.
"""

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
    TradeRun,
    record,
)
from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.jit import kernel
from daedalus.shared.errors import StateError

#: Trades that may wait for a book row once a chunk is done.
TRADES_WAITING_MAX = 1 << 20

FIELDS = (
    record("last", seen=INT, ts=INT, seq=INT, trade_ts=INT),
    Field("ts", INT, (), "queue"),
    Field("collected_at", INT, (), "queue"),
    Field("price", FLOAT, (), "queue"),
    Field("amount", FLOAT, (), "queue"),
    Field("side", np.dtype("i1"), (), "queue"),
)
_TRADE_FIELDS = ("ts", "collected_at", "price", "amount", "side")


def advance(arrays: Arrays, book: BookChunk, trades: TradeChunk, staleness_ns: int) -> Frame:
    """Take a chunk into the stream's state and return what the families see of it.

    Rows that repeat the sequence number of the row kept before them, with no reset between, are dropped (T2). Trades
    whose price or amount is not finite and positive are dropped.

    Raises
    ------
    StateError
        If more than `TRADES_WAITING_MAX` trades still wait for a book row after this chunk.
    """
    frame = _ordered(arrays, book, staleness_ns)
    frame.trades = _arrived(arrays, trades)
    frame.visible = np.zeros(frame.rows, np.int64)
    if len(frame.trades.ts):
        _see(frame.ts, frame.collected_at, frame.trades.ts, _received(frame.trades.collected_at), frame.visible)
        _keep_waiting(arrays, frame)
    return frame


def _ordered(arrays: Arrays, book: BookChunk, staleness_ns: int) -> Frame:
    """Return the rows that stay, without trades."""
    count = len(book)
    rows, ts, dt_ns = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    reset, late = np.empty(count, np.int8), np.empty(count, np.int8)
    levels = np.empty((2, count), np.int64)
    inputs = (book.ts, book.seq, book.reset, book.bid_price, book.ask_price, staleness_ns)
    kept = _order(*inputs, arrays["last"], rows, ts, dt_ns, reset, late, levels)
    collected_at, seq = book.collected_at, book.seq
    sides = (book.bid_price, book.bid_size, book.ask_price, book.ask_size)
    if kept < count:
        rows, ts, dt_ns, reset, late = rows[:kept], ts[:kept], dt_ns[:kept], reset[:kept], late[:kept]
        collected_at, seq = collected_at[rows], seq[rows]
        sides = (sides[0][rows], sides[1][rows], sides[2][rows], sides[3][rows])
    return Frame(kept, rows, ts, dt_ns, collected_at, seq, reset, late, *sides, levels[0, :kept], levels[1, :kept])


@kernel
def _order(
    ts: I64,
    seq: I64,
    flagged: Flags,
    bid: F64,
    ask: F64,
    staleness_ns: int,
    state: I64,
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
        if not fresh and seq[i] != NULL_INT and seq[i] == last.seq:
            continue
        rows[kept] = i
        ts_eff[kept] = now
        dt_ns[kept] = NULL_INT if fresh else now - last.ts
        reset[kept] = fresh
        late[kept] = ts[i] < now
        levels[0, kept], levels[1, kept] = _count_levels(bid, i), _count_levels(ask, i)
        last.seen, last.ts, last.seq = 1, now, seq[i]
        kept += 1
    return kept


@kernel
def _count_levels(price: F64, i: int) -> int:
    """Return how many levels of a row are there; they come first."""
    k: int = price.shape[1]
    while k > 0 and np.isnan(price[i, k - 1]):
        k -= 1
    return k


def _arrived(arrays: Arrays, trades: TradeChunk) -> TradeRun:
    """Return the trades that waited and then the new valid ones, with ts_eff."""
    waiting = [arrays[name] for name in _TRADE_FIELDS]
    if len(trades) == 0:
        return TradeRun(*waiting)
    with np.errstate(invalid="ignore"):
        valid = (trades.price > 0) & (trades.amount > 0) & (trades.price < np.inf) & (trades.amount < np.inf)
    if not valid.all():
        trades = TradeChunk(*(getattr(trades, name)[valid] for name in _TRADE_FIELDS))
    new = TradeRun(trades.ts.copy(), trades.collected_at, trades.price, trades.amount, trades.side)
    _raise_times(new.ts, arrays["last"])
    return TradeRun(*(np.concatenate(pair) for pair in zip(waiting, _listed(new), strict=True)))


@kernel
def _raise_times(ts: I64, state: I64) -> None:
    """Replace the times of trades by their running maximum (T2)."""
    last = state[0]
    for j in range(len(ts)):
        last.trade_ts = max(last.trade_ts, ts[j])
        ts[j] = last.trade_ts


@kernel
def _received(collected_at: I64) -> I64:
    """Return by when each trade must have arrived: the least receive time of it and of all that arrived after it."""
    received = collected_at.copy()
    for j in range(len(received) - 2, -1, -1):
        received[j] = min(received[j], received[j + 1])
    return received


@kernel
def _see(ts: I64, collected_at: I64, trade_ts: I64, received: I64, visible: I64) -> None:
    """Count for every row the trades that it and the rows before it may see."""
    seen = 0
    for i in range(len(ts)):
        while seen < len(trade_ts) and trade_ts[seen] <= ts[i] and received[seen] <= collected_at[i]:
            seen += 1
        visible[i] = seen


def _listed(trades: TradeRun) -> list[AnyArray]:
    return [trades.ts, trades.collected_at, trades.price, trades.amount, trades.side]


def _keep_waiting(arrays: Arrays, frame: Frame) -> None:
    """Leave in the state the trades that no row of the chunk has seen."""
    done = int(frame.visible[-1]) if frame.rows else 0
    waiting = len(frame.trades.ts) - done
    if waiting > TRADES_WAITING_MAX:
        raise StateError(
            f"{waiting:,} trades wait for a later row of the order book: it has stopped, or its clock is behind that "
            "of the trades; hand over the order book too, or start afresh"
        )
    for name, values in zip(_TRADE_FIELDS, _listed(frame.trades), strict=True):
        arrays[name] = values[done:].copy()
