"""Streams that are read beside a main one: trades up to a row, gaps that end between two rows."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from daedalus.etl.features.base import NULL_INT
from daedalus.etl.features.chunks import BookChunk, book_chunk, gap_moments, gap_resets
from daedalus.shared.events import ALL

_LEDGER = ("collected_at", "channel", "started_at", "ended_at")


class Trailing:
    """Takes from a stream of chunks what was received up to a given time, in order, each row once.

    Parameters
    ----------
    chunks
        Rows in the order of their column `collected_at`, ns.
    empty
        The schema of what to return when there is nothing.
    """

    def __init__(self, chunks: Iterator[pa.Table], empty: pa.Schema) -> None:
        self._chunks = chunks
        self._none = empty.empty_table()
        self._held: pa.Table | None = None

    def until(self, collected_at: int) -> pa.Table:
        """Return the rows received at or before that time which were not returned yet."""
        taken = list(self.pieces(collected_at))
        return pa.concat_tables(taken) if taken else self._none

    def pieces(self, collected_at: int) -> Iterator[pa.Table]:
        """Yield the same rows, chunk by chunk."""
        while (table := self._next()) is not None:
            count = int(np.searchsorted(table["collected_at"].to_numpy(), collected_at, side="right"))
            if count < table.num_rows:
                self._held = table.slice(count)
            if count:
                yield table.slice(0, count)
            if count < table.num_rows:
                return

    def _next(self) -> pa.Table | None:
        held, self._held = self._held, None
        return held if held is not None else next(self._chunks, None)


def touches(tables: Iterable[pa.Table]) -> BookChunk | None:
    """Return the best levels of bronze books, one table after the other; None for no table."""
    parts = [book_chunk(table, 1) for table in tables]
    names = list(BookChunk.__dataclass_fields__)
    return BookChunk(*(np.concatenate([getattr(part, name) for part in parts]) for name in names)) if parts else None


class GapIntervals:
    """Tells which spans of time the gap ledger touches.

    Parameters
    ----------
    ledger
        Tables of channel `gaps` with the columns channel, started_at and ended_at, in any order. An entry without an
        end counts as an instant.
    """

    def __init__(self, ledger: Iterable[pa.Table]) -> None:
        entries = sorted(
            (started, started if ended is None else ended)
            for table in ledger
            for started, ended in zip(table["started_at"].to_pylist(), table["ended_at"].to_pylist(), strict=True)
        )
        times = np.array(entries, dtype=np.int64).reshape(-1, 2)
        self._started, self._ended = times[:, 0].copy(), np.maximum.accumulate(times[:, 1])

    def overlap(self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return for each span [start, end), ns, whether an interval touches it. Shapes [n]."""
        before = np.searchsorted(self._started, end, side="left")  # intervals that begin before the end
        if not len(self._ended):
            return np.zeros(len(start), np.bool_)
        touched: npt.NDArray[np.bool_] = (before > 0) & (self._ended[np.maximum(before, 1) - 1] >= start)
        return touched


class GapResets:
    """Tells which rows of a stream come right after an entry of the gap ledger (S2; the rule is `chunks.gap_resets`).

    Parameters
    ----------
    channel
        The channel whose gaps count, beside those of all channels.
    previous
        Newest receive clock of the rows before, ns; None at the start of the stream.
    pending
        Moments that no row has answered yet, as `pending` returned them.
    """

    def __init__(self, channel: str, previous: int | None = None, pending: Sequence[int] = ()) -> None:
        self._channels = (channel, ALL)
        self.previous = previous
        self._moments = np.array(pending, np.int64)

    def learn(self, ledger: Iterable[pa.Table]) -> None:
        """Take tables of channel `gaps`, with collected_at, channel, started_at and ended_at, in any order."""
        entries = [
            (known, started, NULL_INT if ended is None else ended)
            for table in ledger
            for known, name, started, ended in zip(*(table[c].to_pylist() for c in _LEDGER), strict=True)
            if name in self._channels
        ]
        known_at, started_at, ended_at = np.array(entries, np.int64).reshape(-1, 3).T
        self._moments = np.concatenate([self._moments, gap_moments(known_at, started_at, ended_at)])

    @property
    def pending(self) -> list[int]:
        """The moments, ns, that no row has answered yet."""
        moments: list[int] = np.unique(self._moments).tolist()
        return [moment for moment in moments if self.previous is None or moment > self.previous]

    def flags(self, collected_at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return for each of the next rows whether it is a reset. Shape as `collected_at`, ns."""
        flags = gap_resets(collected_at, self._moments, self.previous)
        if len(collected_at):
            self.previous = max(self.previous or 0, int(collected_at.max()))
        return flags
