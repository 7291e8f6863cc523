"""Reading segments: row group by row group, several segments of one hour merged into one stream.

Memory: the footers of one partition's segments, and one row group of each segment that overlaps at the place being
read. Segments that do not overlap, which is the rule, cost one row group. From an object store, the segments of one
partition and of the next, which is fetched meanwhile, up to `reader.WHOLE_BYTES` each.
"""

import contextlib
import io
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.shared.clock import utc
from daedalus.shared.errors import CorruptError, NotFoundError, SchemaError
from daedalus.shared.partitioning import parse_partition_path
from daedalus.shared.schemas import CHANNELS
from daedalus.shared.segment import SegmentFooter
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition, replaced_in, time_span
from daedalus.storage.reader import Source, source_of, sources_ahead
from daedalus.storage.replaced import TRIES, names_now, relisted

CHUNK_ROWS = 32_768
"""Rows of a chunk at most: the row group of a segment, so that a row group goes through whole."""

_NAMES_SHOWN = 12
#: Footers are looked for in so many bytes at the end of an object first.
_TAIL_BYTES = 128 << 10

Int64s = npt.NDArray[np.int64]


@dataclass
class ReadStats:
    """What reading cost."""

    files_opened: int = 0
    rows: int = 0


def read_metadata(place: Place, size: int) -> pq.FileMetaData:
    """Return the Parquet footer of a file of a known size, without fetching the rest of it.

    Raises
    ------
    CorruptError
        If it is no Parquet file.
    NotFoundError
        If there is none.
    """
    path = place.local_path
    try:
        if path is not None:
            return pq.read_metadata(path)
        tail = place.storage.get(place.key, start=max(0, size - _TAIL_BYTES))
        footer = int.from_bytes(tail[-8:-4], "little") + 8
        if footer > len(tail):
            tail = place.storage.get(place.key, start=max(0, size - footer))
        return pq.read_metadata(io.BytesIO(tail))
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {place}") from None
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{place} cannot be read as Parquet: {error}") from error


def footers(partition: Partition) -> list[pq.FileMetaData]:
    """Return the footers of a partition's files; of files that were merged since it was listed, of the merged one.

    Raises
    ------
    CorruptError
        If one is no Parquet file.
    NotFoundError
        If one is gone, and was not merged into another one.
    """
    for _ in range(TRIES - 1):
        try:
            return _footers(partition)
        except NotFoundError:
            partition = relisted(partition)
    return _footers(partition)


def _footers(partition: Partition) -> list[pq.FileMetaData]:
    return [read_metadata(*file) for file in zip(partition.segments(), partition.sizes, strict=True)]


@dataclass(frozen=True, order=True)
class _Unit:
    """One row group: where it starts and ends in time, which segment it is of (in the order of names)."""

    first: int
    segment: int
    group: int
    last: int = field(compare=False)


def _is_older(metadata: dict[bytes, bytes] | None) -> bool:
    """Return whether a footer says that its segment is of an older version, which had fewer columns: they are null."""
    try:
        footer = SegmentFooter.of(metadata)
    except SchemaError:
        return False
    return footer.channel in CHANNELS and footer.schema_version < CHANNELS[footer.channel].version


