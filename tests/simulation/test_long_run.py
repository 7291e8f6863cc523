"""Hours of many streams in minutes: files, descriptors and memory stay bounded."""

import asyncio

import psutil
import pyarrow.parquet as pq
import pytest

from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.events import Trade
from daedalus.testing.clock import FakeClock
from daedalus.testing.events import START_NS
from daedalus.testing.lake import unfinished

FLUSH_S = 5


async def run_hours(base, hours, streams, *, flush_s=FLUSH_S):
    """Write one row a stream and flush for simulated hours; return files, descriptors and RSS after each."""
    clock = FakeClock(START_NS)
    writer = StreamingParquetWriter(base_dir=base, source="testex", clock=clock)
    await writer.start()
    process, seen, number = psutil.Process(), [], 0
    for hour in range(hours):
        for _ in range(3600 // flush_s):
            events = []
            for stream in range(streams):
                number += 1
                now = clock.now_ns() + stream * (flush_s * NS_PER_SECOND // streams)
                events.append(
                    Trade(collected_at=now, exchange="testex", symbol=f"S{stream:03d}", trade_id=str(number), price=1.5)
                )
            await writer.write(events)
            await writer.flush()
            clock.advance(flush_s)
        await until_sealed(writer)
        seen.append((hour, process.num_fds(), process.memory_info().rss))
    await writer.close()
    files = sorted(writer.paths.ready.glob("**/*.parquet"))
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    return files, rows, number, seen


async def until_sealed(writer):
    for _ in range(6000):
        if len(list(writer.paths.active.glob("*.journal"))) <= 2:
            return
        await asyncio.sleep(0.05)


def check(files, rows, number, seen, *, streams, hours):
    assert rows == number
    assert len(files) == streams * hours
    descriptors = [fds for _, fds, _ in seen]
    assert max(descriptors) <= descriptors[0] + 8
    settled = seen[len(seen) // 3][2]
    assert seen[-1][2] <= settled * 1.15 + (16 << 20), seen


async def test_three_hours_of_twenty_streams(tmp_path):
    found = await run_hours(tmp_path, 3, 20, flush_s=60)
    check(*found, streams=20, hours=3)
    assert unfinished(tmp_path) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_day_of_three_hundred_streams(tmp_path, capsys):
    found = await run_hours(tmp_path, 24, 300)
    check(*found, streams=300, hours=24)
    files, rows, _, seen = found
    size = sum(path.stat().st_size for path in files)
    with capsys.disabled():
        print(
            f"\n24 simulated hours, 300 streams: {rows:,} rows, {len(files):,} segments, {size / rows:.1f} bytes/row, "
            f"RSS {seen[0][2] / 1e6:.0f} -> {seen[-1][2] / 1e6:.0f} MB, descriptors {seen[0][1]} -> {seen[-1][1]}"
        )
