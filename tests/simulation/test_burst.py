"""A burst at default bounds: ten times the sustained rate, nothing is lost."""

import asyncio
import time

import pytest

from daedalus.ingestion.collectors.base import OpenGaps
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared.events import BookSnapshot, Trade, pack_levels
from daedalus.testing.lake import unfinished

SUSTAINED = 5_000
TICK_S = 0.02
BOOK = pack_levels([(100.0 - i / 100, 1.0 + i) for i in range(20)])


class Bursting:
    """A collector whose market runs at ten times its rate for a while."""

    name, exchange = "testex:burst", "testex"

    def __init__(self, seconds, rate):
        self.gaps, self._seconds, self._rate, self.sent = OpenGaps("testex"), seconds, rate, 0
        self.done = asyncio.Event()

    def streams(self):
        return [("BTC-USD", "trades"), ("BTC-USD", "orderbook")]

    def resync(self, symbols):
        raise AssertionError(f"rows of {symbols} were dropped")

    async def events(self):
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < self._seconds:
            yield self._batch(int(elapsed * self._rate) - self.sent)
            await asyncio.sleep(TICK_S)
        self.done.set()
        await asyncio.Event().wait()

    def _batch(self, count):
        now, events = time.time_ns(), []
        for _ in range(count):
            self.sent += 1
            common = {"collected_at": now, "exchange": "testex", "symbol": "BTC-USD"}
            if self.sent % 2:
                events.append(Trade(**common, trade_id=str(self.sent), price=1.0, amount=1.0))
            else:
                events.append(BookSnapshot(**common, nonce=self.sent, bids=BOOK, asks=BOOK))
        return events


async def burst(base, seconds, rate):
    collector = Bursting(seconds, rate)
    writer = StreamingParquetWriter(base_dir=base, source="testex")
    pipeline = IngestionPipeline(source="testex", collectors=[collector], writer=writer)
    stats = await pipeline.run(collector.done)
    assert stats.dropped == 0
    assert stats.rows["trades"] + stats.rows["orderbook"] == collector.sent
    assert collector.sent > 0.8 * seconds * rate
    assert unfinished(base) == []


async def test_a_short_burst(tmp_path):
    await burst(tmp_path, 3, 2 * SUSTAINED)


@pytest.mark.soak
async def test_ten_times_the_sustained_rate_for_half_a_minute(tmp_path):
    await burst(tmp_path, 30, 10 * SUSTAINED)
