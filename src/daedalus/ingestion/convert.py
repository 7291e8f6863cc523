"""NDJSON segments to the Parquet segments that the recorder would have written: same place, same rows, same footer.

One segment at a time, in memory bounded by a row group. The order of steps is what makes a crash harmless: write the
Parquet file under a temporary name, read it back and compare every value, publish it, and only then remove the lines.
A run that finds both files compares them and goes on from there, so that nothing is ever there in neither form, and
nothing twice in one.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.checked_lines import CheckedLines
from daedalus.ingestion.writers.encoding import ROW_GROUP_ROWS
from daedalus.ingestion.writers.ndjson_segment import ZSTD_SUFFIX
from daedalus.ingestion.writers.parquet_segment import ParquetEncoder
from daedalus.ingestion.writers.rows_digest import RowsDigest
from daedalus.ingestion.writers.segment_file import PIECE_BYTES_MAX
from daedalus.shared.errors import AlreadyExistsError, CorruptError, SchemaError, StorageError
from daedalus.shared.segment import SegmentName, sidecar_path
from daedalus.storage.ledger import Ledger
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
    compression, compression_level
        Of the Parquet segments.
    keep
        Whether the NDJSON segments stay where they are.
    """

    compression: str = "zstd"
    compression_level: int = 3
    keep: bool = False


def ndjson_segments(ready: Path) -> list[Path]:
    """Return a source's NDJSON segments, by channel, partition and time."""
    return sorted(
        path for ending in ("ndjson", f"ndjson{ZSTD_SUFFIX}") for path in ready.glob(f"**/segment_*.{ending}")
    )


def convert_segments(paths: RawPaths, target: Target) -> Iterator[Outcome]:
    """Convert all NDJSON segments of one source. A segment with a problem does not keep the others from conversion.

    Parameters
    ----------
    paths
        The source's directories. Recording into them may go on. Corrupt segments are moved to the quarantine, under
        their path below the ready directory.
    target
        How.

    Raises
    ------
    StorageError
        If another process converts there, the disk refuses, or the lake's ledger cannot be written. Run it again: it
        goes on where it stopped.
    """
    with _alone(paths.ready), Ledger(paths.base) as ledger:
        for segment in ndjson_segments(paths.ready):
            try:
                outcome = _convert_segment(segment, paths, target)
                if not outcome.problem:
                    _settle(segment, ledger, target)
            except OSError as error:
                if not segment.exists():
                    continue  # removed meanwhile, by the disk budget
                why = error.strerror or error
                raise StorageError(f"{segment}: {why}. What was converted stays converted") from error
            yield outcome


def _convert_segment(segment: Path, paths: RawPaths, target: Target) -> Outcome:
    try:
        return Outcome(segment, _to_parquet(CheckedLines(segment, paths.ready), target))
    except CorruptError as error:
        return Outcome(segment, problem=f"{segment}: {error}; {_quarantine(segment, paths)}")
    except SchemaError as error:
        return Outcome(segment, problem=f"{segment}: {error}; left in place")


def _settle(segment: Path, ledger: Ledger, target: Target) -> None:
    """Enter the Parquet segment in the ledger and let the lines go."""
    ledger.record_sealed([_parquet_path(segment)])
    if target.keep:
        return
    key = ledger.key_of(segment)
    if ledger.get(key):
        # Before it is so: after a crash in between, nobody misses them.
        ledger.record(key, "deleted")
    # The sidecar first: alone it would stay behind for ever, lines alone are compared and removed by the next run.
    sidecar_path(segment).unlink(missing_ok=True)
    segment.unlink()
    sync_dir(segment.parent)


def _parquet_path(segment: Path) -> Path:
    return segment.with_name(SegmentName.parse(segment.name).file_name())


def _to_parquet(lines: CheckedLines, target: Target) -> int:
    """Make sure that the rows stand in a published Parquet segment; return how many."""
    final = _parquet_path(lines.path)
    temp = final.with_name(f"_{final.name}{TEMP_SUFFIX}")
    try:
        if final.exists():  # an earlier run came as far as that
            for _ in lines.batches():
                pass
            _compare(lines, final)
        else:
            _encode(lines, temp, target)
            _compare(lines, temp)
            publish(temp, final)
    finally:
        temp.unlink(missing_ok=True)
    return lines.digest.rows


def _encode(lines: CheckedLines, temp: Path, target: Target) -> None:
    with (
        pa.OSFile(str(temp), "wb") as sink,
        closing(ParquetEncoder(sink, lines.schema, target.compression, target.compression_level)) as encoder,
    ):
        for rows in _row_groups(lines.batches()):
            encoder.write(rows)
        encoder.finish(lines.footer())


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


def _compare(lines: CheckedLines, parquet: Path) -> None:
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


def _quarantine(segment: Path, paths: RawPaths) -> str:
    """Move a corrupt segment and its sidecar away; return in words where it is. The ledger goes on missing it."""
    kept = paths.quarantine / segment.relative_to(paths.ready)
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
