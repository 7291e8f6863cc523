"""One market to be exported: its trades, and its changes of the book as far as the book is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import pyarrow as pa

from daedalus.lake.books import Rebuild
from daedalus.lake.streams import Stream
from daedalus.shared.book import LEVELS_MAX
from daedalus.shared.events import BookDelta, unpack_levels
from daedalus.shared.schemas import arrow_schema

#: A table of `l2` rows of whole frames, or the instant, ns, from which on the book is unknown.
Piece: TypeAlias = pa.Table | int


@dataclass(frozen=True)
class Market:
    """What of one market is exported.

    Parameters
    ----------
    exchange, symbol
        As in the path.
    pair
        (base, quote), such as ``("BTC", "USD")``; None if the symbol does not tell.
    book, trades
        Its streams, None where there is none.
    gaps
        (start, end) of what the ledger says of `l2`, ns, by start.
    start, end
        [start, end) of the receive clock, ns; None is no bound.
    """

    exchange: str
    symbol: str
    pair: tuple[str, str] | None
    book: Stream | None
    trades: Stream | None
    gaps: Sequence[tuple[int, int]]
    start: int | None
    end: int | None

    def trade_tables(self) -> Iterator[pa.Table]:
        """Yield the trades that have a price and an amount above 0."""
        for table in self.trades.tables(self.start, self.end) if self.trades else ():
            price, amount = (np.nan_to_num(_floats(table[name])) for name in ("price", "amount"))
            good = table.filter(pa.array((price > 0) & (amount > 0)))
            if good.num_rows:
                yield good

    def book_pieces(self) -> Iterator[Piece]:
        """Yield the changes of the book in arrival order, beginning with a snapshot; none while the book is unknown.

        Where the range begins within a known book, it begins with that book, as a snapshot received at `start`. After a
        gap the book is unknown until the next snapshot.
        """
        if self.book is None:
            return
        known = _Known(self.gaps)
        if self.start is not None and (opening := self._opening(self.book, self.start)) is not None:
            known.take(self.start)
            yield opening
        for table in self.book.tables(self.start, self.end):
            if table.num_rows:
                yield from known.cut(table)

    def _opening(self, book: Stream, start: int) -> pa.Table | None:
        """Return the whole book at an instant, None where it is unknown."""
        rebuild = Rebuild(self.gaps, LEVELS_MAX)
        for event in book.events(None, start):
            assert isinstance(event, BookDelta)
            rebuild.feed(event)
        rebuild.pass_gaps(start)
        if not rebuild.is_valid or rebuild.last is None:
            return None
        sides = [unpack_levels(packed) for packed in rebuild.book.top(LEVELS_MAX)]
        rows = [(side, *level) for side, levels in zip(("bid", "ask"), sides, strict=True) for level in levels]
        if not rows:
            return None
        values = dict(zip(("side", "price", "size"), map(list, zip(*rows, strict=True)), strict=True))
        same = {"collected_at": start, "timestamp": None, "nonce": rebuild.last.nonce, "is_snapshot": True}
        columns = {**values, **{name: [value] * len(rows) for name, value in same.items()}}
        schema = pa.schema([field for field in arrow_schema("l2") if field.name in columns])
        return pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema}, schema=schema)


class _Known:
    """Cuts from rows of `l2` what came while the book was known."""

    def __init__(self, gaps: Sequence[tuple[int, int]]) -> None:
        self._gaps, self._at, self._until = gaps, 0, 0
        self._is_valid = False

    def take(self, start: int) -> None:
        """Begin with a known book at an instant."""
        self._is_valid = True
        while self._at < len(self._gaps) and self._gaps[self._at][0] < start:
            self._at += 1

    def cut(self, table: pa.Table) -> Iterator[Piece]:
        clock = table["collected_at"].to_numpy()
        whole = table["is_snapshot"].to_numpy()
        at, rows = 0, len(clock)
        while at < rows:
            is_last = self._at == len(self._gaps)
            limit = rows if is_last else int(np.searchsorted(clock, self._gaps[self._at][0], side="right"))
            limit = max(at, limit)
            if not self._is_valid:
                heads = np.flatnonzero(whole[at:limit] & (clock[at:limit] >= self._until))
                self._is_valid = len(heads) > 0
                at = at + int(heads[0]) if len(heads) else limit
            if self._is_valid and at < limit:
                yield table.slice(at, limit - at)
                at = limit
            if at < rows and not is_last:
                start, end = self._gaps[self._at]
                self._at, self._until = self._at + 1, max(self._until, end)
                if self._is_valid:
                    yield start
                self._is_valid = False


def _floats(column: pa.ChunkedArray) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return column.cast(pa.float64()).fill_null(0.0).to_numpy()  # type: ignore[no-any-return]


def exchange_ns(table: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the exchange's time of each row, ns; our clock where it gave none."""
    known = table["timestamp"].cast(pa.int64())
    ours = table["collected_at"].to_numpy()
    times = np.where(known.is_valid().to_numpy(), known.fill_null(0).to_numpy() * 1000, ours)
    return cast("np.ndarray[tuple[int], np.dtype[np.int64]]", times)
