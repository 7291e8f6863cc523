"""Plain files of any table of the lake, for programs that read neither Parquet nor the lake: csv, and Arrow's IPC."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

#: Levels a side of books in csv, which has no lists.
CSV_LEVELS = 20
#: Rows that are in hand at a time, at least.
_CSV_ROWS, _ARROW_ROWS = 4096, 32_768


def write_csv(files: Sequence[pl.LazyFrame], path: Path) -> None:
    """Write rows as csv: times as ISO text, null as nothing.

    Sides of books become columns as in features: ``bid_price_l0``, ``bid_size_l0`` ... of `CSV_LEVELS` levels.
    """
    with path.open("wb") as sink:
        for number, frame in enumerate(_frames([flat(rows) for rows in files], _CSV_ROWS)):
            frame.write_csv(sink, include_header=number == 0, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")


def write_arrow(files: Sequence[pl.LazyFrame], path: Path) -> None:
    """Write rows as one Arrow IPC file (Feather), zstd."""
    frames = _frames(files, _ARROW_ROWS)
    tables = (frame.to_arrow(compat_level=pl.CompatLevel.oldest()) for frame in frames)
    first = next(tables)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(path, first.schema, options=options) as sink:
        for table in itertools.chain([first], tables):
            sink.write_table(table)


def _frames(files: Sequence[pl.LazyFrame], rows_max: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of all files, one file after the other; first a frame without rows, whose columns are theirs."""
    yield files[0].clear().collect()
    for rows in files:
        yield from rows.collect_batches(chunk_size=rows_max, maintain_order=True)


def flat(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rows whose book sides are columns, a price and a size for each level."""
    chosen: list[pl.Expr] = []
    for name, dtype in rows.collect_schema().items():
        if not dtype.is_nested():
            chosen.append(pl.col(name))
            continue
        side = name.removesuffix("s")
        for level in range(CSV_LEVELS):
            one = pl.col(name).list.get(level, null_on_oob=True).struct
            chosen += [one.field(part).alias(f"{side}_{part}_l{level}") for part in ("price", "size")]
    return rows.select(chosen)
