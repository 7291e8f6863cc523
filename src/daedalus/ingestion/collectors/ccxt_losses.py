"""Ledger rows of losses that a collector knows of: what is missing on which streams, and frames that cannot be read."""

from collections.abc import Iterable
from dataclasses import dataclass

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.events import ALL, Gap

#: Channels whose rows after a loss are wrong until a fresh snapshot.
BOOK_CHANNELS = ("orderbook", "l2")
#: Frames that fail alike within this time share a ledger row, so that a fault in every frame cannot flood the ledger.
SHARE_NS = NS_PER_SECOND
#: Kinds of failures counted apart at a time.
KINDS_MAX = 100


@dataclass
class _Failures:
    """Frames that failed alike."""

    first_ns: int
    last_ns: int
    streams: tuple[Stream, ...]
    detail: str
    waiting: int = 0


class Losses:
    """Makes rows of losses. Books stay open until their next snapshots, flows end with the loss.

    Parameters
    ----------
    exchange
        The exchange's name in the lake.
    gaps
        What is open, over all connections of a collector.
    """

    def __init__(self, exchange: str, gaps: OpenGaps) -> None:
        self._exchange, self._gaps = exchange, gaps
        self._failures: dict[str, _Failures] = {}

    def rows(
        self,
        streams: Iterable[Stream],
        *,
        since: int,
        now: int,
        reason: str,
        missed: int | None = None,
        detail: str = "",
    ) -> list[Gap]:
        """Enter a loss on these streams; return its rows. Times in ns."""
        every = list(streams)
        books = [s for s in every if s[1] in BOOK_CHANNELS]
        opened = self._gaps.open(books, since=since, now=now, reason=reason, missed=missed, detail=detail)
        return opened + [
            self._row(stream, since, now, reason, missed, detail) for stream in every if stream[1] not in BOOK_CHANNELS
        ]

    def ended(self, streams: Iterable[Stream], *, since: int, now: int, reason: str, detail: str) -> list[Gap]:
        """Return the rows of losses that are over, books' too: the streams are whole from now on."""
        return [self._row(stream, since, now, reason, None, detail) for stream in streams]

    def failed(self, kind: str, detail: str, streams: Iterable[Stream], now: int) -> list[Gap]:
        """Enter a frame that could not be read; return rows unless like ones were returned within `SHARE_NS`.

        Parameters
        ----------
        kind
            What went wrong; failures of one kind share rows.
        streams
            Whom the frame was about, as far as one can tell; the frame itself is entered for all.
        """
        known = self._failures.get(kind)
        if known is None or now - known.first_ns >= SHARE_NS:
            rows = self.due(now)
            while len(self._failures) >= KINDS_MAX:
                del self._failures[next(iter(self._failures))]
            made = self._failures[kind] = _Failures(now, now, ((ALL, ALL), *streams), detail)
            return [*rows, *self._failure_rows(made, 1)]
        known.last_ns, known.waiting = now, known.waiting + 1
        known.streams = tuple(dict.fromkeys((*known.streams, *streams)))
        return []

    def due(self, now: float) -> list[Gap]:
        """Return the rows of failures that waited for the end of their second; of all that wait, at infinity."""
        rows: list[Gap] = []
        for kind, failures in list(self._failures.items()):
            if now - failures.first_ns < SHARE_NS:
                continue
            del self._failures[kind]
            if failures.waiting:
                rows += self._failure_rows(failures, failures.waiting)
        return rows

    def _failure_rows(self, failures: _Failures, missed: int) -> list[Gap]:
        since, now = failures.first_ns, failures.last_ns
        flows = [s for s in failures.streams if s[1] not in BOOK_CHANNELS]
        return [self._row(stream, since, now, "parse_error", missed, failures.detail) for stream in flows]

    def _row(self, stream: Stream, since: int, now: int, reason: str, missed: int | None, detail: str) -> Gap:
        return Gap(
            collected_at=now,
            exchange=self._exchange,
            symbol=stream[0],
            channel=stream[1],
            started_at=min(since, now),
            ended_at=now,
            reason=reason,
            missed=missed,
            detail=detail or None,
        )
