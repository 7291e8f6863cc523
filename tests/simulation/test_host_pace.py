"""Many connections to one host: together they never ask for more than it allows, and none comes too late."""

import asyncio
import random
import time
from functools import partial

from daedalus.ingestion.collectors.coinbase_ws import LIMITS, CoinbaseCollector
from daedalus.ingestion.collectors.pace import HostPaces
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.sandbox.coinbase import CoinbaseProtocol, CoinbaseSession
from daedalus.sandbox.products import PRODUCTS
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.clock import SystemClock
from daedalus.testing.lake import read_channel


class Counting(CoinbaseProtocol):
    """Notes when somebody connected and when a message came."""

    first_message_s = 1.0

    def __init__(self):
        self.connects, self.messages = [], []

    def session(self, path, view, time_us):
        self.connects.append(time.monotonic())
        return CountingSession(self, view, time_us)


class CountingSession(CoinbaseSession):
    def __init__(self, protocol, view, time_us):
        super().__init__(view, time_us)
        self.protocol = protocol

    def receive(self, text):
        self.protocol.messages.append(time.monotonic())
        return super().receive(text)


def busiest(times, seconds=0.95):
    """Return the most within nearly a second: what arrives may be a little closer together than what was sent."""
    return max(sum(1 for other in times if at <= other < at + seconds) for at in times)


async def test_the_limits_of_a_host_hold_over_all_connections(tmp_path):
    protocol, clock, products = Counting(), SystemClock(), list(PRODUCTS)[:6]
    async with SandboxServer(protocol, SyntheticSource(products, seed=1, rate=5)) as server:
        paces = HostPaces(clock)
        make = partial(CoinbaseCollector, url=server.url, clock=clock)
        pipeline = IngestionPipeline(
            source="coinbase",
            collectors=[make(symbols=[product], pace=paces.of(server.url, LIMITS)) for product in products],
            writer=StreamingParquetWriter(base_dir=tmp_path, source="coinbase"),
            reconnect_delay_seconds=0.05,
            rng=random.Random(1),
        )
        stop = asyncio.Event()

        async def cut_all():
            await asyncio.sleep(5)
            await server.inject("disconnect")
            await asyncio.sleep(5)
            stop.set()

        cutting = asyncio.create_task(cut_all())
        stats = await pipeline.run(stop)
        await cutting
        reasons = {c.close_reason for c in server.stats().connections}
    # Each connected twice and asked for four things, and nobody was closed for coming late with the first.
    assert len(protocol.connects) == 2 * len(products) and len(protocol.messages) == 8 * len(products)
    assert not [reason for reason in reasons if "subscribe" in reason] and stats.disconnects == len(products)
    assert busiest(protocol.messages) <= LIMITS.messages_per_s
    assert busiest(protocol.connects) <= LIMITS.connects_per_s
    assert read_channel(tmp_path, "l2")["symbol"].n_unique() == len(products)
