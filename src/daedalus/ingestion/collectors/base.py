"""What every collector promises, and the ledger of what it misses.

Beside it: `pace` (backoff, token buckets of each host), `websocket` (a session and its errors), `watchdog` (silent
streams), `skew` (the exchange's clock), `rotation` (a new connection before the old one is cut).
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Protocol, Self

import msgspec

from daedalus.ingestion.collectors.pace import Backoff, TokenBucket
from daedalus.shared.events import Event, Gap

__all__ = ["Backoff", "Collector", "OpenGaps", "Rotatable", "Stream", "TokenBucket", "ended"]

Stream = tuple[str, str]
"""(symbol, channel)."""


class Collector(Protocol):
    """One connection to an exchange.

    `events` connects, yields events as they arrive, those of a frame together, and raises when the connection ends: it
    never connects again by itself. It may be called again, and then goes on with what it knows (open gaps, trades
    seen).

    Raises
    ------
    TransientCollectorError
        From `events`: connecting again helps.
    RefusedError
        From `events`: it does not.
    """

    name: str
    exchange: str

    @property
    def gaps(self) -> "OpenGaps":
        """What is missing and has not ended."""

    def events(self) -> AsyncIterator[Sequence[Event]]:
        """Connect and yield the events of what comes, in arrival order."""

    def streams(self) -> Iterable[Stream]:
        """Return the (symbol, channel) pairs that it records."""

    def resync(self, symbols: Iterable[str]) -> None:
        """Have fresh snapshots sent for symbols whose recorded rows have a hole."""


class Rotatable(Collector, Protocol):
    """What a collector may offer so that `rotation` need not guess. Both are optional, apart from each other."""

    def live(self) -> Collection[Stream]:
        """Return the streams that its present connection delivers: books with their snapshot, flows acknowledged.

        Without it, flows are believed to come some seconds after the first event.
        """

    def inherit(self, other: Self) -> None:
        """Know what a predecessor has recorded, so that past trades which that one missed are recorded as such."""


class OpenGaps:
    """The intervals of one collector in which something is missing and whose end is not known yet.

    Opening one gives an open ledger row at once, so that it outlives a crash; closing gives the same row with its end.
    Bounded by the number of streams.
    """

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._open: dict[Stream, Gap] = {}
        self._notes: dict[Stream, tuple[int, str]] = {}

    def open(
        self,
        streams: Iterable[Stream],
        *,
        since: int,
        now: int,
        reason: str,
        missed: int | None = None,
        detail: str = "",
    ) -> list[Gap]:
        """Open a gap on each stream that has none open; return the rows. Times in ns."""
        rows = []
        for symbol, channel in streams:
            if (symbol, channel) in self._open:
                continue
            row = Gap(
                collected_at=now,
                exchange=self._exchange,
                symbol=symbol,
                channel=channel,
                started_at=min(since, now),
                ended_at=None,
                reason=reason,
                missed=missed,
                detail=detail or None,
            )
            self._open[symbol, channel] = row
            rows.append(row)
        return rows

    def note(self, streams: Iterable[Stream], detail: str) -> None:
        """Remember why gaps that are open stay open; the rows of their ends will tell."""
        for stream in streams:
            if stream in self._open:
                self._notes[stream] = (self._notes.get(stream, (0, ""))[0] + 1, detail)

    def close(self, streams: Iterable[Stream], now: int) -> list[Gap]:
        """Close the gaps that are open on these streams; return their rows with the end."""
        rows = []
        for stream in streams:
            gap = self._open.pop(stream, None)
            if gap is not None:
                count, last = self._notes.pop(stream, (0, ""))
                more = f"; then {count} more failures, the last: {last}" if count else ""
                rows.append(ended(gap, now, (gap.detail or "") + more or None))
        return rows

    def move(self, streams: Iterable[Stream], to: "OpenGaps") -> None:
        """Let the gaps of another collector go on with those that are open here: it is to bring the streams."""
        for stream in streams:
            gap, note = self._open.pop(stream, None), self._notes.pop(stream, None)
            if gap is not None and to._open.setdefault(stream, gap) is gap and note is not None:
                to._notes[stream] = note

    def __contains__(self, stream: Stream) -> bool:
        """Tell whether a stream has a gap open."""
        return stream in self._open

    def __bool__(self) -> bool:
        """Tell whether any gap is open."""
        return bool(self._open)


def ended(gap: Gap, now: int, detail: str | None = None) -> Gap:
    """Return an open gap with its end, and with another detail if one is given."""
    return msgspec.structs.replace(gap, collected_at=now, ended_at=now, detail=detail or gap.detail)
