"""Plain files of any table of the lake, for programs that read neither Parquet nor the lake: csv, and Arrow's IPC."""

from pathlib import Path

import polars as pl

#: Levels a side of books in csv, which has no lists.
CSV_LEVELS = 20


def write_csv(rows: pl.LazyFrame, path: Path) -> None:
    """Write rows as csv, in the streaming engine: times as ISO text, null as nothing.

    Sides of books become columns as in features: ``bid_price_l0``, ``bid_size_l0`` ... of `CSV_LEVELS` levels.
    """
    flat(rows).sink_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")


def write_arrow(rows: pl.LazyFrame, path: Path) -> None:
    """Write rows as one Arrow IPC file (Feather), zstd, in the streaming engine."""
    rows.sink_ipc(path, compression="zstd", compat_level=pl.CompatLevel.oldest())


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
