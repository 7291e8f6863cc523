"""Disks that run full, refuse or lose their power: recorded, or entered; never a crash."""

import asyncio
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers import journal
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.ingestion.writers.recovery import recover
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.testing.lake import read_channel, unfinished
from tests.simulation.mounts import ext4_image, mounted
from tests.simulation.test_faults import PRODUCTS, assert_nothing_is_lost_silently
from tests.simulation.test_kills import RATE, numbers


async def record(base, *, trouble, seconds, queue_maxsize=600):
    """Record while `trouble(pipeline)` makes the disk fail and heal; return the statistics."""
    async with SandboxServer("coinbase", SyntheticSource(PRODUCTS, seed=5, rate=150)) as server:
        pipeline = IngestionPipeline(
            source="coinbase",
            collectors=[CoinbaseCollector(symbols=PRODUCTS, url=server.url, orderbook_interval_ms=0)],
            writer=StreamingParquetWriter(base_dir=base, source="coinbase"),
            flush_interval_seconds=0.1,
            queue_maxsize=queue_maxsize,
            queue_put_timeout_seconds=0.2,
        )
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        troubling = asyncio.create_task(trouble())
        stats = await pipeline.run(stop)
        await troubling
        return stats


def assert_dropped_and_resumed(base, stats, healed_ns):
    gaps = read_channel(base, "gaps").filter(pl.col("reason") == "disk_full")
    assert stats.dropped > 0 and gaps["missed"].sum() == stats.dropped
    for channel in ("l2", "trades", "orderbook"):
        clock = read_channel(base, channel)["collected_at"]
        assert clock.max() > healed_ns, f"{channel} did not go on"
    assert_nothing_is_lost_silently(base)
    assert unfinished(base) == []


async def test_a_full_disk_costs_what_the_ledger_says_and_recording_goes_on_by_itself(tmp_path):
    with mounted("-t", "tmpfs", "-o", "size=64m", "tmpfs", target=tmp_path / "disk") as disk:
        healed = []

        async def fill_and_free():
            await asyncio.sleep(1)
            with (disk / "filler").open("wb") as file:
                try:
                    while True:
                        file.write(bytes(65536))
                        file.flush()
                except OSError as error:
                    assert error.errno == errno.ENOSPC
            await asyncio.sleep(3)
            (disk / "filler").unlink()
            healed.append(time.time_ns() + 1_500_000_000)

        stats = await record(disk, trouble=fill_and_free, seconds=8)
        assert_dropped_and_resumed(disk, stats, healed[0])


@pytest.mark.parametrize(
    ("call", "number"), [("write", errno.ENOSPC), ("write", errno.EROFS), ("fdatasync", errno.EIO)]
)
async def test_a_disk_that_refuses_costs_what_the_ledger_says(tmp_path, monkeypatch, number, call):
    real, healed = getattr(os, call), []

    def refuses(*_):
        raise OSError(number, os.strerror(number))

    async def refuse_and_heal():
        await asyncio.sleep(1.0)
        monkeypatch.setattr(journal.os, call, refuses)
        await asyncio.sleep(3)
        monkeypatch.setattr(journal.os, call, real)
        healed.append(time.time_ns() + 1_500_000_000)

    stats = await record(tmp_path, trouble=refuse_and_heal, seconds=7)
    assert_dropped_and_resumed(tmp_path, stats, healed[0])


async def test_sealing_is_tried_again_when_the_disk_has_room(tmp_path, monkeypatch):
    from daedalus.ingestion.writers import seal_queue
    from daedalus.testing.events import seeded_events

    monkeypatch.setattr(seal_queue, "RETRY_S", 0.5)
    writer = StreamingParquetWriter(base_dir=tmp_path, source="testex", journal_max_mb=0.01)
    await writer.start()
    writer.paths.ready.rmdir()
    writer.paths.ready.write_text("in the way of every segment")
    await writer.write(list(seeded_events(500)))
    await writer.flush()
    await asyncio.sleep(3)
    assert writer.stats.segments == 0 and len(list(writer.paths.active.glob("*.journal"))) == 2
    writer.paths.ready.unlink()
    for _ in range(100):
        await asyncio.sleep(0.1)
        if writer.stats.segments:
            break
    assert writer.stats.segments
    await writer.close()
    assert unfinished(tmp_path) == []


def power_cuts(tmp_path, cuts, seed):
    """Copy a mounted image while the recorder runs, as a cut would leave it: what was acknowledged must be in it."""
    rng, image = random.Random(seed), ext4_image(tmp_path / "disk.img", 48)
    first = 10_000_000
    with mounted("-o", "loop", str(image), target=tmp_path / "disk") as disk:
        command = [sys.executable, "-m", "daedalus.testing.recorder", str(disk), str(first), str(RATE), "1e9", "0.5"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        acknowledged = [first - 1]
        reader = threading.Thread(target=lambda: acknowledged.extend(int(line) for line in process.stdout))
        reader.start()
        try:
            while acknowledged[-1] < first:
                time.sleep(0.05)
            for cut in range(cuts):
                time.sleep(rng.uniform(0.1, 0.8))
                last, copy = stop_and_copy(process, image, device_of(disk), acknowledged, tmp_path / f"cut{cut}.img")
                with mounted("-o", "loop", str(copy), target=tmp_path / f"cut{cut}") as found:
                    assert_survived(found, first, last)
                copy.unlink()
        finally:
            process.kill()
            reader.join()
            process.stdout.close()
            process.wait()


def stop_and_copy(process, image, device, acknowledged, copy):
    """Hold the recorder and its sealer still, so that the copy is of one instant."""
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    for one in everyone:
        one.send_signal(signal.SIGSTOP)
    time.sleep(0.02)
    last = acknowledged[-1]
    copy_of_one_instant(image, device, copy)
    for one in everyone:
        if one.is_running():
            one.send_signal(signal.SIGCONT)
    return last, copy


def copy_of_one_instant(image, device, copy):
    """Copy while nothing is written: the kernel writes back on its own, and half of that is no power cut."""
    for _ in range(50):
        before = writes_of(device)
        shutil.copyfile(image, copy)
        if before == writes_of(device):
            return
    pytest.skip("the device never came to rest")


def device_of(folder):
    """Return the name of the block device mounted there, such as loop0."""
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[1] == str(folder):
            return Path(line.split()[0]).name
    raise LookupError(folder)


def writes_of(device):
    """Return writes completed and requests under way."""
    fields = Path(f"/sys/block/{device}/stat").read_text().split()
    return fields[4], fields[8]


def assert_survived(base, first, last):
    paths = RawPaths(base, "testex")
    for report in recover(paths):
        assert not report.quarantined, report
    got = numbers(paths)
    assert len(got) == len(set(got))
    assert set(range(first, last + 1)) <= set(got)
    assert unfinished(base) == []


def test_a_power_cut_keeps_what_was_acknowledged(tmp_path):
    power_cuts(tmp_path, 3, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_many_power_cuts(tmp_path):
    power_cuts(tmp_path, 40, seed=2)
