"""`daedalus query`: SQL over a lake."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from daedalus.cli import etl, lakes
from daedalus.shared.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows that `--format table` shows.
TABLE_ROWS = 100


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def query(
    statement: Annotated[str, typer.Argument(help="SQL, or - to read it from stdin.")],
    format: Annotated[
        Format, typer.Option("--format", help=f"table shows {TABLE_ROWS} rows; json is one object a line.")
    ] = Format.TABLE,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; default: stdout.")] = None,
    base: lakes.LakeOption = None,
    source: lakes.SourceOption = None,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Run a query in DuckDB's SQL over the tables that `daedalus ls` shows.

    Filters on exchange, symbol, year, month, day and hour decide which files are opened. Results may be larger than
    memory, but for --format table.

    Example: daedalus query "select symbol, count(*) from trades where year = 2025 group by 1" --base-dir data

    Exit codes: 0 done; 1 a file cannot be read or written; 2 the query, settings or flags are wrong.
    """
    if format is Format.PARQUET and output is None and sys.stdout.isatty():
        raise ConfigError("--format parquet is not for a terminal: give --output FILE, or a pipe")
    text = sys.stdin.read() if statement == "-" else statement
    rows = lakes.opened(base, source, config, overrides).sql_batches(text)
    if format is Format.TABLE:
        if output is not None:
            raise ConfigError("--format table is for reading: give csv, json or parquet with --output")
        _print(rows)
        return
    with _sink(output) as sink:
        _WRITERS[format](rows, sink)


def _print(rows: "pa.RecordBatchReader") -> None:
    """Print the first rows, and say when there are more."""
    every = (row for batch in rows for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
    lakes.print_table(rows.schema.names, list(islice(every, TABLE_ROWS)))
    if next(every, None) is not None:
        typer.echo(f"the first {TABLE_ROWS} rows; --format csv, json or parquet gives all", err=True)


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    """Give where to write; a file that could not be finished is removed."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    from daedalus.storage.local import explained

    with explained(output), output.open("wb") as file:
        try:
            yield file
        except BaseException:
            output.unlink(missing_ok=True)
            raise


def _csv(rows: "pa.RecordBatchReader", sink: BinaryIO) -> None:
    import polars as pl

    header = True
    for batch in rows:
        frame = pl.DataFrame(batch)
        nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
        if nested:
            raise ConfigError(f"csv has no lists ({', '.join(nested)}): choose their elements, or --format json")
        frame.write_csv(sink, include_header=header)
        header = False
    if header:
        sink.write((",".join(rows.schema.names) + "\n").encode())


def _json(rows: "pa.RecordBatchReader", sink: BinaryIO) -> None:
    import polars as pl

    for batch in rows:
        pl.DataFrame(batch).write_ndjson(sink)


def _parquet(rows: "pa.RecordBatchReader", sink: BinaryIO) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(sink, rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)


_WRITERS = {Format.CSV: _csv, Format.JSON: _json, Format.PARQUET: _parquet}
