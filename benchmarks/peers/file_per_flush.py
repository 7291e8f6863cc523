"""One small Parquet file a partition for every flush."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.peers.base import FLUSH_ROWS, Partitions
from daedalus.shared.events import Event
from daedalus.storage.local import publish


class FilePerFlushPeer:
    """Durable when synced: file and directory."""

    def __init__(self, base: Path) -> None:
        self._partitions = Partitions(base)
        self._count = 0

    def write(self, events: Sequence[Event]) -> None:
        for event in events:
            folder = self._partitions.add(event)
            if len(self._partitions.rows[folder]) >= FLUSH_ROWS:
                self._flush(folder, durable=False)

    def sync(self) -> None:
        for folder in list(self._partitions.rows):
            self._flush(folder, durable=True)

    def close(self) -> None:
        for folder in list(self._partitions.rows):
            self._flush(folder, durable=False)

    def _flush(self, folder: Path, *, durable: bool) -> None:
        self._count += 1
        temp, final = folder / f"{self._count}.tmp", folder / f"{self._count:09d}.parquet"
        pq.write_table(self._partitions.table(folder), temp, compression="zstd")
        if durable:
            publish(temp, final)
        else:
            temp.rename(final)
