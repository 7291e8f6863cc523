"""The check of one segment by itself: whether it is whole, and what its name, its path and its footer say it is."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daedalus.shared.clock import utc
from daedalus.shared.errors import SchemaError
from daedalus.shared.partitioning import PARTITION_COLUMNS, parse_partition_path, sanitize_partition_value
from daedalus.shared.schemas import CHANNELS, arrow_schema
from daedalus.shared.segment import SegmentFooter, SegmentName

#: Rows looked at together: a part of a row group.
BATCH_ROWS = 8192

RESTORE = "restore it from a copy; without one its rows are lost"
FOREIGN = "move it out of the lake: it is none of Daedalus' segments"
NEWER = "use the version of Daedalus that wrote it, or a newer one"
MOVE = "move it to the directory that its values name: readers believe the path"
REWRITE = "its rows can be read, but not relied on: say so where Daedalus is developed, and keep the file"
RENAME = "give it back its name, or restore it from a copy"

#: Columns that every version has.
_ALWAYS = ("collected_at", "capture_ts")
# What Arrow and Python raise for bytes that are no Parquet.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, RuntimeError)
_OF_TIME: Mapping[str, Callable[[int], object]] = {
    "year": lambda ns: utc(ns).year,
    "month": lambda ns: utc(ns).month,
    "day": lambda ns: utc(ns).day,
    "hour": lambda ns: utc(ns).hour,
    "date": lambda ns: utc(ns).date(),
}


class Finding(msgspec.Struct, frozen=True):
    """Something wrong: with which file, what, and what to do about it."""

    path: str
    what: str
    advice: str


class SegmentCheck:
    """Checks a Parquet segment, in the memory of one row group.

    Parameters
    ----------
    path
        Its path, with its partition's directories where it has any.

    Attributes
    ----------
    rows
        How many could be read; known after `findings` was read through.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._values: dict[str, object] = {}
        self._clock: tuple[int, int] | None = None
        self._found: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong, each kind of fault once."""
        for kind, what, advice in self._faults():
            if kind not in self._found:
                self._found.add(kind)
                yield Finding(str(self.path), what, advice)

    def _faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield (kind, what, advice) of every fault."""
        try:
            self._values = _partition_values(self.path)
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                yield from self._file_faults(file)
        except SchemaError as error:
            yield "foreign", str(error), FOREIGN
        except _UNREADABLE as error:
            yield "unreadable", f"it cannot be read: {_short(error)}", RESTORE

    def _file_faults(self, file: pq.ParquetFile) -> Iterator[tuple[str, str, str]]:
        footer = SegmentFooter.of(file.metadata.metadata)
        unknown = list(self._schema_faults(file.schema_arrow.remove_metadata(), footer))
        yield from unknown
        if not unknown:
            yield from self._row_faults(file)
            yield from self._footer_faults(footer, file.metadata.num_rows)

    def _schema_faults(self, schema: pa.Schema, footer: SegmentFooter) -> Iterator[tuple[str, str, str]]:
        declared = CHANNELS.get(footer.channel)
        if declared is None or declared.version < footer.schema_version:
            knows = f"this one knows {declared.version}" if declared else "this one knows no such channel"
            yield "version", f"it holds {footer.channel} of schema version {footer.schema_version}; {knows}", NEWER
            return
        columns = tuple(self._values)
        if not columns:
            own = {column.name for column in declared.columns}
            columns = tuple(name for name in schema.names if name in PARTITION_COLUMNS and name not in own)
        wanted = arrow_schema(footer.channel, columns)
        if footer.schema_version < declared.version:
            # Versions only ever add columns: an older one has some of today's, in their order.
            wanted = pa.schema([field for field in wanted if field.name in (*schema.names, *_ALWAYS)])
        if not schema.equals(wanted):
            yield "columns", f"its columns are not those of {footer.channel}: {_difference(schema, wanted)}", REWRITE

    def _row_faults(self, file: pq.ParquetFile) -> Iterator[tuple[str, str, str]]:
        for group in range(file.metadata.num_row_groups):
            try:
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], use_threads=False):
                    yield from self._batch_faults(batch)
                    self.rows += batch.num_rows
            except _UNREADABLE as error:
                where = f"row group {group + 1} of {file.metadata.num_row_groups}"
                yield "unreadable", f"{where} cannot be read: {_short(error)}", RESTORE
                return

    def _batch_faults(self, batch: pa.RecordBatch) -> Iterator[tuple[str, str, str]]:
        for name, value in self._values.items():
            found = pc.unique(batch[name]).to_pylist()
            if found != [value]:
                shown = ", ".join(str(one) for one in found if one != value)
                yield f"value {name}", f"{name} is {value} in the path and {shown} in its rows", MOVE
        if batch["collected_at"].null_count or batch["capture_ts"].null_count:
            yield "null", "rows without collected_at or capture_ts", REWRITE
            return
        clock = batch["collected_at"].to_numpy()
        first = self._clock[0] if self._clock else int(clock[0])
        before = self._clock[1] if self._clock else first
        if clock[0] < before or np.any(clock[1:] < clock[:-1]):
            yield "order", f"collected_at goes back near row {self.rows:,}", REWRITE
        if np.any(batch["capture_ts"].cast(pa.int64()).to_numpy() != clock // 1000):
            yield "capture_ts", f"capture_ts is another instant than collected_at near row {self.rows:,}", REWRITE
        self._clock = first, int(clock[-1])

    def _footer_faults(self, footer: SegmentFooter, parquet_rows: int) -> Iterator[tuple[str, str, str]]:
        """Compare what was read with the footer, the name and the path."""
        if "unreadable" in self._found:
            return
        if not self.rows == footer.rows == parquet_rows:
            yield "rows", f"{self.rows:,} rows, by its footer {footer.rows:,}", RESTORE
        clock = (footer.first_collected_at, footer.last_collected_at)
        if self._clock is not None and self._clock != clock:
            yield (
                "clock",
                f"collected_at runs from {self._clock[0]} to {self._clock[1]}, by its footer {clock}",
                RESTORE,
            )
        yield from self._path_faults(footer)
        yield from _name_faults(self.path.name, footer)

    def _path_faults(self, footer: SegmentFooter) -> Iterator[tuple[str, str, str]]:
        for name, value in self._values.items():
            if name in _OF_TIME and self._clock is not None:
                times = {_OF_TIME[name](ns) for ns in self._clock}
                if {str(time) for time in times} != {str(value)}:
                    shown = ", ".join(sorted(map(str, times)))
                    yield f"time {name}", f"{name} is {value} in the path and {shown} by collected_at", MOVE
        symbol = self._values.get("symbol", sanitize_partition_value(footer.symbol))
        if sanitize_partition_value(footer.symbol) != symbol:
            yield "symbol", f"symbol is {symbol} in the path and {footer.symbol} in the footer", MOVE
        channel = _channel_of(self.path)
        if channel is not None and channel != footer.channel:
            yield "channel", f"it lies under {channel} and holds {footer.channel}", MOVE


def _name_faults(name: str, footer: SegmentFooter) -> Iterator[tuple[str, str, str]]:
    try:
        parts = SegmentName.parse(name)
    except SchemaError as error:
        yield "name", str(error), RENAME
        return
    if parts.journal != footer.journal:
        yield "name", f"its rows came from journal {footer.journal}, by its name from another", RENAME
    if parts.last_row - parts.first_row + 1 != footer.rows:
        yield (
            "range",
            f"by its name it holds {parts.last_row - parts.first_row + 1:,} rows, not {footer.rows:,}",
            RENAME,
        )


def _partition_values(path: Path) -> dict[str, object]:
    """Return the values in the path as they must stand in the data."""
    parts = [part for part in path.absolute().parent.parts if "=" in part]
    values: dict[str, object] = dict(parse_partition_path("/".join(parts)))
    if "date" in values:
        values["date"] = _date(str(values["date"]))
    return values


def _date(text: str) -> object:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return text


def _channel_of(path: Path) -> str | None:
    """Return the directory above the first of the partition, None for a file outside of a lake's layout."""
    above = ""
    for part in path.absolute().parent.parts:
        if part.partition("=")[0] in PARTITION_COLUMNS and "=" in part:
            return above
        above = part
    return None


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    missing = [name for name in wanted.names if name not in found.names]
    extra = [name for name in found.names if name not in wanted.names]
    other = [n for n in wanted.names if n in found.names and found.field(n).type != wanted.field(n).type]
    words = (("without", missing), ("with", extra), ("of another type:", other))
    return "; ".join(f"{word} {', '.join(names)}" for word, names in words if names) or "in another order"


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
