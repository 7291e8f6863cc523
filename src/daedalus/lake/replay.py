"""A recording once more: its Events in arrival order, across channels and markets, for backtests."""

import heapq
import time
from collections.abc import Callable, Iterator, Sequence

from daedalus.lake.selecting import Choice, partitions_of
from daedalus.lake.streams import ORDER, Stream
from daedalus.lake.tables import Table
from daedalus.shared.clock import NS_PER_SECOND, SystemClock, utc
from daedalus.shared.events import ALL, Event
from daedalus.shared.partitioning import sanitize_partition_value
from daedalus.storage.partitions import Partition


class Replay:
    """Events in arrival order; iterate over it as often as needed, each time from the start.

    At one and the same instant, events come by channel (frames, gaps, trades, l2, orderbook, ticker: a trade meets the
    book just before it, a gap stands before the snapshot that ends it), then exchange, symbol and source by name, then
    as they were stored. Memory: one row group of every stream, decoded.

    Parameters
    ----------
    streams
        What is merged.
    start, end
        [start, end) of the receive clock, ns; None is no bound.
    speed
        None gives events as fast as they are read; 1.0 as they came, 2.0 twice as fast.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        start: int | None,
        end: int | None,
        speed: float | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.streams = sorted(streams, key=_rank)
        self._start, self._end, self._speed, self._pause = start, end, speed, pause

    def __iter__(self) -> Iterator[Event]:
        """Yield the events."""
        merged = heapq.merge(*(s.events(self._start, self._end) for s in self.streams), key=_clock)
        return merged if self._speed is None else self._paced(merged, self._speed)

    def _paced(self, events: Iterator[Event], speed: float) -> Iterator[Event]:
        """Hold each event back until its time has come."""
        clock = SystemClock()
        begun, first = clock.monotonic(), None
        for event in events:
            first = event.collected_at if first is None else first
            wait = (event.collected_at - first) / NS_PER_SECOND / speed - (clock.monotonic() - begun)
            if wait > 0:
                self._pause(wait)
            yield event

    def __repr__(self) -> str:
        """Say what is replayed."""
        spans = [span for s in self.streams for part in s.partitions for span in (part.start, part.end)]
        since = utc(self._start) if self._start is not None else min(spans)
        until = utc(self._end) if self._end is not None else max(spans)
        lines = [f"Replay of {since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S} UTC, {len(self.streams)} streams:"]
        lines += [f"  {s.channel} {s.exchange} {s.symbol} ({s.source})" for s in self.streams]
        return "\n".join(lines)


def streams_of(table: Table, symbols: Sequence[str] | None, choice: Choice) -> list[Stream]:
    """Return the streams of a channel that are chosen; those of a whole connection (`ALL`) belong to every market."""
    names = None if symbols is None else {ALL, *map(sanitize_partition_value, symbols)}
    found: dict[tuple[str, str, str], list[Partition]] = {}
    for source, part in partitions_of(table, choice):
        if names is None or part.symbol in names:
            found.setdefault((source, part.exchange, part.symbol), []).append(part)
    return [Stream(table.name, source, parts) for (source, _, _), parts in found.items()]


def _clock(event: Event) -> int:
    return event.collected_at


def _rank(stream: Stream) -> tuple[int, str, str, str]:
    return ORDER.index(stream.channel), stream.exchange, stream.symbol, stream.source
