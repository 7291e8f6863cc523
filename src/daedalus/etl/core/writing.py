"""Writing partitions: a temporary file beside the final one, synced, then put in the place of what was there.

Readers see the old rows or the new ones (`replacing` has how). A crash leaves the old ones and a file that ends in
``.tmp``, which no reader's glob matches and which the next run removes.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import daedalus
from daedalus.etl.core.config import OutputMode
from daedalus.etl.core.manifest import KEY
from daedalus.etl.core.replacing import appended, appended_name, put_new, replace, temporary
from daedalus.etl.transforms.base import Market, Output, arrow_field, constant
from daedalus.shared.errors import SchemaError, StorageError
from daedalus.shared.partitioning import PartitionKey
from daedalus.shared.schemas import PARTITION_DTYPES, Column
from daedalus.shared.segment import FOOTER_PREFIX
from daedalus.storage.base import Place
from daedalus.storage.partitions import REPLACES, replaces

ROW_GROUP_ROWS = 32_768
_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True)
class Written:
    """One published partition, and the hours that its rows are of."""

    path: Place
    rows: int
    bytes: int
    hours: frozenset[PartitionKey]


@dataclass(frozen=True)
class FileFormat:
    """How files are laid out and encoded."""

    partition_cols: Sequence[str]
    compression: str
    compression_level: int
    mode: OutputMode = "overwrite_partition"


class OutputWriter:
    """Writes the rows of one output and market, partition after partition; each is published when the next one begins.

    Parameters
    ----------
    root
        Folder of the output.
    output
        What is written.
    market
        Whose rows they are.
    form
        Layout and encoding.
    selects
        Whether the hour of a key is to be written; rows of others are dropped.
    published
        Called for each published partition.
    made_from
        What `manifest.manifest` says of the inputs, for the footer; None says nothing.
    """

    def __init__(
        self,
        root: Place,
        output: Output,
        market: Market,
        form: FileFormat,
        selects: Callable[[PartitionKey], bool],
        published: Callable[[Written], None],
        made_from: str | None = None,
    ) -> None:
        self._root = root
        self._output = output
        self._market = market
        self._form = form
        self._selects = selects
        self._published = published
        self._schema = output_schema(output, form.partition_cols)
        self._footer = {} if made_from is None else {KEY: made_from}
        self._open: _PartitionFile | None = None
        self._newest: PartitionKey | None = None

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows in the order of their time column.

        Raises
        ------
        SchemaError
            If rows go back to an earlier hour: their partition may be published already.
        StorageError
            If the disk refuses.
        """
        for key, piece in self._by_hour(rows):
            if self._newest is not None and key < self._newest:
                raise SchemaError(f"{self._root}: rows of {key.start} after rows of {self._newest.start}")
            self._newest = key
            if self._selects(key):
                self._into(key).write(self._with_partition(piece, key), key)

    def finish(self) -> None:
        """Publish the last partition."""
        if self._open is not None:
            written = self._open.publish()
            self._open = None
            self._published(written)

    def discard(self) -> None:
        """Give up the partition that is being written; what stood in its place stays."""
        if self._open is not None:
            self._open.discard()
            self._open = None

    def _by_hour(self, rows: pa.RecordBatch) -> Iterator[tuple[PartitionKey, pa.RecordBatch]]:
        times = rows[self._output.time_column].to_numpy()
        hours = times // _HOUR_NS
        starts = [0, *(np.flatnonzero(np.diff(hours)) + 1).tolist()] if len(hours) else []
        for start, end in zip(starts, [*starts[1:], len(hours)], strict=False):
            key = PartitionKey.of(self._market.exchange, self._market.symbol, int(times[start]))
            yield key, rows.slice(start, end - start)

    def _into(self, key: PartitionKey) -> "_PartitionFile":
        folder = self._root / key.path(self._form.partition_cols)
        if self._open is None or self._open.final.parent != folder:
            self.finish()
            final = folder / self._output.file_name
            self._open = _PartitionFile(final, self._schema, self._form, self._output.time_column, self._footer)
        return self._open

    def _with_partition(self, rows: pa.RecordBatch, key: PartitionKey) -> pa.Table:
        columns = list(rows.columns)
        for name, value in key.values(self._form.partition_cols).items():
            if name not in rows.schema.names:
                columns.append(constant(value, output_field(name).type, rows.num_rows))
        return pa.table(columns, schema=self._schema)


