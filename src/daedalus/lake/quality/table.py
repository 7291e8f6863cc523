"""The rows of table `quality`, market after market, hour after hour, in bounded memory."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import polars as pl

from daedalus.lake.quality import measures
from daedalus.lake.quality.ledger import Interval, Ledger
from daedalus.lake.quality.measures import Values
from daedalus.lake.quality.reading import CHANNELS, HOUR_NS, Hour, first_row, hours_of, last_row, row_after
from daedalus.lake.quality.spans import Span, clipped, left_over, length, merged
from daedalus.lake.replay import streams_of
from daedalus.lake.selecting import Choice
from daedalus.lake.streams import Stream
from daedalus.lake.tables import Layout
from daedalus.shared.clock import utc
from daedalus.shared.events import GAP_REASONS, Gap
from daedalus.storage.partitions import Partition

#: Channels with quotes.
_QUOTED = ("orderbook", "ticker")


@dataclass(frozen=True)
class Recording:
    """What one source recorded of one exchange: its streams, its ledger and when it ended.

    Parameters
    ----------
    source, exchange
        Whose.
    streams
        By (symbol, channel), with all their partitions.
    ledger
        Of all of them.
    until
        Receive clock of the last row of any of them, ns.
    """

    source: str
    exchange: str
    streams: dict[tuple[str, str], Stream]
    ledger: Ledger
    until: int


def recordings(layout: Layout, exchange: str | None = None) -> list[Recording]:
    """Return what there is to judge, by source and exchange; only footers and the ledgers are read."""
    tables = layout.tables()
    found: dict[tuple[str, str], dict[tuple[str, str], Stream]] = {}
    for channel in (*CHANNELS, "gaps"):
        for stream in streams_of(tables[channel], None, Choice(exchange)) if channel in tables else ():
            found.setdefault((stream.source, stream.exchange), {})[stream.symbol, channel] = stream
    return [_recording(*key, streams) for key, streams in sorted(found.items())]


def _recording(source: str, exchange: str, streams: dict[tuple[str, str], Stream]) -> Recording:
    rows = (
        cast(Gap, event) for (_, channel), s in sorted(streams.items()) if channel == "gaps" for event in s.events()
    )

    def after(symbol: str, channel: str, instant: int) -> int | None:
        stream = streams.get((symbol, channel))
        return None if stream is None else row_after(stream.partitions, instant)

    until = max(last_row(stream.partitions[-1]) for stream in streams.values())
    flows = {key: stream for key, stream in streams.items() if key[1] != "gaps"}
    return Recording(source, exchange, flows, Ledger(rows, after), until)


def markets_of(recording: Recording) -> list[str]:
    """Return the symbols of a recording, and of its ledger: a stream may have nothing but a gap."""
    named = {symbol for symbol, _ in (*recording.streams, *recording.ledger.streams())}
    return sorted(named)


def quality_rows(recording: Recording, symbol: str, start: int, end: int) -> Iterator[dict[str, object]]:
    """Yield the rows of one market, or of a whole connection (`ALL`), by hour and channel.

    Memory: the thin rows of two hours of every channel.

    Parameters
    ----------
    start, end
        Hours that begin in [start, end), ns.

    Raises
    ------
    CorruptError, SchemaError
        If a segment cannot be read.
    """
    sheets = {c: _Sheet(recording, symbol, c) for c in CHANNELS if (symbol, c) in recording.streams}
    hours = heapq.merge(*(sheet.hours(start, end) for sheet in sheets.values()), key=_start)
    for at, found in groupby(hours, key=_start):
        by_channel = {hour.channel: hour for hour in found}
        beside = [by_channel[c].rows for c in _QUOTED if c in by_channel and len(by_channel[c].rows)]
        for channel, hour in by_channel.items():
            row = sheets[channel].row(hour, beside)
            if start <= at < end:
                yield row
    for name, channel in recording.ledger.streams():
        if name == symbol and channel not in sheets:
            yield from _gap_rows(recording, name, channel, start, end)


def _start(hour: Hour) -> int:
    return hour.start


class _Sheet:
    """One stream, hour after hour, with what has to be known of the hours before."""

    def __init__(self, recording: Recording, symbol: str, channel: str) -> None:
        self.channel = channel
        self._head = {"exchange": recording.exchange, "symbol": symbol, "channel": channel}
        self._partitions = recording.streams[symbol, channel].partitions
        self._gaps = recording.ledger.of(symbol, channel)
        self._spans = merged(recording.ledger.spans(symbol, channel))
        # A recorder that is switched off loses nothing that it was to record.
        self._lost = merged(recording.ledger.spans(symbol, channel, but="shutdown"))
        self._since, self._until = first_row(self._partitions[0]), recording.until
        self._newest: int | None = None
        self._keys: pl.Series | None = None

    def hours(self, start: int, end: int) -> Iterator[Hour]:
        """Yield the hours in [start, end) and their neighbours; those without rows where it was recorded."""
        expected = max(start, self._since // HOUR_NS * HOUR_NS)
        empty: Hour | None = None
        for hour in hours_of(self.channel, _around(self._partitions, start, end)):
            for at in range(expected, min(hour.start, end), HOUR_NS):
                yield from self._silent(Hour(self.channel, at, hour.rows.clear(), hour.before, hour.rows.head(1)))
            yield hour
            expected = max(expected, hour.start + HOUR_NS)
            empty = Hour(self.channel, 0, hour.rows.clear(), hour.rows.tail(1), None)
        if empty is not None:
            for at in range(expected, min(end, self._until + 1), HOUR_NS):
                yield from self._silent(Hour(self.channel, at, empty.rows, empty.before, None))

    def _silent(self, hour: Hour) -> Iterator[Hour]:
        begin, end = self._recorded(hour.start)
        if left_over(begin, end, self._spans) or clipped(self._lost, begin, end) or self._gaps_in(hour.start):
            yield hour

    def _recorded(self, start: int) -> Span:
        return max(start, self._since), min(start + HOUR_NS, self._until)

    def _gaps_in(self, start: int) -> list[Interval]:
        return [gap for gap in self._gaps if start <= gap.started_at < start + HOUR_NS]

    def row(self, hour: Hour, quoted: Sequence[pl.DataFrame]) -> dict[str, object]:
        """Return the row of an hour; `quoted` are the channels with quotes beside it."""
        begin, end = self._recorded(hour.start)
        rows, gaps = hour.rows, clipped(self._spans, begin, end)
        near = pl.concat([part for part in (hour.before, rows, hour.after) if part is not None])
        late, self._newest = measures.out_of_order(rows, self._newest)
        again, self._keys = measures.repeated(rows, self._keys)
        values: Values = {
            "rows": int(rows["n"].sum()),
            "connected_s": left_over(begin, end, gaps) / 1e9,
            "verified_s": _verified(near, begin, end, gaps) / 1e9,
            "duplicates": again,
            "out_of_order": late,
            **measures.latency(rows),
        }
        if self.channel == "trades":
            values |= measures.sides(rows, quoted)
        else:
            values |= measures.stale(near["t"], begin, end, self._spans)
        if self.channel in _QUOTED:
            values |= measures.quotes(rows)
        if self.channel != "l2":
            values["outliers"] = measures.outliers(rows)
        return _made(self._head, hour.start, self._gaps_in(hour.start), gaps, values)


def _verified(near: pl.DataFrame, begin: int, end: int, gaps: list[Span]) -> int:
    """Return how much of a time the exchange's numbering covers, ns."""
    if near.is_empty():
        return 0
    start, stop = max(begin, int(near["t"][0])), min(end, int(near["t"][-1]))
    return left_over(start, stop, [*gaps, *measures.unnumbered(near)])


