"""Segment files: rows of one directory in, whole and synced files out, in the format that the journal asks for."""

from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

import msgspec
import pyarrow as pa

import daedalus
from daedalus.ingestion.writers.encoding import ROW_GROUP_ROWS
from daedalus.ingestion.writers.grouping import Group, by_directory
from daedalus.ingestion.writers.journal import Head
from daedalus.ingestion.writers.ndjson_segment import NdjsonEncoder
from daedalus.ingestion.writers.parquet_segment import ParquetEncoder
from daedalus.shared.errors import AlreadyExistsError, SchemaError
from daedalus.shared.partitioning import PartitionKey
from daedalus.shared.schemas import CHANNELS, PARTITION_DTYPES, arrow_type
from daedalus.shared.segment import SegmentFooter, SegmentName
from daedalus.storage.local import TEMP_SUFFIX, publish

#: Rows are put in order and encoded when they reach this size in memory, so that no partition needs more.
PIECE_BYTES_MAX = 40 << 20


class Encoder(Protocol):
    """Encodes the rows of one segment into a file: constructed over it, given rows in order, finished."""

    def __init__(self, sink: pa.NativeFile, schema: pa.Schema, compression: str, level: int) -> None: ...

    @staticmethod
    def suffix(compression: str) -> str:
        """Return how the names of such files end, without the first dot."""

    def write(self, rows: pa.Table) -> None:
        """Encode rows; afterwards they have reached the sink."""

    def finish(self, footer: SegmentFooter) -> None:
        """Write what ends the file. The sink stays open."""

    def close(self) -> None:
        """Let go of the file; without `finish` it is not whole. Before the sink is closed."""

    @staticmethod
    def publish_beside(temp: Path, final: Path, footer: SegmentFooter) -> None:
        """Publish what belongs beside the finished file `temp`, just before it is published as `final`. Repeatable."""


#: `SealOptions.format` to the encoder.
ENCODERS: dict[str, type[Encoder]] = {"parquet": ParquetEncoder, "ndjson": NdjsonEncoder}


class SealedSegment(msgspec.Struct):
    """One published file: its path under the ready directory, rows and bytes."""

    path: str
    rows: int
    bytes: int


class SegmentFiles:
    """Collects the rows of a pass, puts them in order by directory, and publishes them.

    Row numbers count within a directory over the whole journal. Rows that an earlier, interrupted run already published
    are passed over.
    """

    def __init__(self, head: Head, ready: Path, temporary: Path) -> None:
        self.sealed: list[SealedSegment] = []
        self._head = head
        self._ready = ready
        self._temporary = temporary
        self._held: dict[str, list[pa.RecordBatch]] = {}
        self._held_bytes = 0
        self._next_row: dict[Group, int] = {}
        self._temp_count = 0
        for left in temporary.glob(f"{head.journal}.*{TEMP_SUFFIX}"):
            left.unlink()

    def add(self, channel: str, rows: pa.RecordBatch) -> None:
        """Take rows of a channel, in arrival order."""
        self._held.setdefault(channel, []).append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes > PIECE_BYTES_MAX:
            self.finish()

    def finish(self) -> None:
        """Publish what was taken and forget it."""
        while self._held:
            # One table a channel: thousands of flushes in hundreds of markets would be millions of tiny slices.
            channel, batches = self._held.popitem()
            table = pa.Table.from_batches(batches)
            del batches
            for group, key, rows in by_directory(channel, table, self._head.seal.partition_by):
                self._write(group, key, rows)
        self._held_bytes = 0

    def _write(self, group: Group, key: PartitionKey, table: pa.Table) -> None:
        symbol = table["symbol"][0].as_py()
        first = self._next_row.get(group, 0)
        self._next_row[group] = end = first + table.num_rows
        folder = self._ready / group.channel / group.path
        done = self._already(folder, first, end)
        table = self._partitioned(table.slice(done - first), key)
        while table.num_rows:
            rows = self._write_file(folder, table, group.channel, symbol, done)
            table, done = table.slice(rows), done + rows

    def _already(self, folder: Path, first: int, end: int) -> int:
        """Return the first row of [first, end) that no published segment of this journal holds; note those that do.

        In whatever format: NDJSON may have been converted to Parquet in the meantime.
        """
        covered = first
        for path in sorted(folder.glob(f"segment_{self._head.journal}_*")):
            try:
                name = SegmentName.parse(path.name)
            except SchemaError:
                continue
            if name.first_row <= covered <= name.last_row:
                self._note(path, name.last_row - name.first_row + 1, path.stat().st_size)
                covered = name.last_row + 1
        return min(covered, end)

    def _note(self, path: Path, rows: int, size: int) -> None:
        self.sealed.append(SealedSegment(str(path.relative_to(self._ready)), rows, size))

    def _partitioned(self, table: pa.Table, key: PartitionKey) -> pa.Table:
        """Set the partition columns to the values in the path."""
        values = key.values(self._head.seal.partition_by)
        for name, value in values.items():
            column = pa.repeat(pa.scalar(value, arrow_type(PARTITION_DTYPES[name])), table.num_rows)
            at = table.schema.get_field_index(name)
            table = table.append_column(name, column) if at < 0 else table.set_column(at, name, column)
        return table

    def _write_file(self, folder: Path, table: pa.Table, channel: str, symbol: str, first: int) -> int:
        """Write one file of at most the segment's size (by whole row groups); return the rows it took."""
        self._temp_count += 1
        temp = self._temporary / f"{self._head.journal}.{self._temp_count}{TEMP_SUFFIX}"
        encoding, compression = ENCODERS[self._head.seal.format], self._head.seal.compression
        try:
            footer = self._encode(temp, table, channel, symbol)
            name = SegmentName(self._head.journal, first, first + footer.rows - 1)
            final, size = folder / name.file_name(encoding.suffix(compression)), temp.stat().st_size
            encoding.publish_beside(temp, final, footer)
            with suppress(AlreadyExistsError):
                publish(temp, final)
        finally:
            # On a full disk a half-written file would take the room that the recorder needs.
            temp.unlink(missing_ok=True)
        self._note(final, footer.rows, size)
        return footer.rows

    def _encode(self, temp: Path, table: pa.Table, channel: str, symbol: str) -> SegmentFooter:
        """Encode as many row groups as a segment may have; return what they are."""
        seal, rows = self._head.seal, 0
        encoding = ENCODERS[seal.format]
        with (
            pa.OSFile(str(temp), "wb") as sink,
            closing(encoding(sink, table.schema, seal.compression, seal.compression_level)) as encoder,
        ):
            while rows < table.num_rows and (rows == 0 or sink.tell() < seal.segment_bytes_max):
                encoder.write(table.slice(rows, ROW_GROUP_ROWS))
                rows = min(rows + ROW_GROUP_ROWS, table.num_rows)
            footer = self._footer(table.slice(0, rows), channel, symbol)
            encoder.finish(footer)
        return footer

    def _footer(self, table: pa.Table, channel: str, symbol: str) -> SegmentFooter:
        versions = {name: version for name, version, _ in self._head.channels}
        return SegmentFooter(
            channel=channel,
            schema_version=versions.get(channel, CHANNELS[channel].version),
            writer_version=daedalus.__version__,
            journal=self._head.journal,
            first_collected_at=table["collected_at"][0].as_py(),
            last_collected_at=table["collected_at"][-1].as_py(),
            rows=table.num_rows,
            symbol=symbol,
        )