class _Segment:
    """One open file; columns that its version did not have yet are null."""

    def __init__(self, source: Source, schema: pa.Schema, stats: ReadStats) -> None:
        self.path = source.place
        self._start, self._end = time_span(parse_partition_path(source.place.parent.key))
        try:
            self._file = pq.ParquetFile(source.open(), page_checksum_verification=True)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no file {self.path}") from error
        except (OSError, pa.ArrowException) as error:
            raise self._corrupt(error) from error
        stats.files_opened += 1
        names = self._file.schema_arrow.names
        missing = [name for name in schema.names if name not in names]
        if missing and not _is_older(self._file.metadata.metadata):
            self._file.close()
            shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
            raise SchemaError(f"{self.path} has no column {', '.join(missing)}; its columns are {shown}")
        self._schema, self._there = schema, [name for name in schema.names if name in names]
        self._columns = [self._path(schema.field(name)) for name in self._there]

    @property
    def replaces(self) -> frozenset[str]:
        """Return the names of the files beside it that it replaces."""
        return replaced_in(self._file.metadata.metadata)

    def units(self, number: int, sort_by: str) -> Iterator[_Unit]:
        """Return its row groups with rows, by the footer's statistics where there are any."""
        metadata = self._file.metadata
        at = next(i for i in range(metadata.num_columns) if metadata.schema.column(i).path == sort_by)
        for group in range(metadata.num_row_groups):
            if not metadata.row_group(group).num_rows:
                continue
            statistics = metadata.row_group(group).column(at).statistics
            if statistics is not None and statistics.has_min_max:
                unit = _Unit(statistics.min, number, group, statistics.max)
            else:
                clock = self.read(group)[sort_by].to_numpy()
                unit = _Unit(int(clock.min()), number, group, int(clock.max()))
            self._check_time(unit)
            yield unit

    def _path(self, field: pa.Field) -> str:
        """Return what of a column to decode: of levels of which one part is asked for, that part alone."""
        kind = field.type
        if pa.types.is_list(kind) and kind != self._file.schema_arrow.field(field.name).type:
            inner = kind.value_type
            if pa.types.is_struct(inner) and inner.num_fields == 1:
                return f"{field.name}.list.element.{inner.field(0).name}"
        return str(field.name)

    def _check_time(self, unit: _Unit) -> None:
        """Refuse rows of another time than the folder's: they would go into another hour, and replace it."""
        first, last = utc(unit.first), utc(unit.last)
        if not self._start <= first <= last < self._end:
            odd = first if first < self._start else last
            raise SchemaError(
                f"{self.path} has rows of {odd:%Y-%m-%dT%H:%M:%S}, and its folder is another hour: a clock ran "
                "backwards while it was recorded, or the file was moved. Move it where its rows belong, or away; "
                "the other markets are not concerned"
            )

    def read(self, group: int) -> pa.Table:
        """Decode a row group. Raises `CorruptError` if its bytes are not what was written."""
        try:
            table = self._file.read_row_group(group, columns=self._columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._corrupt(error) from error
        for name in self._schema.names:
            if name not in self._there:
                table = table.append_column(name, pa.nulls(table.num_rows, self._schema.field(name).type))
        try:
            return table.select(self._schema.names).cast(self._schema)
        except (pa.ArrowException, ValueError) as error:
            raise SchemaError(f"{self.path}: a column is not of its declared type: {error}") from error

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _corrupt(self, error: Exception) -> CorruptError:
        return CorruptError(
            f"{self.path} cannot be read as Parquet: {error}. Move the file away, or restore it from a copy; "
            "the other markets are not concerned"
        )


def read_chunks(
    partitions: Iterable[Sequence[Place]], schema: pa.Schema, stats: ReadStats, sort_by: str = "collected_at"
) -> Generator[pa.Table, None, None]:
    """Read partition after partition, each in the order of `sort_by`.

    Rows of equal `sort_by` keep the order of the segments' names, then of the rows in them (a stable merge).

    Parameters
    ----------
    partitions
        The segments of each partition, in the order of their names.
    schema
        The columns to decode; `sort_by`, of type int64 and without nulls, is among them.
    stats
        Counts files and rows as they are read.

    Yields
    ------
    pa.Table
        1 to `CHUNK_ROWS` rows of one partition.

    Raises
    ------
    CorruptError
        If a segment cannot be decoded or a page's checksum is wrong.
    NotFoundError
        If a segment is gone, and was not merged into another one.
    SchemaError
        If a segment of this version lacks a column, or one has it in a type that does not convert without loss, or has
        rows of another time than its folder.
    """
    with contextlib.closing(sources_ahead(partitions)) as ahead:
        for sources in ahead:
            for table in _merge(sources, schema, stats, sort_by):
                stats.rows += table.num_rows
                for start in range(0, table.num_rows, CHUNK_ROWS):
                    yield table.slice(start, CHUNK_ROWS)


def _merge(sources: Sequence[Source], schema: pa.Schema, stats: ReadStats, sort_by: str) -> Iterator[pa.Table]:
    """Yield the rows of several segments in order.

    Row groups come in by (first time, segment). After each, what stands before the next one's first place is final.
    """
    segments = _opened(sources, schema, stats)
    try:
        units = sorted(unit for number, s in enumerate(segments) for unit in s.units(number, sort_by))
        held: pa.Table | None = None
        order = np.empty(0, dtype=np.int64)
        for at, unit in enumerate(units):
            table = segments[unit.segment].read(unit.group)
            order = np.concatenate([order, np.full(table.num_rows, unit.segment, dtype=np.int64)])
            held, order = _sorted(pa.concat_tables([held, table]) if held else table, order, sort_by)
            following = units[at + 1] if at + 1 < len(units) else None
            final = _final_rows(held[sort_by].to_numpy(), order, following)
            if final:
                yield held.slice(0, final)
            held, order = held.slice(final), order[final:]
    finally:
        for segment in segments:
            segment.close()


def _opened(sources: Sequence[Source], schema: pa.Schema, stats: ReadStats) -> list[_Segment]:
    """Open the segments of a partition; those that were merged since they were listed, under their new name."""
    for number in range(TRIES):
        before, segments = stats.files_opened, list[_Segment]()
        try:
            for source in sources:
                segments.append(_Segment(source, schema, stats))
            return _standing(segments)
        except BaseException as error:
            for segment in segments:
                segment.close()
            if not isinstance(error, NotFoundError) or number == TRIES - 1:
                raise
        stats.files_opened = before
        folder = sources[0].place.parent
        sources = [source_of(folder / name) for name in names_now(folder, [s.place.name for s in sources])]
    raise AssertionError("the last try returns or raises")


def _standing(segments: list[_Segment]) -> list[_Segment]:
    """Leave out those that another one replaces which came into its place after the listing."""
    gone = frozenset[str]().union(*(segment.replaces for segment in segments))
    for segment in segments:
        if segment.path.name in gone:
            segment.close()
    return [segment for segment in segments if segment.path.name not in gone]


def _sorted(table: pa.Table, order: Int64s, sort_by: str) -> tuple[pa.Table, Int64s]:
    """Sort rows by (time, segment), stably; without a copy when they are."""
    clock = table[sort_by].to_numpy()
    step = np.diff(clock)
    if np.all((step > 0) | ((step == 0) & (np.diff(order) >= 0))):
        return table, order
    places = np.lexsort((order, clock))
    return table.take(pa.array(places)), order[places]


def _final_rows(clock: Int64s, order: Int64s, following: _Unit | None) -> int:
    """Return how many rows nothing that is still to come can precede."""
    if following is None:
        return len(clock)
    left = int(np.searchsorted(clock, following.first, side="left"))
    right = int(np.searchsorted(clock, following.first, side="right"))
    return left + int(np.searchsorted(order[left:right], following.segment, side="right"))
