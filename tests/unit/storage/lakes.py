"""Small lakes of files that look like segments and partitions; their bytes are random, for what only moves them."""

import os
import random
from pathlib import Path

from daedalus.storage.ledger import Ledger
from daedalus.storage.local import LocalStorage

PATHS = ("raw/ready", "processed")
FOLDER = "raw/ready/coinbase/trades/exchange=coinbase/symbol={symbol}/year=2025/month=06/day=19/hour={hour:02d}"
SILVER = "processed/coinbase/orderbook/silver/exchange=coinbase/symbol=BTC-USD/year=2025/features.parquet"
#: Long ago, so that every rule about age lets a file go.
OLD = 1_750_000_000


def segment_key(number: int, symbol: str = "BTC-USD") -> str:
    name = f"segment_20250619T{number % 24:02d}0000Z-{number:08x}_000000000-000000099.parquet"
    return f"{FOLDER.format(symbol=symbol, hour=number % 24)}/{name}"


def make_lake(base: Path, segments: int, *, size: int = 500, seed: int = 0, silver: bool = True) -> LocalStorage:
    """Write a lake with its ledger, as sealing leaves it."""
    rng, lake = random.Random(seed), LocalStorage(base)
    keys = [segment_key(number) for number in range(segments)]
    for key in keys:
        write(lake, key, rng.randbytes(size))
    with Ledger(base) as ledger:
        ledger.record_sealed([base / key for key in keys])
    if silver:
        write(lake, SILVER, rng.randbytes(size))
    return lake


def write(lake: LocalStorage, key: str, data: bytes, at: int = OLD) -> None:
    path = lake.local_path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (at, at))


def contents(lake: LocalStorage) -> dict[str, bytes]:
    """Return all synced files."""
    return {info.key: lake.get(info.key) for path in PATHS for info in lake.list(path)}
