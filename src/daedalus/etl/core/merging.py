"""Files that mode ``append`` has left in a partition of silver or gold, merged into its one file.

The same rows in the order in which readers have them: by time, those of equal time in the order of names. The folder is
held meanwhile and changes places with the merged one, so that readers see all rows once at any instant, a watcher that
wants to write there waits, and a run that was killed leaves the old files or the new one.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.etl.core.manifest import KEY, inputs_of
from daedalus.etl.core.replacing import appended, exchanged, held, stage_of, sweep, whole_name
from daedalus.etl.core.writing import ROW_GROUP_ROWS, FileFormat, parquet_options
from daedalus.shared.clock import Clock, SystemClock, utc
from daedalus.shared.errors import CorruptError, DaedalusError, SchemaError, StorageError
from daedalus.shared.filters import FilterSpec
from daedalus.shared.segment import FOOTER_PREFIX
from daedalus.storage.base import Place
from daedalus.storage.ledger import Ledger
from daedalus.storage.local import LocalStorage, explained, make_dirs
from daedalus.storage.lock import LAKE_LOCK, exclusive
from daedalus.storage.partitions import REPLACES, Partition, find_partitions
from daedalus.storage.segments import ReadStats, read_chunks, read_metadata

#: Of a file's footer, what differs between files of one table.
_OWN_KEYS = {KEY.encode(), REPLACES.encode(), f"{FOOTER_PREFIX}writer_version".encode(), b"ARROW:schema"}


@dataclass(frozen=True)
class Merged:
    """What became of one partition: how many segments are one now, or why not."""

    folder: Place
    segments: int = 0
    rows: int = 0
    problem: str | None = None


class FileMerger:
    """Merges what was appended to the partitions of one table.

    Memory: one row group of each file that overlaps at the place being read.

    Parameters
    ----------
    base
        The lake's directory.
    root
        Key of the folder of the table's partitions.
    time_column
        What its rows are sorted by.
    older_than_hours
        Hours since the end of a partition's time. One whose time is not over is never touched.
    compression, compression_level
        Of the merged file.
    clock
        For the end of partitions.
    """

    def __init__(
        self,
        base: Path,
        root: str,
        time_column: str,
        *,
        older_than_hours: float = 1.0,
        compression: str = "zstd",
        compression_level: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self._base, self._root, self._time_column = base, Place(LocalStorage(base)) / root, time_column
        self._older_than = dt.timedelta(hours=older_than_hours)
        self._form = FileFormat((), compression, compression_level)
        self._clock = clock or SystemClock()

    def candidates(self) -> Iterator[tuple[Place, list[Place]]]:
        """Yield the file that each group would be, with the files of the group in the order of their names."""
        before = utc(self._clock.now_ns()) - self._older_than
        for partition in find_partitions(self._root, FilterSpec()):
            if partition.end <= before:
                yield from self._groups(partition)

    def run(self) -> Iterator[Merged]:
        """Merge; a partition with a problem stays as it is and does not stop the others.

        Raises
        ------
        StorageError
            If a sync or another compaction is at work on the lake.
        """
        with exclusive(self._base / LAKE_LOCK, "sync or compaction"):
            for partition in find_partitions(self._root, FilterSpec()):
                self._sweep(partition.path)
            for final, _ in self.candidates():
                yield self._try(final)

    def _sweep(self, folder: Place) -> None:
        if stage_of(folder).exists():
            with held(_local(folder)):
                sweep(folder)

    def _try(self, final: Place) -> Merged:
        try:
            with explained(self._base), held(_local(final.parent)):
                files = [file for file in (final, *appended(final)) if file.exists()]
                return self._merge(final, files) if len(files) > 1 else Merged(final.parent)
        except (DaedalusError, pa.ArrowException) as error:
            self._sweep(final.parent)
            return Merged(final.parent, problem=str(error))

    def _groups(self, partition: Partition) -> Iterator[tuple[Place, list[Place]]]:
        for whole, names in groupby(sorted(partition.names, key=lambda name: (whole_name(name), name)), whole_name):
            files = [partition.path / name for name in names]
            if len(files) > 1 and not self._may_be_elsewhere(files):
                yield partition.path / whole, files

    def _may_be_elsewhere(self, files: Sequence[Place]) -> bool:
        """Return whether a store has one of the files: it would keep it beside the merged one."""
        ledger = Ledger.existing(self._base)
        if ledger is None:
            return False
        with ledger:
            return any(ledger.was_sent(file.key) for file in files)

    def _merge(self, final: Place, files: Sequence[Place]) -> Merged:
        schema = _common_schema(files)
        temp = stage_of(final.parent) / f"{final.name}.tmp"
        make_dirs(temp.parent)
        rows = self._write(temp, schema, files)
        if not exchanged(temp, final, [file.name for file in files]):
            raise StorageError(f"{final.parent}: the file system cannot exchange two directories: not merged")
        return Merged(final.parent, len(files), rows)

    def _write(self, temp: Path, schema: pa.Schema, files: Sequence[Place]) -> int:
        """Write the rows of all files in order and return how many; raise if they are not those of the files."""
        rows = 0
        with pq.ParquetWriter(temp, schema, **parquet_options(schema, self._form)) as writer:
            for table in _row_groups(read_chunks([files], schema, ReadStats(), self._time_column)):
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                rows += table.num_rows
            inputs = {one.key: one for file in files for one in inputs_of(file) or ()}
            if inputs:
                text = msgspec.json.encode([inputs[key] for key in sorted(inputs)]).decode()
                writer.add_key_value_metadata({KEY: text})
        there = sum(read_metadata(file, 0).num_rows for file in files)
        if rows != there or pq.read_metadata(temp).num_rows != there:
            raise CorruptError(f"{temp}: {rows:,} rows of {there:,} came through the merge: the files stay as they are")
        return rows


def tables_below(base: Path, tier_features: str, tier_aggregates: str) -> Iterator[tuple[str, str]]:
    """Yield (key of the folder, time column) of every table of silver and gold in a lake."""
    processed = Place(LocalStorage(base)) / "processed"
    for source in processed.folders():
        for channel in (processed / source).folders():
            tier = tier_aggregates if channel == "bars" else tier_features
            root = processed / source / channel / tier
            if channel != "bars":
                yield root.key, "collected_at"
            else:
                yield from (((root / name).key, "bar_start") for name in root.folders())


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of all tables in whole row groups; the last may be smaller."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(one.num_rows for one in held) >= ROW_GROUP_ROWS:
            joined = pa.concat_tables(held)
            yield joined.slice(0, ROW_GROUP_ROWS)
            held = [joined.slice(ROW_GROUP_ROWS)]
    yield from (table for table in ([pa.concat_tables(held)] if held else []) if table.num_rows)


def _common_schema(files: Sequence[Place]) -> pa.Schema:
    """Return the schema of all files. Raises `SchemaError` if they have not the same columns, made the same way."""
    schemas = [read_metadata(file, 0).schema.to_arrow_schema() for file in files]
    described = [{k: v for k, v in (s.metadata or {}).items() if k not in _OWN_KEYS} for s in schemas]
    newest = schemas[-1]
    for file, schema, footer in zip(files, schemas, described, strict=True):
        if not schema.equals(newest, check_metadata=False) or footer != described[-1]:
            raise SchemaError(
                f"{file} was made with other settings or by another version than {files[-1].name} beside it: compute "
                "that partition again, which makes it one file"
            )
    of_file = {KEY.encode(), REPLACES.encode()}
    return newest.with_metadata({k: v for k, v in (newest.metadata or {}).items() if k not in of_file})


def _local(place: Place) -> Path:
    path = place.local_path
    assert path is not None
    return path
