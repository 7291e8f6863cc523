"""The life of a connection as the driver sees it: waits that grow, a ledger that tells why, an end in order."""

import asyncio
import random

import polars as pl
import pytest
from structlog.testing import capture_logs

from daedalus.ingestion.collectors.base import OpenGaps
from daedalus.ingestion.orchestrators import ingestion_pipeline as module
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared import tasks
from daedalus.shared.clock import SystemClock
from daedalus.shared.errors import TransientCollectorError
from daedalus.shared.events import Trade
from daedalus.testing.lake import read_channel

STREAM = ("A", "trades")


class Scripted:
    """Each connection yields, waits and fails as its line says: (trades, seconds alive, error)."""

    name = exchange = "scripted"

    def __init__(self, *script):
        self.gaps, self.script, self.connected, self.closed = OpenGaps("scripted"), list(script), [], 0
        self.clock, self.number = SystemClock(), 0

    def streams(self):
        return [STREAM]

    def resync(self, symbols):
        pass

    async def events(self):
        self.connected.append(self.clock.monotonic())
        trades, seconds, error = self.script.pop(0) if self.script else (1, 60.0, None)
        try:
            for _ in range(trades):
                now, self.number = self.clock.now_ns(), self.number + 1
                trade = Trade(collected_at=now, exchange="scripted", symbol="A", trade_id=str(self.number))
                yield [*self.gaps.close([STREAM], now), trade]
            await asyncio.sleep(seconds)
            raise error
        finally:
            self.closed += 1


async def run(base, collector, seconds):
    pipeline = IngestionPipeline(
        source="scripted",
        collectors=[collector],
        writer=StreamingParquetWriter(base_dir=base, source="scripted"),
        flush_interval_seconds=0.1,
        reconnect_delay_seconds=0.1,
        reconnect_delay_max_seconds=0.4,
        rng=random.Random(1),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    return await pipeline.run(stop)


async def test_the_ledger_tells_the_first_cause_and_what_came_after(tmp_path):
    down = TransientCollectorError("DNS: it does not resolve")
    refused = TransientCollectorError("refused: nothing listens there")
    collector = Scripted((3, 0.1, TransientCollectorError("closed", reason="stall")), (0, 0, down), (0, 0, refused))
    stats = await run(tmp_path, collector, 2.5)
    gaps = read_channel(tmp_path, "gaps", "scripted").filter(pl.col("reason") == "stall")
    assert stats.gaps == {"stall": 1} and stats.disconnects == 3
    opened, ended = gaps.to_dicts()
    assert (opened["ended_at"], opened["detail"]) == (None, "closed")
    assert ended["detail"] == "closed; then 2 more failures, the last: refused: nothing listens there"
    trades = read_channel(tmp_path, "trades", "scripted")["collected_at"]
    assert (opened["started_at"], ended["ended_at"]) == (trades[2], trades[3])
    assert collector.closed == len(collector.connected) == 4


async def test_an_exchange_that_was_never_reached_is_entered_too(tmp_path):
    collector = Scripted((0, 0, TransientCollectorError("DNS: it does not resolve")))
    began = SystemClock().now_ns()
    await run(tmp_path, collector, 1.0)
    first = read_channel(tmp_path, "gaps", "scripted").to_dicts()[0]
    assert first["detail"] == "DNS: it does not resolve" and first["started_at"] - began < 1e9


@pytest.mark.parametrize(("healthy_s", "grows"), [(30.0, True), (0.15, False)])
async def test_waits_grow_until_a_connection_has_lived(tmp_path, monkeypatch, healthy_s, grows):
    monkeypatch.setattr(module, "HEALTHY_S", healthy_s)
    collector = Scripted(*[(1, 0.2, TransientCollectorError("closed"))] * 6)
    await run(tmp_path, collector, 3.2)
    waits = [after - before - 0.2 for before, after in zip(collector.connected, collector.connected[1:], strict=False)]
    assert len(waits) >= 4
    assert (waits[3] > 0.19) == grows, waits


async def test_connecting_and_waiting_is_not_living(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEALTHY_S", 0.1)
    collector = Scripted(*[(0, 0.3, TransientCollectorError("no answer"))] * 5)
    await run(tmp_path, collector, 2.6)
    waits = [after - before - 0.3 for before, after in zip(collector.connected, collector.connected[1:], strict=False)]
    assert waits[2] > 0.19, waits


async def test_a_pause_that_is_asked_for_is_made_and_an_unforeseen_error_does_not_end_the_task(tmp_path):
    banned = TransientCollectorError("the server answered 429 and wants a pause until then", retry_after=1.0)
    collector = Scripted((1, 0.0, banned), (1, 0.0, ZeroDivisionError("a fault of ours")))
    with capture_logs() as logs:
        await run(tmp_path, collector, 2.5)
    assert collector.connected[1] - collector.connected[0] >= 1.0 and len(collector.connected) == 3
    details = read_channel(tmp_path, "gaps", "scripted")["detail"]
    assert {"ZeroDivisionError: a fault of ours", str(banned)} <= set(details)
    assert [log["log_level"] for log in logs if log["event"] == "collector_failed"] == ["error"]


async def test_a_cancellation_that_is_swallowed_does_not_keep_the_recorder_alive(tmp_path, monkeypatch):
    class Deaf(Scripted):
        async def events(self):
            try:
                async for events in super().events():
                    yield events
            except asyncio.CancelledError:
                if len(self.connected) == 1:
                    # As libraries do whose clean-up ends in the same moment.
                    raise TransientCollectorError("it ended by itself") from None
                raise

    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.1)
    async with asyncio.timeout(20):
        await run(tmp_path, collector := Deaf((1, 60.0, None), (1, 60.0, None)), 0.5)
    assert len(collector.connected) >= 1
