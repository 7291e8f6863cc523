"""Order books rebuilt exactly from `l2`: the last snapshot and every change since, at any depth.

After an entry of the gap ledger the book is unknown until the next snapshot, and no row says otherwise.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from daedalus.shared.book import LEVELS_MAX, OrderBook
from daedalus.shared.events import ALL, NO_TIME, BookDelta, Gap
from daedalus.shared.packing import CHANGE_RECORD, levels_array
from daedalus.shared.schemas import arrow_schema

#: A frame of books ends at so many rows, or at so many bytes of levels.
FRAME_ROWS = 8192
FRAME_BYTES = 16 << 20
_SCHEMA = pa.schema([pa.field("ts", pa.int64()), *arrow_schema("orderbook")])


@dataclass
class _Row:
    """A book at an instant."""

    ts: int
    collected_at: int
    timestamp: int | None
    nonce: int | None
    bids: bytes
    asks: bytes


@dataclass
class Rebuild:
    """The fold: changes and gaps in, the book out."""

    gaps: Sequence[tuple[int, int]]
    depth: int
    book: OrderBook = field(default_factory=OrderBook)
    is_valid: bool = False
    last: BookDelta | None = None
    _timestamp: int | None = None
    _at: int = 0
    _until: int = 0
    _top: tuple[bytes, bytes] | None = None

    def pass_gaps(self, now: int) -> None:
        """Take the gaps that begin before an instant: the book is unknown from there on."""
        while self._at < len(self.gaps) and self.gaps[self._at][0] < now:
            self._until = max(self._until, self.gaps[self._at][1])
            self._at += 1
            self.is_valid = False

    def feed(self, delta: BookDelta) -> None:
        """Take the changes of a frame. A snapshot ends the gaps that ended before it."""
        self.pass_gaps(delta.collected_at)
        if delta.is_snapshot:
            self.is_valid, self._timestamp = delta.collected_at >= self._until, None
        if self.is_valid:
            self.book.apply(delta.changes, delta.is_snapshot)
            self.last, self._top = delta, None
            times = np.frombuffer(delta.changes, CHANGE_RECORD)["timestamp"]
            known = times[times != NO_TIME]
            self._timestamp = int(known[-1]) if len(known) else self._timestamp

    def row(self, ts: int) -> _Row:
        """Return the book as it is."""
        assert self.last is not None
        self._top = self._top or self.book.top(self.depth)
        return _Row(ts, self.last.collected_at, self._timestamp, self.last.nonce, *self._top)


class Books:
    """Books of one market, as an iterator of Polars frames or, by `collect`, as one.

    The columns are those of channel `orderbook` and `ts`, int64 ns: when the book was so. Without `every`, there is a
    row for every change, and `ts` is its receive clock; with it, a row at every multiple of `every` since the epoch,
    with all that was received until then (`ts` included), up to the last change.

    Parameters
    ----------
    exchange, symbol
        As in the path.
    deltas, gaps
        Give the market's changes from a snapshot on, and its ledger, each time from the start.
    start, end
        [start, end) of `ts`, ns; None is no bound.
    depth
        Levels a side; None means all.
    every
        Width of the grid, ns; None for every change.
    """

    def __init__(
        self,
        exchange: str,
        symbol: str,
        deltas: Callable[[], Iterator[BookDelta]],
        gaps: Callable[[], Iterator[Gap]],
        *,
        start: int | None,
        end: int | None,
        depth: int | None,
        every: int | None,
    ) -> None:
        self.exchange, self.symbol = exchange, symbol
        self._deltas, self._gaps = deltas, gaps
        self._start, self._end, self._depth, self._every = start, end, depth, every

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Yield frames of at most `FRAME_ROWS` rows."""
        held: list[_Row] = []
        size = 0
        for row in self._rows():
            held.append(row)
            size += len(row.bids) + len(row.asks)
            if len(held) >= FRAME_ROWS or size >= FRAME_BYTES:
                yield self._frame(held)
                held, size = [], 0
        if held:
            yield self._frame(held)

    def collect(self) -> pl.DataFrame:
        """Return all rows as one frame."""
        frames = list(self)
        return pl.concat(frames) if frames else self._frame([])

    def __repr__(self) -> str:
        """Say what it is, and how to read it."""
        depth = "all levels" if self._depth is None else f"{self._depth} levels a side"
        pace = "at every change" if self._every is None else f"every {self._every / 1e9:g} s"
        return f"Books of {self.exchange} {self.symbol}, {depth}, {pace}: iterate over frames, or .collect()"

    def _rows(self) -> Iterator[_Row]:
        rebuild = Rebuild(invalid_spans(self._gaps()), LEVELS_MAX if self._depth is None else self._depth)
        return self._changes(rebuild) if self._every is None else self._grid(rebuild, self._every)

    def _changes(self, rebuild: Rebuild) -> Iterator[_Row]:
        for delta in self._deltas():
            if self._end is not None and delta.collected_at >= self._end:
                return
            rebuild.feed(delta)
            if rebuild.is_valid and (self._start is None or delta.collected_at >= self._start):
                yield rebuild.row(delta.collected_at)

    def _grid(self, rebuild: Rebuild, every: int) -> Iterator[_Row]:
        ts = None if self._start is None else -(-self._start // every) * every
        now = None
        for delta in self._deltas():
            now = delta.collected_at
            ts = -(-now // every) * every if ts is None else ts
            while ts < now and (self._end is None or ts < self._end):
                rebuild.pass_gaps(ts)
                if not rebuild.is_valid:
                    ts = -(-now // every) * every
                    break
                yield rebuild.row(ts)
                ts += every
            if self._end is not None and ts >= self._end:
                return
            rebuild.feed(delta)
        if ts is not None and ts == now and rebuild.is_valid:
            yield rebuild.row(ts)

    def _frame(self, rows: Sequence[_Row]) -> pl.DataFrame:
        plain = {name: [getattr(row, name) for row in rows] for name in ("ts", "collected_at", "timestamp", "nonce")}
        columns = {
            **plain,
            "capture_ts": [row.collected_at // 1000 for row in rows],
            "exchange": [self.exchange] * len(rows),
            "symbol": [self.symbol] * len(rows),
        }
        arrays = {name: pa.array(values, _SCHEMA.field(name).type) for name, values in columns.items()}
        arrays |= {side: levels_array([getattr(row, side) for row in rows]) for side in ("bids", "asks")}
        frame = pl.from_arrow(pa.table([arrays[name] for name in _SCHEMA.names], schema=_SCHEMA))
        assert isinstance(frame, pl.DataFrame)
        return frame


def invalid_spans(gaps: Iterable[Gap]) -> list[tuple[int, int]]:
    """Return (start, end) of what the ledger says of `l2`, ns, by start: a snapshot before the end does not count.

    An entry without an end counts until it was written. One of a single frame that nobody could read, of no channel,
    says nothing: where the frame held changes of a book, the sequence shows it, and `l2` has an entry of its own.
    """
    spans = []
    for gap in gaps:
        if gap.channel == "l2" or (gap.channel == ALL and gap.reason != "parse_error"):
            spans.append((gap.started_at, gap.collected_at if gap.ended_at is None else gap.ended_at))
    return sorted(spans)
