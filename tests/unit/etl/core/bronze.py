"""Writes bronze for tests: segments of the declared schema, each in the directory of its hour."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PartitionKey
from daedalus.shared.schemas import arrow_schema
from daedalus.shared.segment import SegmentName

S = 10**9
HOUR = 3600 * S
#: 2025-06-19 14:00 UTC
T0 = 1_750_341_600 * S


def write_bronze(
    base: Path,
    channel: str,
    rows: list[dict[str, Any]],
    *,
    exchange: str = "coinbase",
    symbol: str = "BTC-USD",
    source: str = "coinbase",
    journal: int = 0,
    row_group: int = 1000,
    partition_by: list[str] | None = None,
) -> list[Path]:
    """Write the rows of one market as a writer would seal one journal: a segment an hour, sorted by receive clock."""
    columns = partition_by or DEFAULT_PARTITION_COLUMNS
    schema = arrow_schema(channel, tuple(columns))
    by_place: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["collected_at"]):
        key = PartitionKey.of(exchange, symbol, row["collected_at"])
        full = {"capture_ts": row["collected_at"] // 1000, **key.values(columns), **row}
        by_place.setdefault(key.path(columns), []).append(full | {"exchange": key.exchange, "symbol": key.symbol})
    written = []
    for place, own in by_place.items():
        name = SegmentName(f"20250619T{journal:06d}Z-{journal:08x}", 0, len(own) - 1).file_name()
        path = base / "raw" / "ready" / source / channel / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.Table.from_pylist(own, schema=schema), path, row_group_size=row_group, write_page_checksum=True
        )
        written.append(path)
    return written


def books(start: int, count: int, step: int = S // 10, *, levels: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """Return snapshots of a market that walks by ticks of 0.01; event time a little before receive time."""
    rng = np.random.default_rng(seed)
    mid = 100.0 + np.cumsum(rng.integers(-2, 3, count)) * 0.01
    sizes = np.round(rng.exponential(2.0, (count, 2, levels)) + 0.001, 3)
    rows = []
    for i in range(count):
        at = start + i * step
        rows.append(
            {
                "collected_at": at,
                "timestamp": (at - 20_000_000) // 1000,
                "nonce": i,
                "bids": [{"price": round(mid[i] - 0.01 * (k + 1), 2), "size": sizes[i, 0, k]} for k in range(levels)],
                "asks": [{"price": round(mid[i] + 0.01 * (k + 1), 2), "size": sizes[i, 1, k]} for k in range(levels)],
            }
        )
    return rows


def trades(start: int, count: int, step: int = S, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return trades about 100."""
    rng = np.random.default_rng(seed)
    price = np.round(100.0 + np.cumsum(rng.normal(0, 0.02, count)), 2)
    return [
        {
            "collected_at": start + i * step,
            "timestamp": (start + i * step - 15_000_000) // 1000,
            "trade_id": str(i),
            "side": ["buy", "sell", None][int(rng.integers(0, 10)) // 4 % 3],
            "price": float(price[i]),
            "amount": float(np.round(rng.exponential(0.5) + 0.001, 4)),
        }
        for i in range(count)
    ]


def tickers(start: int, count: int, step: int = S, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return tickers of a perpetual about 100, with what Bybit sends beside the columns."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        at, last = start + i * step, float(np.round(100.0 + rng.normal(0, 0.1), 2))
        sent = {
            "markPrice": f"{last + 0.01:.2f}",
            "indexPrice": "100.00",
            "openInterest": str(1000 + int(rng.integers(0, 50))),
            "fundingRate": "0.0001",
            "fundingIntervalHour": "8",
            "nextFundingTime": str((T0 + 2 * HOUR) // 1_000_000),
        }
        rows.append(
            {
                "collected_at": at,
                "timestamp": (at - 10_000_000) // 1000,
                "bid": last - 0.01,
                "ask": last + 0.01,
                "last": last,
                "high": 101.0,
                "low": 99.0,
                "base_volume": 5e4,
                "quote_volume": 5e6,
                "info_json": json.dumps(sent),
            }
        )
    return rows


def gap(started_at: int, ended_at: int | None, channel: str = "orderbook") -> dict[str, Any]:
    """Return an entry of the gap ledger."""
    at = ended_at or started_at + 1
    return {
        "collected_at": at,
        "channel": channel,
        "started_at": started_at,
        "ended_at": ended_at,
        "reason": "disconnect",
        "missed": None,
        "detail": None,
    }