def output_field(name: str) -> pa.Field:
    """Return the field of a partition column."""
    return arrow_field(Column(name, PARTITION_DTYPES[name], "", "partition, as in the path"))


def output_schema(output: Output, partition_cols: Sequence[str]) -> pa.Schema:
    """Return the schema of an output's files: its own columns, then those partition columns that it lacks."""
    own = output.schema
    fields = [*own, *(output_field(name) for name in partition_cols if name not in own.names)]
    pairs = {**dict(output.metadata), "writer_version": daedalus.__version__}
    return pa.schema(fields, metadata={FOOTER_PREFIX + key: value for key, value in pairs.items()})


def parquet_options(schema: pa.Schema, form: FileFormat) -> dict[str, Any]:
    """Return the arguments of `pyarrow.parquet.ParquetWriter`.

    Integers as deltas, strings through a dictionary; floats plain, in which zstd finds the repeats.
    """
    deltas = [f.name for f in schema if f.type in (pa.int32(), pa.int64())]
    levelled = form.compression in ("zstd", "gzip")
    return {
        "compression": form.compression,
        "compression_level": form.compression_level if levelled else None,
        "use_dictionary": [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_date(f.type)],
        "column_encoding": dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
        "data_page_version": "1.0",
        "write_page_checksum": True,
    }


class _PartitionFile:
    """One partition while it is written. Rows are encoded in groups of `ROW_GROUP_ROWS`, however they come in."""

    def __init__(
        self, final: Place, schema: pa.Schema, form: FileFormat, time_column: str, footer: Mapping[str, str]
    ) -> None:
        self.final = final
        self._schema = schema
        self._mode, self._time_column, self._footer = form.mode, time_column, dict(footer)
        self._first: int | None = None
        self._last = 0
        self._held: list[pa.Table] = []
        self._held_rows = self._rows = 0
        self._hours = set[PartitionKey]()
        self._temp = temporary(final)
        try:
            with self._explained():
                self._sink = pa.OSFile(str(self._temp), "wb")
                self._writer = pq.ParquetWriter(self._sink, schema, **parquet_options(schema, form))
        except BaseException:
            self._temp.unlink(missing_ok=True)
            raise

    def write(self, rows: pa.Table, hour: PartitionKey) -> None:
        self._hours.add(hour)
        times = rows[self._time_column]
        self._first = times[0].as_py() if self._first is None else self._first
        self._last = times[-1].as_py()
        self._held.append(rows)
        self._held_rows += rows.num_rows
        if self._held_rows >= ROW_GROUP_ROWS:
            self._encode(self._held_rows - self._held_rows % ROW_GROUP_ROWS)

    def publish(self) -> Written:
        self._encode(self._held_rows)
        final = self._final()
        with self._explained():
            beside = appended(final) if self._mode == "overwrite_partition" else []
            if beside:
                self._footer[REPLACES] = replaces(place.name for place in beside)
            self._writer.add_key_value_metadata(self._footer)
            self._writer.close()
            self._sink.close()
            size = self._temp.stat().st_size
            if self._mode != "error":
                replace(self._temp, final, beside)
            else:
                put_new(self._temp, final)
        return Written(final, self._rows, size, frozenset(self._hours))

    def _final(self) -> Place:
        """Return the file's place; appended files are told apart by their times, so that a rerun replaces its own."""
        if self._mode != "append":
            return self.final
        return self.final.parent / appended_name(self.final, self._first, self._last)

    def discard(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError, pa.ArrowException):
            self._sink.close()
        self._temp.unlink(missing_ok=True)

    def _encode(self, count: int) -> None:
        table = pa.concat_tables(self._held) if self._held else self._schema.empty_table()
        with self._explained():
            if count:
                self._writer.write_table(table.slice(0, count), row_group_size=ROW_GROUP_ROWS)
        rest = table.slice(count)
        self._held, self._held_rows, self._rows = [rest], rest.num_rows, self._rows + count

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the disk says into an error that names the file."""
        try:
            yield
        except OSError as error:
            self._temp.unlink(missing_ok=True)
            raise StorageError(f"cannot write {self.final}: {error}. The file that was there before stands") from error