def _gap_rows(recording: Recording, symbol: str, channel: str, start: int, end: int) -> Iterator[dict[str, object]]:
    """Yield the gaps of what has no rows: a whole connection, or a stream that never came."""
    head = {"exchange": recording.exchange, "symbol": symbol, "channel": channel}
    hours = groupby(recording.ledger.of(symbol, channel), key=lambda gap: gap.started_at // HOUR_NS * HOUR_NS)
    for at, found in hours:
        gaps = list(found)
        spans = clipped(((g.started_at, g.ended_at) for g in gaps), at, min(at + HOUR_NS, recording.until))
        if start <= at < end:
            yield _made(head, at, gaps, spans, {"rows": 0})


def _made(
    head: dict[str, str], start: int, begun: Sequence[Interval], spans: list[Span], values: Values
) -> dict[str, object]:
    causes = Counter(gap.reason for gap in begun)
    return {
        "hour_start": start,
        "hour": utc(start).hour,
        **head,
        "gaps": len(begun),
        **{f"gaps_{reason}": causes[reason] for reason in GAP_REASONS},
        "gap_s": length(spans) / 1e9,
        "missed": sum(gap.missed or 0 for gap in begun),
        **values,
    }


def _around(partitions: Sequence[Partition], start: int, end: int) -> Sequence[Partition]:
    """Return the partitions in [start, end), and one more on either side."""
    first = next((n for n, part in enumerate(partitions) if part.end > utc(start)), len(partitions))
    last = next((n for n, part in enumerate(partitions) if part.start >= utc(end)), len(partitions))
    return partitions[max(0, first - 1) : last + 1]
