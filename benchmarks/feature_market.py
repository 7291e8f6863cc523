"""A made-up market for the feature benchmark: a 20-level book at 10 Hz and 2 trades a second, hour after hour.

Written as recorded segments are: with the encodings of `ingestion.writers.encoding`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.ingestion.writers.encoding import ROW_GROUP_ROWS, parquet_options
from daedalus.shared.schemas import arrow_schema

HZ, LEVELS, SECONDS, TRADES_PER_SECOND = 10, 20, 3600, 2
ROWS = HZ * SECONDS
START_US = 1_750_291_200_000_000
EXCHANGE, SYMBOL = "synthetic", "BTC-USD"


def book_file(folder: Path, hour: int) -> Path:
    return folder / f"book_{hour:02d}.parquet"


def trade_file(folder: Path, hour: int) -> Path:
    return folder / f"trades_{hour:02d}.parquet"


def write_hours(folder: Path, hours: int) -> None:
    """Write the segments of so many hours; each begins where the one before ended."""
    tick = 1_000_000
    for hour in range(hours):
        books, tick = book_table(hour, tick)
        for path, channel, table in (
            (book_file(folder, hour), "orderbook", books),
            (trade_file(folder, hour), "trades", trade_table(hour)),
        ):
            options = parquet_options(arrow_schema(channel), "zstd", 3, table)
            pq.write_table(table, path, row_group_size=ROW_GROUP_ROWS, **options)


def book_table(hour: int = 0, tick: int = 1_000_000, rows: int = ROWS) -> tuple[pa.Table, int]:
    """Return an hour of rows, and where the next begins.

    A random walk on a grid of 0.01; about one log-normal size in six changes a row.
    """
    rng = np.random.default_rng([1, hour])
    at = START_US + hour * SECONDS * 1_000_000 + np.arange(rows) * (1_000_000 // HZ) + rng.integers(0, 20_000, rows)
    ticks = tick + np.cumsum(rng.integers(-1, 2, rows))
    width = np.maximum(1, np.cumsum(rng.integers(-1, 2, rows)) % 7)
    columns = {"collected_at": at * 1000 + 30_000_000, "timestamp": at, "nonce": hour * ROWS + np.arange(rows)}
    for side, sign in (("bids", -1), ("asks", 1)):
        steps = np.cumsum(rng.integers(1, 4, (rows // 50, LEVELS)), axis=1).repeat(50, axis=0)
        price = np.round((ticks[:, None] + sign * (width[:, None] // 2 + steps)) * 0.01, 2)
        columns[side] = _levels(price, _sizes(rng, rows))
    schema = arrow_schema("orderbook")
    fill = {"capture_ts": at, "exchange": [EXCHANGE] * rows, "symbol": [SYMBOL] * rows}
    arrays = {**fill, **columns}
    return pa.table([pa.array(arrays[f.name], f.type) for f in schema], schema=schema), int(ticks[-1])


def _sizes(rng: np.random.Generator, rows: int) -> np.ndarray:
    size = np.round(rng.lognormal(0.0, 1.0, (rows, LEVELS)), 4) + 0.0001
    kept = np.where(rng.random((rows, LEVELS)) < 1 / 6, np.arange(rows)[:, None], 0)
    return np.take_along_axis(size, np.maximum.accumulate(kept, axis=0), axis=0)


def _levels(price: np.ndarray, size: np.ndarray) -> pa.Array:
    values = pa.StructArray.from_arrays([price.ravel(), size.ravel()], ["price", "size"])
    return pa.ListArray.from_arrays(np.arange(0, price.size + 1, LEVELS, dtype=np.int32), values)


def trade_table(hour: int = 0, rate: int = TRADES_PER_SECOND) -> pa.Table:
    """Return an hour of trades."""
    rng = np.random.default_rng([2, hour])
    count = SECONDS * rate
    at = np.sort(START_US + hour * SECONDS * 1_000_000 + rng.integers(0, SECONDS * 1_000_000, count))
    columns = {"collected_at": at * 1000 + 30_000_000, "timestamp": at, "price": rng.normal(10_000.0, 1.0, count)}
    columns |= {"amount": np.round(rng.lognormal(-2.0, 1.0, count), 4) + 0.0001}
    columns |= {"side": rng.choice(["buy", "sell"], count), "capture_ts": at}
    columns |= {"exchange": [EXCHANGE] * count, "symbol": [SYMBOL] * count}
    schema = arrow_schema("trades")
    return pa.table([pa.array(columns.get(f.name, [None] * count), f.type) for f in schema], schema=schema)
