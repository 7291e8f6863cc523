"""What the peers share: a row as a dict, and its directory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from daedalus.shared.clock import utc
from daedalus.shared.events import BookSnapshot, Event, channel_of, unpack_levels
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PartitionKey
from daedalus.shared.schemas import CHANNELS, arrow_schema

COLUMNS = {channel: [c.name for c in schema.columns] for channel, schema in CHANNELS.items()}
#: Records of one partition that are written at once.
FLUSH_ROWS = 100


class Peer(Protocol):
    """A writer that is whole after `close`. `sync` makes what was written durable, where that is possible."""

    def write(self, events: Sequence[Event]) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


def row_of(event: Event) -> dict[str, Any]:
    """A record as a program would hold it."""
    row = {name: getattr(event, name, None) for name in COLUMNS[channel_of(event)]}
    row["capture_ts"] = utc(event.collected_at)
    row["timestamp"] = None if row["timestamp"] is None else utc(row["timestamp"] * 1000)
    if isinstance(event, BookSnapshot):
        for side in ("bids", "asks"):
            row[side] = [{"price": price, "size": size} for price, size in unpack_levels(row[side])]
    return row


class Partitions:
    """Rows by directory."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.rows: dict[Path, list[dict[str, Any]]] = {}
        self._keys: dict[tuple[str, str, str, int], tuple[Path, dict[str, Any]]] = {}

    def add(self, event: Event) -> Path:
        """Take an event; return its directory."""
        channel = channel_of(event)
        short = channel, event.exchange, event.symbol, event.collected_at // 3_600_000_000_000
        if short not in self._keys:
            key = PartitionKey.of(*short[1:3], event.collected_at)
            folder = self.base / channel / key.path()
            folder.mkdir(parents=True, exist_ok=True)
            self._keys[short] = folder, key.values()
        folder, values = self._keys[short]
        self.rows.setdefault(folder, []).append({**row_of(event), **values})
        return folder

    def table(self, folder: Path) -> pa.Table:
        """Return what was added to a directory, and forget it."""
        channel = folder.relative_to(self.base).parts[0]
        return pa.Table.from_pylist(self.rows.pop(folder), arrow_schema(channel, tuple(DEFAULT_PARTITION_COLUMNS)))
