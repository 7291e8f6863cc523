"""Small segments of one directory merged into one: the same rows in the same order, in one step, safe to interrupt.

The new directory is made aside, under ``{tier}/compacting``: the merged segment, read back and compared, and links to
all other files. Then both directories swap places, so that readers see every row once at any instant, and the old one
is removed. A plan beside it says what a run that was cut off has to finish. A segment that is published meanwhile lands
in one of both directories and is carried over.

Bounds: one directory at a time, `MERGED_BYTES_MAX` bytes of segments.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import daedalus
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.encoding import ROW_GROUP_ROWS
from daedalus.ingestion.writers.parquet_segment import ParquetEncoder
from daedalus.ingestion.writers.rows_digest import RowsDigest
from daedalus.shared.clock import NS_PER_SECOND, Clock, SystemClock
from daedalus.shared.errors import CorruptError, DaedalusError
from daedalus.shared.segment import SegmentFooter, SegmentName
from daedalus.storage.exchange import exchange
from daedalus.storage.ledger import Ledger, segments_below
from daedalus.storage.local import explained, file_sha256, make_dirs, publish_stream, sync_dir, sync_file
from daedalus.storage.lock import LAKE_LOCK, exclusive

MERGED_BYTES_MAX = 64 << 20
_HOUR_NS = 3600 * NS_PER_SECOND
_PLAN = "plan.json"


@dataclass(frozen=True)
class Rules:
    """Which segments are merged, and how.

    Parameters
    ----------
    older_than_hours
        Hours since the newest segment of a directory was sealed; by then its hour is over.
    small_bytes
        Larger segments are left alone.
    compression, compression_level
        Of the merged segment.
    """

    older_than_hours: float = 1.0
    small_bytes: int = 16 << 20
    compression: str = "zstd"
    compression_level: int = 3


@dataclass(frozen=True)
class Compacted:
    """What became of one directory: how many segments are one now, or why not."""

    folder: Path
    segments: int = 0
    rows: int = 0
    problem: str | None = None


class _Plan(msgspec.Struct, frozen=True):
    """What a run was about to do: names of files in a folder, which is relative to the lake."""

    folder: str
    merged: str
    replaces: list[str]


class Compaction:
    """Merges the small segments of one recorder.

    Parameters
    ----------
    paths
        The recorder's directories; recording into them may go on.
    rules
        Which and how.
    clock
        For the age of segments.
    """

    def __init__(self, paths: RawPaths, rules: Rules, *, clock: Clock | None = None) -> None:
        self._paths, self._rules = paths, rules
        self._clock = clock or SystemClock()
        self._aside = paths.base / paths.tier / "compacting"

    def candidates(self) -> Iterator[tuple[Path, list[Path]]]:
        """Yield each directory with the segments that would be one, in the order of their names."""
        with Ledger(self._paths.base) as ledger:
            yield from self._candidates(ledger)

    def run(self) -> Iterator[Compacted]:
        """Finish what an earlier run began, then merge; a directory with a problem does not stop the others.

        Raises
        ------
        StorageError
            If a sync or another compaction is at work on the lake, or the disk refuses.
        """
        make_dirs(self._aside)
        with exclusive(self._paths.base / LAKE_LOCK, "sync or compaction"), Ledger(self._paths.base) as ledger:
            self._finish_all(ledger)
            for folder, segments in self._candidates(ledger):
                yield self._try(folder, segments, ledger)

    def _try(self, folder: Path, segments: Sequence[Path], ledger: Ledger) -> Compacted:
        """Merge; after a failure, such as a full disk, leave nothing aside."""
        try:
            with explained(folder):
                return self._compact(folder, segments, ledger)
        except (DaedalusError, pa.ArrowException) as error:
            self._finish_all(ledger)
            return Compacted(folder, problem=str(error))

    def _finish_all(self, ledger: Ledger) -> None:
        with explained(self._aside):
            for stage in sorted(path for path in self._aside.iterdir() if path.is_dir()):
                self._finish(stage, ledger)

    def _candidates(self, ledger: Ledger) -> Iterator[tuple[Path, list[Path]]]:
        before = self._clock.now_ns() - round(self._rules.older_than_hours * _HOUR_NS)
        open_journals = {path.stem for path in self._paths.active.glob("*")}
        folder, found = Path(), list[Path]()
        for path in (*segments_below(self._paths.ready), None):
            if path is None or path.parent != folder:
                if len(found) > 1 and max(p.stat().st_mtime_ns for p in found) <= before:
                    yield folder, found
                folder, found = (path.parent, []) if path else (Path(), [])
            if path is not None and self._is_small(path, ledger, open_journals, found):
                found.append(path)

    def _is_small(self, path: Path, ledger: Ledger, open_journals: set[str], found: Sequence[Path]) -> bool:
        """Return whether a segment may be merged: it is small, its journal is gone, and no store may have a copy."""
        size = path.stat().st_size
        total = size + sum(p.stat().st_size for p in found)
        if path.suffix != ".parquet" or size > self._rules.small_bytes or total > MERGED_BYTES_MAX:
            return False
        if any(SegmentName.parse(path.name).journal in name for name in open_journals):
            return False
        return not ledger.may_be_elsewhere(ledger.key_of(path))

    def _compact(self, folder: Path, segments: Sequence[Path], ledger: Ledger) -> Compacted:
        table, footer = _merged(segments, ledger)
        names = [path.name for path in segments]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
        name = SegmentName(f"{footer.journal.rpartition('-')[0]}-{digest}", 0, table.num_rows - 1)
        footer = replace(footer, journal=name.journal)
        stage = self._aside / name.journal
        new = stage / "new"
        make_dirs(new)
        plan = _Plan(folder.relative_to(self._paths.base).as_posix(), name.file_name(), names)
        publish_stream([msgspec.json.encode(plan)], stage / _PLAN)
        self._write(new / plan.merged, table, footer)
        for other in folder.iterdir():
            if other.is_file() and other.name not in names:
                (new / other.name).hardlink_to(other)
        sync_dir(new)
        exchange(new, folder)
        self._finish(stage, ledger)
        return Compacted(folder, len(segments), table.num_rows)

    def _write(self, path: Path, table: pa.Table, footer: SegmentFooter) -> None:
        """Write the merged segment and read it back."""
        with (
            pa.OSFile(str(path), "wb") as sink,
            closing(
                ParquetEncoder(sink, table.schema, self._rules.compression, self._rules.compression_level)
            ) as encoder,
        ):
            for start in range(0, table.num_rows, ROW_GROUP_ROWS):
                encoder.write(table.slice(start, ROW_GROUP_ROWS))
            encoder.finish(footer)
        sync_file(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            written = _digest(file.iter_batches(batch_size=ROW_GROUP_ROWS))
        if written != _digest(table.to_batches()):
            raise CorruptError(f"{path}: the merged rows do not read back as they were: the segments stay as they are")

    def _finish(self, stage: Path, ledger: Ledger) -> None:
        """Bring a plan to its end: after the swap forwards, before it backwards. May be repeated."""
        if (stage / _PLAN).exists():
            plan = msgspec.json.decode((stage / _PLAN).read_bytes(), type=_Plan)
            folder = self._paths.base / plan.folder
            if (folder / plan.merged).exists():
                self._settle(stage / "new", folder, plan, ledger)
        shutil.rmtree(stage)
        sync_dir(self._aside)

    def _settle(self, old: Path, folder: Path, plan: _Plan, ledger: Ledger) -> None:
        """Carry over what was published while both directories existed, and tell the ledger."""
        for path in old.iterdir() if old.exists() else ():
            if path.name not in plan.replaces and not (folder / path.name).exists():
                (folder / path.name).hardlink_to(path)
        sync_dir(folder)
        ledger.record_sealed([folder / plan.merged])
        for name in plan.replaces:
            key = f"{plan.folder}/{name}"
            if ledger.get(key) is not None:
                ledger.record(key, "deleted")


def _merged(segments: Sequence[Path], ledger: Ledger) -> tuple[pa.Table, SegmentFooter]:
    """Return the rows of all, by receive time, those of equal time in the order of names, and their common footer."""
    tables, footers = [], []
    for path in segments:
        entry = ledger.get(ledger.key_of(path))
        if entry is not None and file_sha256(path) != entry.sha256:
            raise CorruptError(f"{path} is damaged: it is not what was sealed. Restore it, or move it away")
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            tables.append(file.read())
            footers.append(SegmentFooter.of(file.metadata.metadata))
    first = footers[0]
    if len({(f.channel, f.schema_version, f.symbol) for f in footers}) > 1:
        raise CorruptError(f"{segments[0].parent}: segments of several schemas or symbols: left as they are")
    table = pa.concat_tables(tables)
    order = np.argsort(table["collected_at"].to_numpy(), kind="stable")
    table = table.take(pa.array(order)).combine_chunks()
    clock = table["collected_at"]
    footer = SegmentFooter(
        channel=first.channel,
        schema_version=first.schema_version,
        writer_version=daedalus.__version__,
        journal=first.journal,
        first_collected_at=clock[0].as_py(),
        last_collected_at=clock[-1].as_py(),
        rows=table.num_rows,
        symbol=first.symbol,
    )
    return table, footer


def _digest(batches: "Iterator[pa.RecordBatch] | list[pa.RecordBatch]") -> str:
    digest = RowsDigest()
    for batch in batches:
        digest.add(batch)
    return digest.value()
