"""The gap ledger of one source: each gap once, with its end."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from daedalus.lake.quality.spans import Span
from daedalus.shared.events import ALL, Gap
from daedalus.shared.partitioning import sanitize_partition_value

FOREVER = 2**63 - 1


@dataclass(frozen=True)
class Interval:
    """One gap, of a stream or (`ALL`) of a whole connection. Times in ns; `ended_at` is `FOREVER` while it is open."""

    exchange: str
    symbol: str
    channel: str
    started_at: int
    ended_at: int
    reason: str
    missed: int | None
    detail: str | None

    @property
    def is_frame(self) -> bool:
        """Return whether it is a frame of no channel that nobody could read: its streams say what it cost."""
        return self.channel == ALL and self.reason == "parse_error"


class Ledger:
    """The gaps of one exchange.

    Parameters
    ----------
    rows
        Of channel `gaps`. A row that is open and the row of its end are one gap.
    next_row
        Returns when the first row of a stream (symbol, channel) after an instant came, None if there is none: there an
        open gap ends.
    """

    def __init__(self, rows: Iterable[Gap], next_row: Callable[[str, str, int], int | None]) -> None:
        by_start: dict[tuple[str, str, int, str], Gap] = {}
        for row in rows:
            key = sanitize_partition_value(row.symbol), row.channel, row.started_at, row.reason
            known = by_start.get(key)
            if known is None or (row.ended_at or 0) >= (known.ended_at or 0):
                by_start[key] = row
        self._next_row = next_row
        self._streams: dict[tuple[str, str], list[Interval]] = {}
        for (symbol, channel, start, reason), row in sorted(by_start.items()):
            end = self._end(symbol, channel, row)
            gap = Interval(row.exchange, symbol, channel, start, end, reason, row.missed, row.detail)
            self._streams.setdefault((symbol, channel), []).append(gap)

    def streams(self) -> list[tuple[str, str]]:
        """Return what the ledger names, as (symbol, channel)."""
        return sorted(self._streams)

    def of(self, symbol: str, channel: str) -> list[Interval]:
        """Return the gaps that name a stream itself, by start."""
        return sorted(self._streams.get((symbol, channel), []), key=lambda gap: gap.started_at)

    def spans(self, symbol: str, channel: str, *, but: str | None = None) -> list[Span]:
        """Return when rows of a stream may be missing, for its own gaps and those of its connection.

        Parameters
        ----------
        but
            A cause whose gaps are left out.
        """
        names = {(symbol, channel), (symbol, ALL), (ALL, channel), (ALL, ALL)}
        found = [gap for name in names for gap in self._streams.get(name, []) if not gap.is_frame]
        return [(gap.started_at, self._closed(gap, symbol, channel)) for gap in found if gap.reason != but]

    def _end(self, symbol: str, channel: str, row: Gap) -> int:
        if row.ended_at is not None:
            return row.ended_at
        after = None if ALL in (symbol, channel) else self._next_row(symbol, channel, row.started_at)
        return FOREVER if after is None else after

    def _closed(self, gap: Interval, symbol: str, channel: str) -> int:
        """Return where a gap ends for one stream: one of a connection that is open, at its next row."""
        if gap.ended_at != FOREVER or ALL not in (gap.symbol, gap.channel):
            return gap.ended_at
        after = self._next_row(symbol, channel, gap.started_at)
        return FOREVER if after is None else after
