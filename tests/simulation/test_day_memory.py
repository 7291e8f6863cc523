"""A day of a busy market: replaying it and rebuilding its books takes little memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PartitionKey
from daedalus.shared.schemas import arrow_schema
from daedalus.shared.segment import SegmentName
from tests.unit.lake.bronze import HOUR, T0

ROWS_AN_HOUR, ROWS_A_FRAME, LEVELS = 200_000, 10, 1000
RSS_MB_MAX = 300
_READ = """
import resource, sys
import daedalus

lake = daedalus.open_lake(sys.argv[1])
if sys.argv[2] == "replay":
    print(sum(1 for _ in lake.replay("BTC-USD", ["l2"])))
else:
    print(sum(len(frame) for frame in lake.books("BTC-USD", every="1s", depth=20)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_day(base: Path) -> None:
    """Write 24 hours of `l2`, the first frame a whole book."""
    rng, frames = np.random.default_rng(1), ROWS_AN_HOUR // ROWS_A_FRAME
    schema = arrow_schema("l2", tuple(DEFAULT_PARTITION_COLUMNS))
    for hour in range(24):
        start = T0 + hour * HOUR
        key = PartitionKey.of("coinbase", "BTC-USD", start)
        at = np.repeat(start + np.arange(frames) * (HOUR // frames), ROWS_A_FRAME)
        nonce = np.repeat(np.arange(frames) + hour * frames, ROWS_A_FRAME)
        level, is_bid = rng.integers(1, LEVELS, ROWS_AN_HOUR), np.arange(ROWS_AN_HOUR) % 2 == 0
        columns = {
            "collected_at": at,
            "capture_ts": at // 1000,
            "timestamp": at // 1000,
            "nonce": nonce,
            "is_snapshot": np.full(ROWS_AN_HOUR, hour == 0) & (nonce == 0),
            "side": np.where(is_bid, "bid", "ask"),
            "price": np.where(is_bid, 50_000 - level / 10, 50_000 + level / 10),
            "size": np.round(rng.random(ROWS_AN_HOUR), 8) * (rng.random(ROWS_AN_HOUR) > 0.2),
            **{name: np.repeat(value, ROWS_AN_HOUR) for name, value in key.values().items()},
        }
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
        folder = base / "raw" / "ready" / "coinbase" / "l2" / key.path()
        folder.mkdir(parents=True)
        name = SegmentName("20250619T000000Z-00000001", 0, ROWS_AN_HOUR - 1).file_name()
        pq.write_table(pa.table(arrays, schema=schema), folder / name, row_group_size=32_768, compression="zstd")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_day_is_replayed_and_rebuilt_in_little_memory(tmp_path: Path) -> None:
    write_day(tmp_path)
    for what, expected in (("replay", 24 * ROWS_AN_HOUR // ROWS_A_FRAME), ("books", 24 * 3600)):
        done = subprocess.run(
            [sys.executable, "-c", _READ, str(tmp_path), what], capture_output=True, text=True, check=True
        )
        count, rss_mb = (float(line) for line in done.stdout.split())
        assert abs(count - expected) <= 1
        assert rss_mb < RSS_MB_MAX, f"{what}: {rss_mb:.0f} MB"
