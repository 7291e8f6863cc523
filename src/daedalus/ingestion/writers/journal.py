"""The journal: one append-only file for all channels and symbols, the point from which rows are durable.

A journal is a run of frames. A frame is a header (magic, kind, channel, lengths, sequence, CRC32 of header and
payload) and a payload, compressed whole with zstd: buffer by buffer, as Arrow does it, takes a fifth to twice more
bytes. The first frame (HEAD) describes the journal: its id, how its rows are to be sealed, the Arrow schema of every
channel. Then come BATCH frames, one Arrow IPC record batch each; a flush is one write of several of them. END says that
the journal was left in order: one without it was cut off by a crash. After END nothing follows.

Reading stops at the first frame that is not whole and true, so damage costs what comes after it and nothing before.
"""

import base64
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import IO

import msgspec
import pyarrow as pa

from daedalus.shared.clock import utc
from daedalus.shared.errors import CorruptError
from daedalus.shared.schemas import CHANNELS, arrow_schema
from daedalus.storage.local import sync_dir

MAGIC = b"DJL1"
SUFFIX = ".journal"
#: A longer frame cannot be ours: a damaged length must not make a reader ask for gigabytes.
FRAME_BYTES_MAX = 1 << 30
_PREFIX = struct.Struct("<4sBBHIIQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _PREFIX.size + _CRC.size


class Kind(IntEnum):
    """What a frame holds."""

    HEAD = 1
    BATCH = 2
    END = 3


class SealOptions(msgspec.Struct, frozen=True):
    """How a journal's rows become segments. They stand in the journal, so that sealing repeats into the same files."""

    partition_by: tuple[str, ...]
    segment_bytes_max: int
    compression: str
    compression_level: int
    format: str = "parquet"


class Head(msgspec.Struct, frozen=True):
    """The first frame of a journal.

    `streams` are the (channel, exchange, symbol) that were being recorded when it began and `last_collected_at` the
    newest row before it (ns), so that a crash right after a rotation is still an interval of the right streams.
    """

    journal: str
    source: str
    created_at: int
    writer_version: str
    seal: SealOptions
    streams: tuple[tuple[str, str, str], ...] = ()
    last_collected_at: int | None = None
    channels: tuple[tuple[str, int, str], ...] = ()


def journal_id(created_at: int, nonce: int) -> str:
    """Return an id that sorts by time and cannot collide: the creation time to the ns and 32 random bits.

    Examples
    --------
    >>> journal_id(1_750_341_600_123_456_789, 0xBEEF)
    '20250619T140000123456789Z-0000beef'
    """
    return f"{utc(created_at):%Y%m%dT%H%M%S}{created_at % 1_000_000_000:09d}Z-{nonce & 0xFFFFFFFF:08x}"


def _frame(kind: Kind, channel: int, sequence: int, raw: bytes | memoryview) -> list[bytes]:
    payload = pa.Codec("zstd", compression_level=1).compress(raw, asbytes=True)
    prefix = _PREFIX.pack(MAGIC, kind, channel, 0, len(payload), len(raw), sequence)
    return [prefix, _CRC.pack(zlib.crc32(payload, zlib.crc32(prefix))), payload]


class JournalWriter:
    """Appends to one journal. Not thread-safe: one flush at a time.

    Attributes
    ----------
    path, head
        The file and its first frame.
    bytes_written
        Its size up to the last whole flush.

    Raises
    ------
    FileExistsError
        If a journal of that id exists: it is never appended to.
    """

    def __init__(self, folder: Path, head: Head) -> None:
        channels = tuple(CHANNELS)
        schemas = [base64.b64encode(arrow_schema(c).serialize()).decode() for c in channels]
        versions = [CHANNELS[c].version for c in channels]
        self.head = msgspec.structs.replace(head, channels=tuple(zip(channels, versions, schemas, strict=True)))
        self.path = folder / f"{head.journal}{SUFFIX}"
        self.bytes_written = 0
        self._sequence = 0
        self._torn = False
        self._index = {channel: i for i, channel in enumerate(channels)}
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        try:
            self._append(_frame(Kind.HEAD, 0, 0, msgspec.json.encode(self.head)))
            sync_dir(folder)
        except BaseException:
            os.close(self._fd)
            self.path.unlink(missing_ok=True)
            raise

    @property
    def is_empty(self) -> bool:
        """Whether no row was appended."""
        return self._sequence == 0

    def append(self, batches: Sequence[tuple[str, pa.RecordBatch]]) -> None:
        """Write (channel, rows) batches as one flush and wait until they are on the device.

        Raises
        ------
        OSError
            When the disk refuses. Nothing of the flush counts as written; the same journal can be tried again.
        """
        parts: list[bytes] = []
        for number, (channel, batch) in enumerate(batches, self._sequence + 1):
            parts += _frame(Kind.BATCH, self._index[channel], number, memoryview(batch.serialize()))
        self._append(parts)
        self._sequence += len(batches)

    def close(self, *, ended: bool = True) -> None:
        """Close the file; with `ended`, mark it first as left in order."""
        if self._fd < 0:
            return
        try:
            if ended:
                self._append(_frame(Kind.END, 0, self._sequence + 1, b""))
        finally:
            os.close(self._fd)
            self._fd = -1

    def _append(self, parts: list[bytes]) -> None:
        if self._torn:
            os.ftruncate(self._fd, self.bytes_written)
        self._torn = True
        data = memoryview(b"".join(parts))
        size = len(data)
        while data:
            data = data[os.write(self._fd, data) :]
        os.fdatasync(self._fd)
        self.bytes_written += size
        self._torn = False


class JournalReader:
    """Reads a journal to its last whole frame.

    Attributes
    ----------
    head
        The first frame.
    damage
        None, or why reading stopped before the end of the file; known after `frames` was read through.
    ended
        Whether the END frame was met; known after `frames` was read through.

    Raises
    ------
    CorruptError
        If the first frame is not whole: then no row of it is readable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended = False
        self.damage: str | None = None
        with path.open("rb") as file:
            first = self._read(file)
        if first is None or first[0] is not Kind.HEAD:
            raise CorruptError(f"{path}: the journal's first frame is damaged, none of its rows can be read")
        self.head = msgspec.json.decode(first[3], type=Head)
        self._schemas = [
            (name, pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))) for name, _, text in self.head.channels
        ]

    def frames(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield (channel, rows) of every whole BATCH frame, in the order written."""
        self.damage, self.ended, expected = None, False, 0
        with self.path.open("rb") as file:
            while (frame := self._read(file)) is not None:
                kind, channel, sequence, payload = frame
                if sequence != expected:
                    self.damage = f"frame {sequence} where {expected} was due"
                    return
                expected += 1
                if kind is Kind.END:
                    self.ended = True
                    return
                if kind is Kind.BATCH:
                    name, schema = self._schemas[channel]
                    yield name, pa.ipc.read_record_batch(pa.py_buffer(payload), schema)

    def _read(self, file: IO[bytes]) -> tuple[Kind, int, int, bytes] | None:
        """Return the next frame as (kind, channel, sequence, payload), or None with `damage` set unless at the end."""
        offset = file.tell()
        header = file.read(HEADER_BYTES)
        if not header:
            return None
        self.damage = f"the frame at byte {offset} of {self.path.name} is not whole"
        if len(header) < HEADER_BYTES:
            return None
        magic, kind, channel, _, length, raw_length, sequence = _PREFIX.unpack_from(header)
        (crc,) = _CRC.unpack_from(header, _PREFIX.size)
        if magic != MAGIC or max(length, raw_length) > FRAME_BYTES_MAX:
            return None
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload, zlib.crc32(header[: _PREFIX.size])) != crc:
            return None
        self.damage = None
        return Kind(kind), channel, sequence, pa.decompress(payload, raw_length, codec="zstd", asbytes=True)
