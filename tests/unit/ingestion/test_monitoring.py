"""The status of a recorder: what counts as a fault, as a hang, as dead; and how long a disk lasts."""

import asyncio
import os
import re
import socket

import msgspec
import pytest
from structlog.testing import capture_logs

from daedalus.ingestion.monitoring import status as module
from daedalus.ingestion.monitoring.disk import bytes_per_day, look_at_disk
from daedalus.ingestion.monitoring.monitor import Monitor
from daedalus.ingestion.monitoring.notify import Notifier
from daedalus.ingestion.monitoring.status import (
    Clocks,
    Connection,
    Disk,
    Journal,
    Queue,
    Status,
    born,
    read_status,
    write_status,
)
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared.clock import NS_PER_SECOND, SystemClock
from daedalus.shared.errors import CorruptError
from daedalus.storage.ledger import Ledger
from tests.unit.ingestion.test_pipeline_life import Scripted

NOW = 1_800_000_000 * NS_PER_SECOND


def made(**values):
    fixed = {"version": "1", "source": "x", "pid": os.getpid(), "pid_born": born(os.getpid()), "phase": "recording"}
    return Status(**{**fixed, "started_at": NOW, "written_at": NOW, "interval_s": 5.0, **values})


def test_a_status_comes_back_as_it_was_written(tmp_path):
    status = made(rows={"l2": 3}, heard={"a/b/l2": NOW}, connections=[Connection("c", "e", True, 2)])
    write_status(tmp_path, status)
    assert read_status(tmp_path / "status.json") == status
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
    (tmp_path / "status.json").write_text("{}")
    with pytest.raises(CorruptError, match="no status"):
        read_status(tmp_path / "status.json")


@pytest.mark.parametrize(
    ("values", "later_s", "liveness"),
    [
        ({}, 19, "running"),
        ({}, 21, "silent"),
        ({"interval_s": 60.0}, 200, "running"),
        ({"phase": "stopped"}, 1, "stopped"),
        ({"pid_born": 1}, 1, "died"),
        ({"pid": 2**22 + 1, "pid_born": None}, 1, "died"),
    ],
)
def test_liveness(values, later_s, liveness):
    assert made(**values).liveness(NOW + later_s * NS_PER_SECOND) == liveness


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"phase": "starting"}, "starting"),
        ({"phase": "stopping"}, "stopping"),
        ({"beat_age_s": 61.0}, "did not go round for 61 s"),
        ({"journal": Journal(is_disk_full=True)}, "disk refuses"),
        ({"connections": [Connection("a", "e", True, 1), Connection("b", "e", False, 1)]}, "1 of 2 .* deliver: b"),
    ],
)
def test_faults_say_what_is_not_recorded(values, says):
    status = made(**values)
    assert len(status.faults()) == 1 and not status.warnings()
    assert re.search(says, status.faults()[0])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"queue": Queue(events=81, events_max=100)}, "81% full"),
        ({"queue": Queue(bytes=9, bytes_max=10)}, "90% full"),
        ({"queue": Queue(dropped=1200)}, "1,200 events were dropped"),
        ({"disk": Disk(1, 1, 1, 1.0, 1.5)}, "full in 1.5 days"),
        ({"clocks": {"c": Clocks(-2500.0, 1.0, 1.0)}}, "-2.5 s apart"),
    ],
)
def test_warnings_say_what_is_to_come(values, says):
    status = made(**values)
    assert len(status.warnings()) == 1 and says in status.warnings()[0] and not status.faults()


class Stuck(StreamingParquetWriter):
    """A disk that never answers."""

    async def flush(self):
        await asyncio.Event().wait()


