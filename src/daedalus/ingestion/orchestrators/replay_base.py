"""What replays of recorded frames have in common: the contract, and what the ledger says of ends and losses."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.orchestrators.recorded_frames import ConnectionSpan, FrameRow
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.events import Event, Gap

#: How long two connections may hand over, and doubles of the old one are looked for: more than a rotation takes.
HANDOVER_NS_MAX = 180 * NS_PER_SECOND
#: With these a recorder's process ended: the next one knew nothing of what was before.
ENDS = ("shutdown", "crash")
#: Rows of these are whole intervals, without a connection that ended.
DROPS = ("backpressure", "disk_full")
#: How the row of a gap's end tells of connections that failed meanwhile.
_FAILURES = re.compile(r"; then (\d+) more failures, the last: (.*)", re.DOTALL)


class FrameReplay(Protocol):
    """Turns recorded frames, and what the ledger says of them, into events.

    First everything is prepared, segment by segment, then all rows come by receive clock.
    """

    def prepare(self, sent: Iterable[FrameRow], spans: Iterable[ConnectionSpan]) -> None:
        """Learn what a segment says of connections: what was sent, and when their first and last frames came."""

    def prepare_gaps(self, rows: Iterable[Gap]) -> None:
        """Learn what a segment of the ledger says."""

    def frame(self, row: FrameRow) -> Sequence[Event]:
        """Return the events of a frame."""

    def gap(self, row: Gap) -> Sequence[Event]:
        """Return what a row of the ledger says of the channels that are made of frames."""

    def close(self) -> None:
        """Let go of everything."""


def like(row: Gap, stream: Stream) -> Gap:
    """Return the same row for another stream."""
    symbol, channel = stream
    return msgspec.structs.replace(row, symbol=symbol, channel=channel, missed=None)


def failures(row: Gap) -> tuple[int, str]:
    """Return how many connections failed before a gap ended, as the row of its end tells, and what the last said."""
    match = _FAILURES.search(row.detail or "")
    return (int(match[1]), match[2]) if match else (0, "")


def open_like(gaps: OpenGaps, streams: Iterable[Stream], row: Gap) -> list[Event]:
    """Open the gap of a row on these streams; return the rows of those that had none open."""
    detail, missed = row.detail or "", row.missed
    opened = gaps.open(
        streams, since=row.started_at, now=row.collected_at, reason=row.reason, missed=missed, detail=detail
    )
    return list(opened)
