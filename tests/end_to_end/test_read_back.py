"""A session with losses, recorded from a real server: the lake gives back the events and the books, one for one."""

import asyncio
import random

import polars as pl
import pytest

import daedalus
from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.lake.streams import ORDER
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.events import channel_of
from tests.simulation.test_quality_faults import until

PRODUCTS = ("BTC-USD", "ETH-USD")
#: Both end the book until the next snapshot; they come after so many frames of a connection.
FAULTS = ("skip_sequence@150fx1:3", "disconnect@400fx1")
BOOKS_MIN = 300


class Seeing(StreamingParquetWriter):
    """A writer that also keeps the events that it is given."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []

    async def write(self, events):
        self.seen += events
        await super().write(events)


async def record(base):
    """Record every update until both faults have passed; return the events that the collector gave."""
    async with SandboxServer("coinbase", SyntheticSource(PRODUCTS, seed=11, rate=150), faults=FAULTS) as server:
        collector = CoinbaseCollector(
            symbols=PRODUCTS,
            channels=("ticker", "trades", "l2", "orderbook", "frames"),
            url=server.url,
            orderbook_interval_ms=0,
        )
        writer = Seeing(base_dir=base, source="coinbase")
        pipeline = IngestionPipeline(
            source="coinbase",
            collectors=[collector],
            writer=writer,
            flush_interval_seconds=0.3,
            reconnect_delay_seconds=0.05,
            rng=random.Random(1),
        )
        stop = asyncio.Event()
        running = asyncio.create_task(pipeline.run(stop))
        await until(lambda: {"sequence_gap", "disconnect"} <= pipeline.stats.gaps.keys() and not collector.gaps)
        rows = writer.stats.rows.get("orderbook", 0)
        await until(lambda: writer.stats.rows.get("orderbook", 0) > rows + BOOKS_MIN)
        stop.set()
        await running
    return writer.seen


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    base = tmp_path_factory.mktemp("session")
    seen = asyncio.run(record(base))
    return daedalus.open_lake(base), seen


@pytest.mark.parametrize("symbol", PRODUCTS)
def test_books_are_those_that_the_collector_saw(session, symbol):
    lake, _ = session
    books = lake.books(symbol, depth=20, every=None).collect()
    saw = lake.scan("orderbook", symbol=symbol).collect()
    assert books.height > BOOKS_MIN // 3
    assert books.drop("ts").equals(saw.select(books.drop("ts").columns))
    assert set(lake.scan("gaps").collect()["reason"]) == {"sequence_gap", "disconnect", "shutdown"}


def test_replay_gives_the_events_in_order(session):
    lake, seen = session
    replayed = list(lake.replay(channels=ORDER))
    wanted = sorted(seen, key=lambda event: (event.collected_at, ORDER.index(channel_of(event)), event.symbol))
    assert replayed == wanted
    assert {channel_of(event) for event in replayed} == set(ORDER)
    assert [e.collected_at for e in replayed] == sorted(e.collected_at for e in seen)


def test_frames_and_what_was_made_of_them_are_of_one_instant(session):
    lake, _ = session
    clocks = {channel: lake.scan(channel).select(pl.col("collected_at").unique()).collect() for channel in ORDER}
    for channel in ("trades", "l2", "orderbook", "ticker"):
        assert clocks[channel].join(clocks["frames"], on="collected_at", how="anti").is_empty(), channel
