"""One open file of JSON lines a partition."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import orjson

from benchmarks.peers.base import Partitions
from daedalus.shared.events import Event


class NdjsonPeer:
    """Lines go to the system at once; `sync` waits for the device, file by file."""

    def __init__(self, base: Path) -> None:
        self._partitions = Partitions(base)
        self._files: dict[Path, IO[bytes]] = {}

    def write(self, events: Sequence[Event]) -> None:
        for event in events:
            folder = self._partitions.add(event)
            if folder not in self._files:
                self._files[folder] = (folder / "data.ndjson").open("ab", buffering=1 << 16)
            for row in self._partitions.rows.pop(folder):
                for side in ("bids", "asks"):
                    if side in row:
                        row[side] = [(level["price"], level["size"]) for level in row[side]]
                self._files[folder].write(orjson.dumps(row) + b"\n")

    def sync(self) -> None:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        for file in self._files.values():
            file.close()
