"""SQL over the tables of a lake, through DuckDB. A view is a list of exact files, made when a query names it."""

import re
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from daedalus.lake.scanning import schemas_differ
from daedalus.lake.selecting import Choice, partitions_of
from daedalus.lake.tables import Table
from daedalus.shared.errors import ConfigError, StorageError
from daedalus.shared.partitioning import PARTITION_COLUMNS, parse_partition_path
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition
from daedalus.storage.reader import open_ranges
from daedalus.storage.replaced import TRIES

#: Types of partition values, which DuckDB would else guess: `symbol=007` is a name.
_HIVE_TYPES = {
    "exchange": "VARCHAR",
    "symbol": "VARCHAR",
    "year": "INTEGER",
    "month": "INTEGER",
    "day": "INTEGER",
    "hour": "INTEGER",
    "date": "DATE",
}
#: Rows of a batch of a result.
BATCH_ROWS = 65_536
_ADVICE = (
    "\nA file that is replaced while it is read gives this as well: ask again. `daedalus verify` checks every file"
)
_Listing = dict[str, list[tuple[str, Partition]]]


def rows(tables: Mapping[str, Table], query: str) -> pa.Table:
    """Run one query and return all of its rows; as often as files that it reads are replaced or merged meanwhile.

    DuckDB opens a file more than once, by its name, and takes another file that has come in its place for a damaged
    one. Parameters and errors are those of `run`.
    """
    listed = _listed(tables, query)
    for _ in range(TRIES - 1):
        try:
            return _run(tables, listed, query).read_all()
        except StorageError:
            before, listed = listed, _listed(tables, query)
            if _files(before) == _files(listed):
                raise
    return _run(tables, listed, query).read_all()


def run(tables: Mapping[str, Table], query: str) -> pa.RecordBatchReader:
    """Run one query and return its rows, batch after batch.

    Parameters
    ----------
    tables
        By name. Only those that the query names are listed, and made views of.
    query
        DuckDB's SQL. Where it filters by partition columns, other files are not opened.

    Raises
    ------
    ConfigError
        If the query is wrong; the message is DuckDB's.
    StorageError
        If a file cannot be read.
    """
    return _run(tables, _listed(tables, query), query)


def _listed(tables: Mapping[str, Table], query: str) -> _Listing:
    """Return (source, partition) of all that is in the tables that a query names."""
    words = set(re.findall(r"\w+", query.lower()))
    named = [table for name, table in tables.items() if name in words or "show" in words]
    return {table.name: partitions_of(table, Choice()) for table in named}


def _files(listed: _Listing) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    return [(part.path.key, part.names, part.sizes) for parts in listed.values() for _, part in parts]


def _run(tables: Mapping[str, Table], listed: _Listing, query: str) -> pa.RecordBatchReader:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    try:
        for name, parts in listed.items():
            _define(connection, tables[name], parts)
        result = connection.sql(query)
        if result is None:
            raise ConfigError("the statement gives no rows")
        reader: pa.RecordBatchReader = result.to_arrow_reader(BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(reader.schema, _explained(reader))
    except (duckdb.IOException, duckdb.InvalidInputException, pa.ArrowException, OSError) as error:
        raise StorageError(f"{error}{_ADVICE}") from error
    except duckdb.Error as error:
        if type(error) is duckdb.Error:  # of a page that cannot be decoded; what is wrong in a query has a class
            raise StorageError(f"{error}{_ADVICE}") from error
        known = f"\nTables: {', '.join(tables)}" if isinstance(error, duckdb.CatalogException) else ""
        raise ConfigError(f"{error}{known}") from error


def _explained(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches; what fails while rows are computed is a file that cannot be read, or a value of the query."""
    try:
        yield from reader
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise StorageError(f"{error}{_ADVICE}") from error


def _define(connection: duckdb.DuckDBPyConnection, table: Table, listed: Sequence[tuple[str, Partition]]) -> None:
    """Make a table's view: one reader for each source, because their layouts may differ."""
    by_source: dict[str, list[Partition]] = {}
    for source, part in listed:
        by_source.setdefault(source, []).append(part)
    selects = []
    for number, parts in enumerate(by_source.values()):
        segments = [place for part in parts for place in part.segments()]
        if segments[0].local_path is not None:
            selects.append(_read_parquet(segments, table.name if table.layer == "bronze" else None))
        else:
            name = f"{table.name}_{number}_of_store"
            connection.register(name, _dataset(parts))
            selects.append(f"FROM {name}")
    if selects:
        connection.execute(
            f"CREATE VIEW {table.name} AS {' UNION ALL BY NAME '.join(f'({select})' for select in selects)}"
        )


def _read_parquet(segments: Sequence[Place], channel: str | None) -> str:
    """Return the statement that reads files of this machine, those of a channel of bronze or others."""
    paths = ", ".join(_quoted(str(place)) for place in segments)
    keys = [part.partition("=")[0] for part in str(segments[0].parent).split("/") if "=" in part]
    types = ", ".join(f"'{key}': {_HIVE_TYPES[key]}" for key in keys if key in _HIVE_TYPES)
    foreign = ", ".join(f'"{key}"' for key in dict.fromkeys(keys) if key not in PARTITION_COLUMNS)
    columns = f"* EXCLUDE ({foreign})" if foreign else "*"
    by_name = "true" if schemas_differ(segments, channel) else "false"
    return (
        f"FROM read_parquet([{paths}], hive_partitioning = true, hive_types = {{{types}}}, union_by_name = {by_name})"
        f" SELECT {columns}"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _dataset(parts: Sequence[Partition]) -> ds.Dataset:
    """Return the files of an object store as a dataset that fetches only the columns and row groups that are asked for.

    DuckDB's own reader of object stores is an extension that it would have to download.
    """
    form = ds.ParquetFileFormat()
    fragments = []
    for part in parts:
        where = _expression(part.path)
        for place, size in zip(part.segments(), part.sizes, strict=True):
            file = pa.PythonFile(open_ranges(place, size), mode="r")
            fragments.append(form.make_fragment(file, partition_expression=where))
    ends = [fragments[0].physical_schema, fragments[-1].physical_schema]
    return ds.FileSystemDataset(fragments, pa.unify_schemas(ends), form)


def _expression(place: Place) -> ds.Expression:
    """Return what the path says of every row in a folder."""
    values = parse_partition_path(place.key)
    terms = [ds.field(name) == value for name, value in values.items() if name != "date"]
    where = terms[0]
    for term in terms[1:]:
        where &= term
    return where
