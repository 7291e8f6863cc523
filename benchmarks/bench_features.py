"""Features beside the floor: decoding the Parquet file that they are computed from.

One hour of a 20-level book at 10 Hz with 2 trades a second. Times are CPU seconds of one core, the best of several
passes, so that a busy machine shows as little as it can.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.etl.features.chunks import BookChunk, TradeChunk, book_chunk, trade_chunk
from daedalus.etl.features.config import FEATURE_SETS, FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.shared.schemas import arrow_schema

HZ, LEVELS, SECONDS, TRADES_PER_SECOND = 10, 20, 3600, 2
ROWS = HZ * SECONDS
CHUNK = 8192
PASSES = 5
START_US = 1_750_291_200_000_000


def synthetic_book() -> pa.Table:
    """Return bronze rows: a random walk on a 0.01 grid, log-normal sizes of which about one in six changes a row."""
    rng = np.random.default_rng(1)
    at = START_US + np.arange(ROWS) * (1_000_000 // HZ) + rng.integers(0, 20_000, ROWS)
    tick = 1_000_000 + np.cumsum(rng.integers(-1, 2, ROWS))
    width = np.maximum(1, np.cumsum(rng.integers(-1, 2, ROWS)) % 7)
    columns = {"collected_at": at * 1000 + 30_000_000, "timestamp": at, "nonce": np.arange(ROWS)}
    for side, sign in (("bids", -1), ("asks", 1)):
        steps = np.cumsum(rng.integers(1, 4, (ROWS // 50, LEVELS)), axis=1).repeat(50, axis=0)
        price = np.round((tick[:, None] + sign * (width[:, None] // 2 + steps)) * 0.01, 2)
        columns[side] = _levels(price, _sizes(rng))
    schema = arrow_schema("orderbook")
    fill = {"capture_ts": at, "exchange": ["synthetic"] * ROWS, "symbol": ["BTC-USD"] * ROWS}
    return pa.table([pa.array({**fill, **columns}[f.name], f.type) for f in schema], schema=schema)


def _sizes(rng: np.random.Generator) -> np.ndarray:
    size = np.round(rng.lognormal(0.0, 1.0, (ROWS, LEVELS)), 4) + 0.0001
    kept = np.where(rng.random((ROWS, LEVELS)) < 1 / 6, np.arange(ROWS)[:, None], 0)
    return np.take_along_axis(size, np.maximum.accumulate(kept, axis=0), axis=0)


def _levels(price: np.ndarray, size: np.ndarray) -> pa.Array:
    values = pa.StructArray.from_arrays([price.ravel(), size.ravel()], ["price", "size"])
    return pa.ListArray.from_arrays(np.arange(0, ROWS * LEVELS + 1, LEVELS, dtype=np.int32), values)


def synthetic_trades() -> pa.Table:
    rng = np.random.default_rng(2)
    count = SECONDS * TRADES_PER_SECOND
    at = np.sort(START_US + rng.integers(0, SECONDS * 1_000_000, count))
    columns = {"collected_at": at * 1000 + 30_000_000, "timestamp": at, "price": rng.normal(10_000.0, 1.0, count)}
    columns |= {"amount": np.round(rng.lognormal(-2.0, 1.0, count), 4) + 0.0001}
    columns |= {"side": rng.choice(["buy", "sell"], count)}
    schema = arrow_schema("trades")
    return pa.table([pa.array(columns.get(f.name, [None] * count), f.type) for f in schema], schema=schema)


def best(work: Callable[[], object], passes: int = PASSES) -> float:
    """Return the least CPU seconds of several passes, after one that compiles and warms up."""
    work()
    times = []
    for _ in range(passes):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def decode_pyarrow(path: Path) -> None:
    """Decode to contiguous [n, levels] arrays, all rows being full."""
    table = pq.read_table(path, columns=["timestamp", "bids", "asks"], use_threads=False)
    for name in ("bids", "asks"):
        values = table.column(name).combine_chunks().values
        for part in ("price", "size"):
            np.ascontiguousarray(values.field(part).to_numpy().reshape(-1, LEVELS))


def decode_polars(path: Path) -> None:
    frame = pl.read_parquet(path, columns=["timestamp", "bids", "asks"], parallel="none")
    for name in ("bids", "asks"):
        values = frame.get_column(name).explode(empty_as_null=True).struct
        for part in ("price", "size"):
            np.ascontiguousarray(values.field(part).to_numpy().reshape(-1, LEVELS))


def read(path: Path, max_levels: int) -> BookChunk:
    columns = ["collected_at", "timestamp", "nonce", "bids", "asks"]
    return book_chunk(pq.read_table(path, columns=columns, use_threads=False), max_levels)


def compute(features: FeatureSet, book: BookChunk, trades: TradeChunk) -> None:
    """Walk the hour in chunks, as a driver does; trades come with the chunk that they were received by."""
    state, given = features.new_state(), 0
    for start in range(0, len(book), CHUNK):
        part = book.rows(start, min(start + CHUNK, len(book)))
        upto = int(np.searchsorted(trades.collected_at, part.collected_at[-1], "right"))
        state, outputs = features.apply(state, part, trades.rows(given, upto))
        features.to_arrow(outputs)
        given = upto


def live_us(features: FeatureSet, book: BookChunk) -> float:
    """Return the median microseconds that one row costs, handed over by itself."""
    state, times = features.new_state(), []
    for k in range(3000):
        row = book.rows(k, k + 1)
        started = time.perf_counter_ns()
        features.apply(state, row)
        times.append(time.perf_counter_ns() - started)
    return float(np.median(times)) / 1000.0


def report(label: str, seconds: float, floor: float) -> None:
    print(f"{label:44s} {ROWS / seconds:12,.0f} rows/s  {seconds / floor:6.2f} x decoding with PyArrow")


def main() -> None:
    """Print rows per second of each stage and its ratio to the floor."""
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "book.parquet"
        pq.write_table(synthetic_book(), path, compression="zstd", row_group_size=32_768)
        trades = trade_chunk(synthetic_trades())
        floor = best(lambda: decode_pyarrow(path))
        report("floor: decode with PyArrow", floor, floor)
        report("floor: decode with Polars", best(lambda: decode_polars(path)), floor)
        report("read and clean (book_chunk)", best(lambda: read(path, LEVELS)), floor)
        book = read(path, LEVELS)
        sets = {name: FeatureConfig(feature_set=name) for name in FEATURE_SETS}
        for label, config in sets.items():
            features = FeatureSet(config)
            count = len(features.columns)
            alone = best(lambda features=features: compute(features, book, trades))
            report(f"{label} ({count} columns): compute, to Arrow", alone, floor)
            both = best(lambda features=features: compute(features, read(path, LEVELS), trades))
            report(f"{label} ({count} columns): read, compute, to Arrow", both, floor)
            print(f"{label}: one row by itself takes {live_us(features, book):.0f} us (median, wall)")


if __name__ == "__main__":
    main()
