"""The lake of the guides: minutes of 2025-06-19 of a synthetic market, recorded in seconds, with features and bars."""

import asyncio
import time
from pathlib import Path

from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.clock import NS_PER_SECOND
from tests.end_to_end.commands import run
from tests.unit.lake.bronze import T0

PRODUCTS = ("BTC-USD", "ETH-USD")
SPEED, RATE, MINUTES = 100, 4.0, 3
#: What others recorded, as docs/IMPORT.md has it: lines of the two formats that its commands name.
_BINANCE = (
    '1750341600000000000 {"stream":"btcusdt@trade","data":{"e":"trade","E":1750341599990,"s":"BTCUSDT","t":1,'
    '"p":"104000.01","q":"0.5","T":1750341599989,"m":true,"M":true}}\n'
)
_BITSTAMP = '1430438400000 trade {"price": 236.5, "amount": 0.25, "id": 8000001}\n'


class TimeLapse:
    """A clock that starts at `T0` and runs `SPEED` times as fast as the machine's."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * SPEED

    def now_ns(self) -> int:
        return T0 + int(self.monotonic() * NS_PER_SECOND)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


async def record(base: Path) -> None:
    """Record all channels for some minutes of the clock."""
    clock = TimeLapse()
    source = SyntheticSource(PRODUCTS, seed=2, rate=RATE, clock=clock)
    async with SandboxServer("coinbase", source, clock=clock) as server:
        collector = CoinbaseCollector(
            symbols=PRODUCTS,
            channels=("ticker", "trades", "l2", "orderbook", "frames"),
            url=server.url,
            stall_timeout_seconds=1e6,
            subscribe_timeout_seconds=1e6,
            clock=clock,
        )
        writer = StreamingParquetWriter(base_dir=base, source="coinbase", clock=clock)
        pipeline = IngestionPipeline(source="coinbase", collectors=[collector], writer=writer, clock=clock)
        stop = asyncio.Event()
        running = asyncio.create_task(pipeline.run(stop))
        while clock.monotonic() < MINUTES * 60 or not writer.stats.rows.get("trades"):
            await clock.sleep(1)
        stop.set()
        await running


def make(folder: Path) -> None:
    """Put the lake into `data` of a folder, and files to import beside it."""
    asyncio.run(record(folder / "data"))
    for table in ("orderbook", "trades", "ticker"):
        run("features", table, "--base-dir", "data", cwd=folder)
    run("bars", "--base-dir", "data", "--durations", "60", cwd=folder)
    (folder / "spot_btcusdt_20250619.gz").write_text(_BINANCE)
    (folder / "btcusd_20150501.log.xz").write_text(_BITSTAMP)
