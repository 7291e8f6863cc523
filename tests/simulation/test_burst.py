"""Bursts at default bounds: ten times the sustained rate, or thousands of trades in an instant; nothing is lost."""

import asyncio
import time
from functools import partial

import polars as pl
import pytest

from daedalus.ingestion.collectors.base import OpenGaps
from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.sandbox.scripted import ScriptedSource
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.updates import TradeTick
from daedalus.shared.events import BookSnapshot, Trade, pack_levels
from daedalus.testing.lake import read_channel, unfinished

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


#: 5,000 trades of 50 ms, and one a second later: when that is there, all are that will come.
BEGIN_US = 1_787_612_486_000_000
TIMES_US = [BEGIN_US + 10 * n for n in range(5_000)] + [BEGIN_US + 1_000_000]
TRADES = [TradeTick("BTC-USD", us, str(10 + n), "100.5", "0.25", "buy") for n, us in enumerate(TIMES_US)]


def ccxt(exchange_id, server):
    channels, rest = {"watchTrades": ["BTC/USD"]}, server.url.replace("ws://", "http://")
    return CcxtCollector(exchange_id, channels=channels, record=["trades"], ws_url=server.url, rest_url=rest)


def native(server):
    return CoinbaseCollector(symbols=["BTC-USD"], channels=["trades"], url=server.url)


@pytest.mark.parametrize(
    ("protocol", "make"),
    [("coinbase", native), *((name, partial(ccxt, name)) for name in ("binance", "okx", "kraken"))],
)
async def test_5000_trades_within_50_ms_arrive_whole(tmp_path, protocol, make):
    async with SandboxServer(protocol, ScriptedSource(["BTC-USD"], updates=TRADES)) as server:
        collector, stop = make(server), asyncio.Event()
        writer = StreamingParquetWriter(base_dir=tmp_path, source="all")
        pipeline = IngestionPipeline(source="all", collectors=[collector], writer=writer, flush_interval_seconds=0.2)
        running = asyncio.create_task(pipeline.run(stop))
        async with asyncio.timeout(60):
            while writer.stats.rows.get("trades", 0) < len(TRADES) and not running.done():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        stop.set()
        assert (await running).dropped == 0
    rows = read_channel(tmp_path, "trades", "all")
    assert rows["trade_id"].cast(pl.Int64).to_list() == [int(trade.trade_id) for trade in TRADES]
    assert set(read_channel(tmp_path, "gaps", "all")["reason"]) == {"shutdown"}
