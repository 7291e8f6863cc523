"""A made-up lake for the ETL benchmark: a day of four symbols, and a store that counts what is read of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.feature_market import EXCHANGE, HZ, START_US, book_table, trade_table
from daedalus.ingestion.writers.encoding import ROW_GROUP_ROWS, parquet_options
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PartitionKey
from daedalus.shared.schemas import arrow_schema
from daedalus.shared.segment import SegmentName
from daedalus.storage.local import LocalStorage

SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")
HOURS, SOURCE = 24, "coinbase"


def write_day(lake: Path, hz: int, hours: int = HOURS) -> tuple[int, int]:
    """Write a day of books at so many rows a second, and 2 trades a second; return the rows of books, and bytes.

    All symbols have the same market: it is made once.
    """
    rows, tick = 0, 1_000_000
    for hour in range(hours):
        books, tick = book_table(hour, tick)
        books = books.take(pa.array(np.arange(0, books.num_rows, HZ // hz)))
        for symbol in SYMBOLS:
            write_segment(lake, "orderbook", of_market(books, symbol))
            write_segment(lake, "trades", of_market(trade_table(hour), symbol))
            rows += books.num_rows
    return rows, sum(path.stat().st_size for path in lake.rglob("*.parquet"))


def write_segment(lake: Path, channel: str, table: pa.Table) -> None:
    """Write a segment as a recorder would."""
    symbol, at = table["symbol"][0].as_py(), table["collected_at"][0].as_py()
    hour = (at // 1000 - START_US) // 3_600_000_000
    name = SegmentName(f"20250619T{hour:02d}0000Z-{hour:08x}", 0, table.num_rows - 1).file_name()
    folder = lake / f"raw/ready/{SOURCE}/{channel}" / PartitionKey.of(EXCHANGE, symbol, at).path()
    folder.mkdir(parents=True, exist_ok=True)
    options = parquet_options(arrow_schema(channel), "zstd", 3, table)
    pq.write_table(table, folder / name, row_group_size=ROW_GROUP_ROWS, **options)


def of_market(table: pa.Table, symbol: str) -> pa.Table:
    """Return rows with the names of the market and its partition in them."""
    key = PartitionKey.of(EXCHANGE, symbol, table["collected_at"][0].as_py())
    for name, value in {"symbol": symbol, **key.values(DEFAULT_PARTITION_COLUMNS)}.items():
        at = table.schema.get_field_index(name)
        if at >= 0:
            column = pa.repeat(pa.scalar(value, table.schema.field(at).type), table.num_rows)
            table = table.set_column(at, table.schema.field(at), column)
    return table


class Counting:
    """A directory that is read as an object store is, and counts how often each object is fetched."""

    def __init__(self, base: Path) -> None:
        self._inner = LocalStorage(base)
        self.fetched: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def local_path(self, key: str) -> None:
        return None

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        self.fetched[key] += 1
        return self._inner.get(key, start=start, length=length)
