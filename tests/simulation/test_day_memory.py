"""A day of a busy market, ten books a second: reading, judging and exporting it takes little memory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PartitionKey
from daedalus.shared.schemas import arrow_schema
from daedalus.shared.segment import SegmentName
from tests.unit.lake.bronze import HOUR, T0

BOOKS_AN_HOUR, CHANGES_A_BOOK, TRADES_AN_HOUR = 36_000, 10, 7_200
LEVELS, DEPTH = 1000, 20
RSS_MB_MAX = 300
DAY = {"books": 24 * BOOKS_AN_HOUR, "trades": 24 * TRADES_AN_HOUR, "changes": 24 * BOOKS_AN_HOUR * CHANGES_A_BOOK}
#: What is done with the day, and how many rows come of it. Each runs in a process of its own.
DONE = {
    "replay": ("sum(1 for _ in lake.replay('BTC-USD'))", 2 * DAY["books"] + DAY["trades"]),
    "books": ("sum(len(f) for f in lake.books('BTC-USD', depth=20))", DAY["books"]),
    "books, a second": ("sum(len(f) for f in lake.books('BTC-USD', every='1s'))", 24 * 3600),
    "quality": ("lake.quality(save=False).hours['rows'].sum()", DAY["books"] + DAY["trades"] + DAY["changes"]),
    "hftbacktest": ("export('hftbacktest', symbol='BTC-USD')", DAY["changes"] + DAY["trades"]),
    "nautilus": ("export('nautilus', symbol='BTC-USD', pair='BTC/USD')", DAY["changes"] + DAY["trades"]),
    "csv": ("export('csv', table='orderbook')", DAY["books"]),
    "arrow": ("export('arrow', table='l2')", DAY["changes"]),
    "arrow of books": ("export('arrow', table='orderbook')", DAY["books"]),
}
_PROGRAM = """
import sys, daedalus

lake = daedalus.open_lake(sys.argv[1])

def export(form, **choice):
    return lake.export(form, sys.argv[2], **choice)

rows = {what}
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
if rows is None:
    import polars as pl
    made = pl.scan_csv(sys.argv[2]) if "csv" in sys.argv[3] else pl.scan_ipc(sys.argv[2])
    rows = made.select(pl.len()).collect().item()
print(rows)
"""


def day() -> Iterator[tuple[PartitionKey, dict[str, dict[str, Any]]]]:
    """Yield the columns of each channel by hour, without those of the partition; the first book change is whole."""
    rng, books, changes = np.random.default_rng(1), BOOKS_AN_HOUR, BOOKS_AN_HOUR * CHANGES_A_BOOK
    for hour in range(24):
        start = T0 + hour * HOUR
        at = start + np.arange(books) * (HOUR // books)
        nonce = np.arange(books) + hour * books
        level, is_bid = rng.integers(1, LEVELS, changes), np.arange(changes) % 2 == 0
        mid = 50_000 + np.cumsum(rng.integers(-1, 2, books)) / 10
        traded = start + np.arange(TRADES_AN_HOUR) * (HOUR // TRADES_AN_HOUR)
        l2 = {
            **clocks(np.repeat(at, CHANGES_A_BOOK)),
            "nonce": np.repeat(nonce, CHANGES_A_BOOK),
            "is_snapshot": np.full(changes, hour == 0) & (np.arange(changes) < CHANGES_A_BOOK),
            "side": np.where(is_bid, "bid", "ask"),
            "price": np.where(is_bid, 50_000 - level / 10, 50_000 + level / 10),
            "size": np.round(rng.random(changes), 8) * (rng.random(changes) > 0.2),
        }
        sides = {side: levels(mid, step, rng) for side, step in (("bids", -0.1), ("asks", 0.1))}
        trades = {
            **clocks(traded),
            "trade_id": np.arange(TRADES_AN_HOUR).astype(str),
            "side": np.where(rng.random(TRADES_AN_HOUR) > 0.5, "buy", "sell"),
            "price": 50_000 + rng.integers(-9, 9, TRADES_AN_HOUR) / 10,
            "amount": np.round(rng.random(TRADES_AN_HOUR) + 0.001, 8),
        }
        orderbook = {**clocks(at), "nonce": nonce, **sides}
        yield PartitionKey.of("coinbase", "BTC-USD", start), {"l2": l2, "orderbook": orderbook, "trades": trades}


def clocks(at: Any) -> dict[str, Any]:
    """Return the columns of time."""
    return {"collected_at": at, "capture_ts": at // 1000, "timestamp": at // 1000 - 20_000}


def levels(mid: Any, step: float, rng: np.random.Generator) -> pa.ListArray:
    """Return a side of books, `DEPTH` levels each."""
    prices = np.round(mid[:, None] + step * np.arange(1, DEPTH + 1), 1).ravel()
    sizes = np.round(rng.random(len(prices)), 4)
    kind = arrow_schema("orderbook").field("bids").type
    one = pa.StructArray.from_arrays([pa.array(prices), pa.array(sizes)], fields=list(kind.value_type))
    return pa.ListArray.from_arrays(pa.array(np.arange(len(mid) + 1) * DEPTH, pa.int32()), one).cast(kind)


def write(base: Path, channel: str, key: PartitionKey, columns: dict[str, Any]) -> None:
    """Write one segment; what a channel has beside the columns is null."""
    schema, rows = arrow_schema(channel, tuple(DEFAULT_PARTITION_COLUMNS)), len(columns["collected_at"])
    columns |= {name: np.repeat(value, rows) for name, value in key.values().items()}
    arrays = [pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in schema]
    folder = base / "raw" / "ready" / "coinbase" / channel / key.path()
    folder.mkdir(parents=True)
    name = SegmentName("20250619T000000Z-00000001", 0, rows - 1).file_name()
    pq.write_table(pa.table(arrays, schema=schema), folder / name, row_group_size=32_768, compression="zstd")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("day")
    for key, channels in day():
        for channel, columns in channels.items():
            write(base, channel, key, columns)
    return base


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("name", DONE)
def test_a_day_takes_little_memory(base: Path, tmp_path: Path, name: str) -> None:
    what, expected = DONE[name]
    command = [sys.executable, "-c", _PROGRAM.format(what=what), str(base), str(tmp_path / "out"), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak_kib, rows = (int(line) for line in done.stdout.split())
    print(f"{name}: {rows:,} rows, {peak_kib / 1024:.0f} MB")
    assert abs(rows - expected) <= 0.01 * expected
    assert peak_kib < RSS_MB_MAX * 1024