async def test_a_writer_that_hangs_stops_the_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HANG_S", 0.5)
    clock, address = SystemClock(), str(tmp_path / "notify")
    writer = Stuck(base_dir=tmp_path, source="scripted")
    pipeline = IngestionPipeline(
        source="scripted", collectors=[Scripted((3, 60.0, None))], writer=writer, flush_interval_seconds=0.05
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(address)
        told.setblocking(False)
        monitor = Monitor(
            [(writer.paths.active, pipeline)],
            interval_s=0.05,
            clock=clock,
            look_at_disk=lambda: look_at_disk(tmp_path, clock),
            notifier=Notifier(address),
        )
        tasks = [asyncio.create_task(pipeline.run(asyncio.Event())), asyncio.create_task(monitor.run(asyncio.Event()))]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(60):
                assert await loop.sock_recv(told, 999) == b"READY=1"
                assert (await loop.sock_recv(told, 999)).startswith(b"WATCHDOG=1")
                while not monitor.statuses()[0].hangs:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.3)
                while _has_more(told):
                    pass
                await asyncio.sleep(0.3)
                assert not _has_more(told)
        finally:
            for task in tasks:
                task.cancel()


def _has_more(sock):
    try:
        return bool(sock.recv(999))
    except BlockingIOError:
        return False


def test_nobody_is_told_where_there_is_no_service_manager():
    Notifier.from_environment({}).alive("x")
    Notifier("/nowhere/at/all").ready()


def test_how_long_a_disk_lasts(tmp_path):
    clock = SystemClock()
    assert look_at_disk(tmp_path / "not" / "yet", clock).days_left is None
    with Ledger(tmp_path) as ledger:
        assert bytes_per_day(ledger, NOW) is None
        # NOW is 2027-01-15T08:00:00: two hours of which 6 kB were sealed, and one that is too old to count.
        for time, size, sealed_ago_s in (("0755", 0, 1), ("0600", 2000, 3600), ("0700", 4000, 60), ("01", 10**9, 9e4)):
            known = bytes_per_day(ledger, NOW)
            assert known is None or time != "0600"
            key = f"raw/ready/x/segment_20270115T{time:0<6}000000000Z-0000beef_000000000-000000001.parquet"
            with ledger.transaction() as db:
                row = (key, "0" * 64, size, 2, NOW - int(sealed_ago_s) * NS_PER_SECOND)
                db.execute("INSERT INTO segments (key, sha256, bytes, rows, sealed_at) VALUES (?, ?, ?, ?, ?)", row)
        assert bytes_per_day(ledger, NOW) == pytest.approx(6000 * 12)
    disk = look_at_disk(tmp_path, clock, max_bytes=10**9 + 16_000)
    assert disk.room_bytes == 10_000 and disk.last_upload_at is None and msgspec.json.encode(disk)


async def test_what_fails_while_looking_does_not_end_the_looking(tmp_path):
    looked = []

    def broken():
        looked.append(1)
        raise ValueError("no such disk")

    writer = StreamingParquetWriter(base_dir=tmp_path, source="x")
    pipeline = IngestionPipeline(source="x", collectors=[], writer=writer)
    monitor = Monitor(
        [(writer.paths.active, pipeline)],
        interval_s=0.01,
        clock=SystemClock(),
        look_at_disk=broken,
        notifier=Notifier(None),
    )
    with capture_logs() as said:
        task = asyncio.create_task(monitor.run(asyncio.Event()))
        async with asyncio.timeout(30):
            while not said:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not task.done() and looked and said[0]["event"] == "monitor_failed"
        task.cancel()
    await monitor.close()
    # It holds no folder, so it wrote nothing.
    assert not list(tmp_path.rglob("status.json")) and monitor.statuses()[0].phase == "stopped"


@pytest.mark.parametrize("turns", range(6))
async def test_it_ends_when_told_so_in_the_instant_of_the_stop(tmp_path, turns):
    writer = StreamingParquetWriter(base_dir=tmp_path, source="x")
    pipeline = IngestionPipeline(source="x", collectors=[], writer=writer)
    clock, stop = SystemClock(), asyncio.Event()
    monitor = Monitor(
        [(writer.paths.active, pipeline)],
        interval_s=60.0,
        clock=clock,
        look_at_disk=lambda: look_at_disk(tmp_path, clock),
        notifier=Notifier(None),
    )
    task = asyncio.create_task(monitor.run(stop))
    await asyncio.sleep(0.05)
    stop.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=30)
    assert done and task.cancelled()
