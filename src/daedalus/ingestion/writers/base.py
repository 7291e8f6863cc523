"""What every writer promises, and its building blocks: events in, durable rows out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from daedalus.shared.events import Event


@dataclass
class WriterStats:
    """Counts since the start, for the statistics line. `rows` is per channel; bytes are on disk."""

    rows: dict[str, int] = field(default_factory=dict)
    flushes: int = 0
    journal_bytes: int = 0
    segments: int = 0
    segment_bytes: int = 0


class Writer(Protocol):
    """Takes events in arrival order and makes them durable, flush by flush.

    `write` only buffers. What `flush` returned for is on the device and survives `kill -9` and a power cut.
    `close` seals everything. All three are awaited by one task only.
    """

    stats: WriterStats

    async def start(self) -> None:
        """Take the directory for this process alone and finish what an earlier one left behind."""

    async def write(self, events: Sequence[Event]) -> None:
        """Buffer events. Events that are no rows of any channel are an error."""

    async def flush(self) -> None:
        """Make all buffered rows durable; do nothing when there are none."""

    async def close(self) -> None:
        """Flush, seal everything and let go of the directory. Idempotent."""
