"""NDJSON segments to the Parquet segments that the recorder would have written: same place, same rows, same footer.

One segment at a time, in memory bounded by a row group. The order of steps is what makes a crash harmless: write the
Parquet file under a temporary name, read it back and compare every value, publish it, and only then remove the lines.
A run that finds both files compares them and goes on from there, so that nothing is ever there in neither form, and
nothing twice in one.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import daedalus
from daedalus.ingestion.writers.encoding import ROW_GROUP_ROWS
from daedalus.ingestion.writers.ndjson_segment import ZSTD_SUFFIX, read_rows, read_sidecar, sidecar_path
from daedalus.ingestion.writers.parquet_segment import ParquetEncoder
from daedalus.ingestion.writers.rows_digest import RowsDigest
from daedalus.ingestion.writers.segment_file import PIECE_BYTES_MAX
from daedalus.shared.errors import AlreadyExistsError, CorruptError, SchemaError, StorageError
from daedalus.shared.partitioning import parse_partition_path
from daedalus.shared.schemas import CHANNELS, PARTITION_DTYPES, arrow_schema
from daedalus.shared.segment import SegmentFooter, SegmentName
from daedalus.storage.local import TEMP_SUFFIX, publish, sync_dir


@dataclass(frozen=True)
class Outcome:
    """What became of one segment: its rows are in Parquet, or the problem says why not and where it is now."""

    segment: Path
    rows: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Target:
    """How to convert.

    Attributes
    ----------
    quarantine
        Directory that corrupt segments are moved to, under their path below the ready directory.
    compression, compression_level
        Of the Parquet segments.
    keep
        Whether the NDJSON segments stay where they are.
    """

    quarantine: Path
    compression: str = "zstd"
    compression_level: int = 3
    keep: bool = False


def ndjson_segments(ready: Path) -> list[Path]:
    """Return a source's NDJSON segments, by channel, partition and time."""
    return sorted(
        path for ending in ("ndjson", f"ndjson{ZSTD_SUFFIX}") for path in ready.glob(f"**/segment_*.{ending}")
    )


def convert_segments(ready: Path, target: Target) -> Iterator[Outcome]:
    """Convert all NDJSON segments of one source. A segment with a problem does not keep the others from conversion.

    Parameters
    ----------
    ready
        The source's directory of segments, ``raw/ready/{source}``. Recording into it may go on.
    target
        How.

    Raises
    ------
    StorageError
        If another process converts there, or the disk refuses. Run it again: it goes on where it stopped.
    """
    with _alone(ready):
        for segment in ndjson_segments(ready):
            try:
                yield _convert_segment(segment, ready, target)
            except OSError as error:
                raise StorageError(
                    f"{segment}: {error.strerror or error}. What was converted stays converted"
                ) from error


def _convert_segment(segment: Path, ready: Path, target: Target) -> Outcome:
    try:
        rows = _to_parquet(_Lines(segment, ready), target)
    except CorruptError as error:
        return Outcome(segment, problem=f"{segment}: {error}; {_quarantine(segment, target.quarantine, ready)}")
    except SchemaError as error:
        return Outcome(segment, problem=f"{segment}: {error}; left in place")
    if not target.keep:
        # The sidecar first: alone it would stay behind for ever, lines alone are compared and removed by the next run.
        sidecar_path(segment).unlink(missing_ok=True)
        segment.unlink()
        sync_dir(segment.parent)
    return Outcome(segment, rows)


