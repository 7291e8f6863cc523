"""What every writer promises, and its building blocks: events in, durable rows out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from daedalus.shared.events import Event
from daedalus.shared.segment import RAW_TIER

Stream = tuple[str, str, str]
"""(channel, exchange, symbol), as the exchange spells it."""


@dataclass(frozen=True)
class RawPaths:
    """Where one recorder's bronze lives: journals in `active`, segments in `ready`, unreadable ones in `quarantine`.

    Parameters
    ----------
    base
        The lake's directory.
    source
        The recorder's name.
    tier
        The raw tier's directory.
    """

    base: Path
    source: str
    tier: str = RAW_TIER

    @property
    def active(self) -> Path:
        """The directory of journals and unfinished files."""
        return self.base / self.tier / "active" / self.source

    @property
    def ready(self) -> Path:
        """The directory of segments."""
        return self.base / self.tier / "ready" / self.source

    @property
    def quarantine(self) -> Path:
        """The directory of unreadable journals."""
        return self.base / self.tier / "quarantine" / self.source

    def arguments(self) -> list[str]:
        """Return what `RawPaths` is made from, for a command line."""
        return [str(self.base), self.source, self.tier]


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

    `write` only buffers; an event that no column takes becomes an entry of the gap ledger. What `flush` returned for
    is on the device and survives `kill -9` and a power cut. `close` seals everything. All are awaited by one task.
    """

    stats: WriterStats

    @property
    def acknowledged(self) -> dict[Stream, int]:
        """Return per stream the receive clock (ns) up to which its rows are on the device."""

    async def start(self) -> None:
        """Take the directory for this process alone and finish what an earlier one left behind."""

    async def write(self, events: Sequence[Event]) -> None:
        """Buffer events in arrival order."""

    @property
    def buffered_bytes(self) -> int:
        """Return how much memory the rows take that are not durable yet."""

    async def flush(self) -> None:
        """Make all buffered rows durable; do nothing when there are none."""

    async def close(self) -> None:
        """Flush, seal everything and let go of the directory. Idempotent."""
