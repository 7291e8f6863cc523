"""Rows as the engine takes them: books and trades as typed arrays, made from bronze tables."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daedalus.etl.features.base import F64, I8, I64, NULL_INT, AnyArray, Flags
from daedalus.etl.features.cleaning import clean_side
from daedalus.shared.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

_NS_PER = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True, slots=True)
class BookChunk:
    """Snapshots of one market in arrival order.

    Attributes
    ----------
    ts
        int64[n], ns: the exchange's event time, else receive time (T1).
    collected_at
        int64[n], ns, receive clock.
    seq
        int64[n], the exchange's sequence number, `NULL_INT` where it gave none.
    reset
        bool[n], True where something may be missing just before the row (S2): reconnect, sequence gap, ledger entry.
    bid_price, bid_size, ask_price, ask_size
        float64[n, max_levels], C-contiguous, clean (B1): best first, prices differ, sizes > 0; missing levels have
        price NaN and size 0.
    """

    ts: I64
    collected_at: I64
    seq: I64
    reset: Flags
    bid_price: F64
    bid_size: F64
    ask_price: F64
    ask_size: F64

    def __len__(self) -> int:
        return len(self.ts)

    def rows(self, start: int, stop: int) -> "BookChunk":
        """Return a part of the chunk, without copying."""
        part = slice(start, stop)
        return BookChunk(*(getattr(self, name)[part] for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class TradeChunk:
    """Trades of one market in arrival order: ts and collected_at as in `BookChunk`, side +1 buy, -1 sell, 0 unknown."""

    ts: I64
    collected_at: I64
    price: F64
    amount: F64
    side: I8

    def __len__(self) -> int:
        return len(self.ts)

    def rows(self, start: int, stop: int) -> "TradeChunk":
        """Return a part of the chunk, without copying."""
        part = slice(start, stop)
        return TradeChunk(*(getattr(self, name)[part] for name in self.__dataclass_fields__))


def no_books(levels: int) -> BookChunk:
    """Return a chunk without rows."""
    ints, floats = np.empty(0, np.int64), np.empty((0, levels))
    return BookChunk(ints, ints, ints, np.empty(0, np.bool_), floats, floats, floats, floats)


NO_TRADES = TradeChunk(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.int8))


def book_chunk(table: "pa.Table", max_levels: int, resets: Flags | None = None) -> BookChunk:
    """Turn bronze `orderbook` rows into a chunk, cleaned by B1-B3.

    Parameters
    ----------
    table
        Rows of one market in arrival order, with `bids`, `asks` and `timestamp` or `collected_at`; `nonce` if known.
    max_levels
        Levels kept per side.
    resets
        bool[n]; None: no row starts anew.

    Raises
    ------
    SchemaError
        If a column is missing or of another type, or `resets` has another length.
    """
    rows = table.num_rows
    if resets is not None and len(resets) != rows:
        raise SchemaError(f"resets has {len(resets)} entries for {rows} rows of the order book: give one for each row")
    ts, collected_at = times_of(table)
    seq = _integers(table, "nonce") if "nonce" in table.schema.names else np.full(rows, NULL_INT)
    bid_price, bid_size = clean_side(*_levels(table, "bids"), max_levels, 1.0)
    ask_price, ask_size = clean_side(*_levels(table, "asks"), max_levels, -1.0)
    reset = np.zeros(rows, np.bool_) if resets is None else np.array(resets, np.bool_)
    return BookChunk(ts, collected_at, seq, reset, bid_price, bid_size, ask_price, ask_size)


def trade_chunk(table: "pa.Table") -> TradeChunk:
    """Turn bronze `trades` rows of one market, in arrival order, into a chunk; raises SchemaError as `book_chunk`."""
    ts, collected_at = times_of(table)
    return TradeChunk(ts, collected_at, floats_of(table, "price"), floats_of(table, "amount"), _sides(table))


def gap_moments(known_at: I64, started_at: I64, ended_at: I64) -> I64:
    """Return from which receive time on each entry of the gap ledger makes a row a first row (S2), int64[g], ns.

    An entry acts once it is known, never on rows before it: from its end on, or right after its start when it has no
    end yet (another entry tells the end).

    Parameters
    ----------
    known_at
        int64[g], ns: when the entry was received.
    started_at, ended_at
        int64[g], ns: the interval; `NULL_INT` for one that has no end yet.
    """
    moments: I64 = np.where(ended_at == NULL_INT, np.maximum(started_at, known_at) + 1, np.maximum(ended_at, known_at))
    return moments


def gap_resets(collected_at: I64, moments: I64, previous: int | None = None) -> Flags:
    """Mark the first row received at or after each moment, as `gap_moments` returns them.

    Parameters
    ----------
    collected_at
        int64[n], ns, receive clock of the rows.
    moments
        int64[g], ns, in any order.
    previous
        Newest receive clock of the rows before, None at the start of a stream: what they have answered is done.
    """
    reset = np.zeros(len(collected_at), np.bool_)
    if len(reset) == 0:
        return reset
    if previous is not None:
        moments = moments[moments > previous]
    first = np.searchsorted(np.maximum.accumulate(collected_at), moments, "left")
    reset[first[first < len(reset)]] = True
    return reset


def _column(table: "pa.Table", name: str) -> "pa.Array":
    import pyarrow as pa

    if name not in table.schema.names:
        raise SchemaError(f"no column {name!r}: the rows have {', '.join(table.schema.names)}")
    column = table.column(name)
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def times_of(table: "pa.Table") -> tuple[I64, I64]:
    """Return ts and collected_at in ns; either stands in for the other where it is missing (T1)."""
    names = table.schema.names
    event = _instants(table) if "timestamp" in names else None
    received = _integers(table, "collected_at") if "collected_at" in names else None
    if event is None and received is None:
        raise SchemaError("no column 'timestamp' nor 'collected_at': a row needs a time")
    if event is None:
        event = received
    if received is None:
        received = event
    assert event is not None and received is not None
    ts = np.where(event == NULL_INT, received, event)
    if (ts == NULL_INT).any():
        raise SchemaError("a row has neither 'timestamp' nor 'collected_at': fill the receive clock before this step")
    return ts, np.where(received == NULL_INT, ts, received)


def _instants(table: "pa.Table") -> I64:
    """Return `timestamp` in ns since the epoch, `NULL_INT` for null."""
    import pyarrow as pa

    kind = table.schema.field("timestamp").type
    if pa.types.is_null(kind):
        return np.full(table.num_rows, NULL_INT)
    if not pa.types.is_timestamp(kind):
        raise SchemaError(f"column 'timestamp' is {kind}: it must be a timestamp")
    values = _integers(table, "timestamp")
    return np.where(values == NULL_INT, NULL_INT, values * _NS_PER[kind.unit])


def _integers(table: "pa.Table", name: str) -> I64:
    """Return an integer or timestamp column as int64, writable, `NULL_INT` for null."""
    import pyarrow as pa

    column = _column(table, name)
    if pa.types.is_null(column.type):
        return np.full(len(column), NULL_INT)
    if not (pa.types.is_integer(column.type) or pa.types.is_timestamp(column.type)):
        raise SchemaError(f"column {name!r} is {column.type}: it must hold whole numbers")
    column = column.cast(pa.int64())
    return np.array(column.fill_null(NULL_INT) if column.null_count else column, np.int64)


def floats_of(table: "pa.Table", name: str) -> F64:
    """Return a numeric column as float64, writable, NaN for null."""
    import pyarrow as pa

    column = _column(table, name)
    try:
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"column {name!r} is {column.type}: it must hold numbers ({error})") from error
    return np.array(values, np.float64)


def _sides(table: "pa.Table") -> I8:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _column(table, "side")
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.int8)
    text = column.cast(pa.string())
    buys, sells = (pc.fill_null(pc.equal(text, word), False) for word in ("buy", "sell"))
    signs: I8 = np.array(buys, np.int8) - np.array(sells, np.int8)
    return signs


def _levels(table: "pa.Table", name: str) -> tuple[I64, F64, F64]:
    """Return offsets int64[n + 1], prices and sizes of a list<struct<price, size>> column; the floats are read-only."""
    import pyarrow as pa

    column = _column(table, name)
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (is_list and pa.types.is_struct(kind.value_type) and {"price", "size"} <= _names(kind.value_type)):
        raise SchemaError(f"column {name!r} is {kind}: it must be list<struct<price: double, size: double>>")
    levels = column.values
    fields = [kind.value_type.get_field_index(part) for part in ("price", "size")]
    parts = levels.flatten() if levels.null_count else [levels.field(k) for k in range(levels.type.num_fields)]
    price, size = (_read_only(parts[k].cast(pa.float64()).to_numpy(zero_copy_only=False)) for k in fields)
    return np.array(column.offsets, np.int64), price, size


def _names(struct: "pa.DataType") -> set[str]:
    return {struct.field(k).name for k in range(struct.num_fields)}


def _read_only(values: AnyArray) -> F64:
    """Make the kernel's input always of one kind: Numba compiles for read-only and for writable arrays apart."""
    view: F64 = values.view()
    view.flags.writeable = False
    return view