class _Lines:
    """An NDJSON segment, checked while it is read.

    Raises
    ------
    SchemaError
        If this version does not know what the segment holds.
    CorruptError
        If the segment is not what was written.
    """

    def __init__(self, segment: Path, ready: Path) -> None:
        place = segment.relative_to(ready)
        self.path = segment
        self.name = SegmentName.parse(segment.name)
        self.channel = place.parts[0]
        columns = tuple(part.partition("=")[0] for part in place.parts[1:-1])
        if self.channel not in CHANNELS or not set(columns) <= set(PARTITION_DTYPES):
            raise SchemaError(f"{place.parent} is no channel and partition that this version knows")
        self.schema = arrow_schema(self.channel, columns)
        self.digest = RowsDigest()
        self._values = {name: str(value) for name, value in parse_partition_path(str(place)).items()}
        self._first = self._last = 0
        self._symbol = ""
        self._sidecar = read_sidecar(segment)
        version = self._sidecar.footer.schema_version if self._sidecar else CHANNELS[self.channel].version
        if version != CHANNELS[self.channel].version:
            raise SchemaError(
                f"schema version {version}; this version of Daedalus knows {CHANNELS[self.channel].version}"
            )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows. Once."""
        for batch in read_rows(self.path, self.schema):
            self._check_partition(batch)
            if not self.digest.rows:
                self._first, self._symbol = batch["collected_at"][0].as_py(), batch["symbol"][0].as_py()
            self._last = batch["collected_at"][-1].as_py()
            self.digest.add(batch)
            yield batch
        named = self.name.last_row - self.name.first_row + 1
        if self.digest.rows != named:
            raise CorruptError(f"{self.digest.rows} rows, by its name {named}")

    def footer(self) -> SegmentFooter:
        """Return the footer, once all rows are read. Without a sidecar the symbol is spelt as in the path."""
        sidecar = self._sidecar.footer if self._sidecar else None
        found = SegmentFooter(
            channel=self.channel,
            schema_version=CHANNELS[self.channel].version,
            writer_version=sidecar.writer_version if sidecar else daedalus.__version__,
            journal=self.name.journal,
            first_collected_at=self._first,
            last_collected_at=self._last,
            rows=self.digest.rows,
            symbol=sidecar.symbol if sidecar else self._symbol,
        )
        if sidecar and found != sidecar:
            raise CorruptError(f"its rows make {found}, its sidecar says {sidecar}")
        return found

    def _check_partition(self, batch: pa.RecordBatch) -> None:
        for name, value in self._values.items():
            found = [str(one) for one in pc.unique(batch[name]).to_pylist()]
            if found != [value]:
                raise CorruptError(f"{name} is {value} in the path and {', '.join(found)} in its rows")


def _to_parquet(lines: _Lines, target: Target) -> int:
    """Make sure that the rows stand in a published Parquet segment; return how many."""
    final = lines.path.with_name(lines.name.file_name(ParquetEncoder.suffix(target.compression)))
    if final.exists():
        for _ in lines.batches():
            pass
        _compare(lines, final)
        return lines.digest.rows
    temp = final.with_name(f"_{final.name}{TEMP_SUFFIX}")
    try:
        with pa.OSFile(str(temp), "wb") as sink:
            encoder = ParquetEncoder(sink, lines.schema, target.compression, target.compression_level)
            for rows in _row_groups(lines.batches()):
                encoder.write(rows)
            encoder.finish(lines.footer())
        _compare(lines, temp)
        publish(temp, final)
    finally:
        temp.unlink(missing_ok=True)
    return lines.digest.rows


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Gather rows into what the writer makes a row group: a fixed number, fewer where they are large."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.num_rows for b in held) >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(held)
            yield table.slice(0, ROW_GROUP_ROWS)
            held = table.slice(ROW_GROUP_ROWS).to_batches()
        elif sum(b.nbytes for b in held) > PIECE_BYTES_MAX:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _compare(lines: _Lines, parquet: Path) -> None:
    """Raise `SchemaError` unless a Parquet file reads back as the rows of the lines, value for value."""
    digest = RowsDigest()
    try:
        with pq.ParquetFile(parquet, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=4096):
                digest.add(batch)
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise SchemaError(
            f"{parquet.name} beside it cannot be read ({error}): move it away, then convert again"
        ) from error
    if digest.value() != lines.digest.value():
        raise SchemaError(
            f"{parquet.name} beside it holds other rows: move away whichever is wrong, then convert again"
        )


def _quarantine(segment: Path, quarantine: Path, ready: Path) -> str:
    """Move a corrupt segment and its sidecar away; return in words where it is."""
    kept = quarantine / segment.relative_to(ready)
    try:
        # The lines first: without their sidecar they might pass for whole.
        publish(segment, kept)
    except AlreadyExistsError:
        return f"left in place, as {kept} exists"
    if sidecar_path(segment).exists():
        publish(sidecar_path(segment), sidecar_path(kept), overwrite=True)
    return f"moved to {kept}"


@contextmanager
def _alone(ready: Path) -> Iterator[None]:
    """Hold a source's directory against a second conversion; the system lets go when the process dies."""
    fd = os.open(ready, os.O_RDONLY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"another process converts {ready}: wait until it is done") from None
        yield
    finally:
        os.close(fd)
