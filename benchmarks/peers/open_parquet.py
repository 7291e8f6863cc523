"""One open ParquetWriter a partition, a row group for every 100 records: whatever is not closed has no footer."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.peers.base import FLUSH_ROWS, Partitions
from daedalus.shared.events import Event


class OpenParquetPeer:
    """Until `close` nothing can be read back, so there is nothing that `sync` could make durable."""

    def __init__(self, base: Path) -> None:
        self._partitions = Partitions(base)
        self._writers: dict[Path, pq.ParquetWriter] = {}

    def write(self, events: Sequence[Event]) -> None:
        for event in events:
            folder = self._partitions.add(event)
            if len(self._partitions.rows[folder]) >= FLUSH_ROWS:
                self._flush(folder)

    def sync(self) -> None:
        for folder in list(self._partitions.rows):
            self._flush(folder)

    def close(self) -> None:
        self.sync()
        for writer in self._writers.values():
            writer.close()

    def _flush(self, folder: Path) -> None:
        table = self._partitions.table(folder)
        if folder not in self._writers:
            self._writers[folder] = pq.ParquetWriter(folder / "data.parquet", table.schema, compression="zstd")
        self._writers[folder].write_table(table)
