"""Rows of bronze back into Events: one stream a channel and market, in arrival order and bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from daedalus.shared.errors import SchemaError
from daedalus.shared.events import BookDelta, BookSnapshot, Event, Frame, Gap, Ticker, Trade
from daedalus.shared.packing import CHANGE_RECORD, packed_changes, packed_levels
from daedalus.shared.schemas import arrow_schema
from daedalus.shared.segment import SegmentFooter
from daedalus.storage.partitions import Partition
from daedalus.storage.segments import ReadStats, footers, read_chunks

#: Rows that are Python objects at a time.
_ROWS_AT_ONCE = 1024
_PLACED = {"capture_ts", "exchange", "symbol"}
#: Rows of one book change are equal in these: they came with one frame. Where the exchange does not number its frames,
#: in the exchange's time as well.
_ONE_FRAME = ("collected_at", "nonce", "is_snapshot")

Maker = Callable[[pa.Table, str, str], Iterator[Event]]


@dataclass(frozen=True)
class Stream:
    """One channel of one market of one source.

    Parameters
    ----------
    channel
        Of bronze.
    source
        Who recorded it.
    partitions
        Of one market, by time; at least one.
    """

    channel: str
    source: str
    partitions: Sequence[Partition]

    @property
    def exchange(self) -> str:
        """Return the exchange, as in the path."""
        return self.partitions[0].exchange

    @property
    def symbol(self) -> str:
        """Return the symbol, as in the path."""
        return self.partitions[0].symbol

    def events(self, start: int | None = None, end: int | None = None) -> Iterator[Event]:
        """Yield the events with a receive clock in [start, end), ns, in arrival order.

        Their symbol is the exchange's own spelling, where a segment's footer has kept it. Rows of `l2` that came with
        one frame are one `BookDelta`.

        Raises
        ------
        CorruptError, SchemaError
            If a segment cannot be read.
        """
        symbol = self.own_symbol()
        make = _MAKERS[self.channel]
        for table in self.tables(start, end):
            yield from make(table, self.exchange, symbol)

    def own_symbol(self) -> str:
        """Return the symbol in the exchange's own spelling, where a segment's footer has kept it."""
        try:
            return SegmentFooter.of(footers(self.partitions[0])[0].metadata).symbol
        except SchemaError:
            return self.symbol

    def tables(self, start: int | None, end: int | None) -> Iterator[pa.Table]:
        """Yield the rows in pieces, without the columns that the path tells; of `l2`, pieces that no frame crosses."""
        schema = pa.schema([field for field in arrow_schema(self.channel) if field.name not in _PLACED])
        chunks = read_chunks((part.segments() for part in self.partitions), schema, ReadStats())
        cut = (_between(chunk, start, end) for chunk in chunks)
        return _whole_frames(cut) if self.channel == "l2" else _pieces(cut)


def _between(chunk: pa.Table, start: int | None, end: int | None) -> pa.Table:
    clock = chunk["collected_at"].to_numpy()
    first = 0 if start is None else int(np.searchsorted(clock, start))
    last = len(clock) if end is None else int(np.searchsorted(clock, end))
    return chunk.slice(first, max(0, last - first))


def _pieces(chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for chunk in chunks:
        for at in range(0, chunk.num_rows, _ROWS_AT_ONCE):
            yield chunk.slice(at, _ROWS_AT_ONCE)


def _whole_frames(chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows in pieces that end where a frame ends: a snapshot may be longer than a chunk."""
    held: list[pa.Table] = []
    for chunk in chunks:
        if not chunk.num_rows:
            continue
        last = int(frame_starts(chunk)[-1])
        if held and (last > 0 or frame_starts(pa.concat_tables([held[-1].slice(held[-1].num_rows - 1), chunk]))[-1]):
            yield pa.concat_tables([*held, chunk.slice(0, last)])
            held = []
        elif last > 0:
            yield chunk.slice(0, last)
        held.append(chunk.slice(last))
    if held:
        yield pa.concat_tables(held)


def frame_starts(table: pa.Table) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return where in rows of `l2` a new frame begins; 0 is among them."""
    changed = np.zeros(table.num_rows, np.bool_)
    changed[0] = True
    for name in _ONE_FRAME:
        changed[1:] |= np.diff(_integers(table[name])) != 0
    is_numbered = table["nonce"].is_valid().to_numpy()[1:]
    changed[1:] |= (np.diff(_integers(table["timestamp"])) != 0) & ~is_numbered
    return np.flatnonzero(changed)


def _integers(column: pa.ChunkedArray) -> "np.ndarray[Any, np.dtype[np.int64]]":
    return column.cast(pa.int64()).fill_null(-1).to_numpy()  # type: ignore[no-any-return]


def _deltas(table: pa.Table, exchange: str, symbol: str) -> Iterator[Event]:
    starts = frame_starts(table)
    changes, size = packed_changes(table), CHANGE_RECORD.itemsize
    heads = table.select(_ONE_FRAME).take(pa.array(starts))
    columns = (heads[name].to_pylist() for name in _ONE_FRAME)
    bounds = [*(starts * size).tolist(), len(changes)]
    for number, (at, nonce, is_snapshot) in enumerate(zip(*columns, strict=True)):
        yield BookDelta(
            collected_at=at,
            exchange=exchange,
            symbol=symbol,
            nonce=nonce,
            is_snapshot=is_snapshot,
            changes=changes[bounds[number] : bounds[number + 1]],
        )


def _rows_of(kind: type[Event]) -> Maker:
    """Return what makes an event of every row, field by column."""

    def make(table: pa.Table, exchange: str, symbol: str) -> Iterator[Event]:
        names = table.column_names
        for values in zip(*(_values(table[name]) for name in names), strict=True):
            yield kind(exchange=exchange, symbol=symbol, **dict(zip(names, values, strict=True)))

    return make


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as an event holds it: times in microseconds, sides of books packed."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_list(column.type):
        return packed_levels(column.combine_chunks())
    return column.to_pylist()  # type: ignore[no-any-return]


_MAKERS: dict[str, Maker] = {
    "frames": _rows_of(Frame),
    "gaps": _rows_of(Gap),
    "trades": _rows_of(Trade),
    "l2": _deltas,
    "orderbook": _rows_of(BookSnapshot),
    "ticker": _rows_of(Ticker),
}
#: Channels in the order of their events at one and the same instant.
ORDER = tuple(_MAKERS)
