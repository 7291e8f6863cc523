"""Sandboxes that the real CCXT client is recorded from, and exchanges among them that forget what they were asked."""

import asyncio
from contextlib import asynccontextmanager

from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.ingestion.collectors.pace import HostPaces, Limits
from daedalus.sandbox.registry import protocol
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.sandbox.updates import LevelChanges, TickerTick, TradeTick
from daedalus.shared.clock import SystemClock
from tests.simulation.scenes import quick_pipeline, stop_after

FAST = Limits(connects_per_s=100, messages_per_s=400)
EXCHANGES = ("binance", "okx", "kraken")
KINDS = {LevelChanges: "orderbook", TradeTick: "trades", TickerTick: "ticker"}
WORDS = {"orderbook": ("book", "depth"), "trades": ("trade",), "ticker": ("ticker",)}


class Forgetful:
    """A protocol of the sandbox that forgets streams, (product, what), until they are subscribed to again."""

    def __init__(self, name):
        self._real = protocol(name)
        self.silent, self.again = set(), []

    def __getattr__(self, name):
        return getattr(self._real, name)

    def session(self, path, view, time_us):
        session = self._real.session(path, view, time_us)
        publish, receive = session.publish, session.receive

        def publish_some(update):
            if (update.product, KINDS.get(type(update))) not in self.silent:
                yield from publish(update)

        def listen(text):
            self._heard(text.lower())
            yield from receive(text)

        session.publish, session.receive = publish_some, listen
        return session

    def _heard(self, text):
        for product, what in list(self.silent):
            names = (product.lower(), product.lower().replace("-", "/"), product.lower().replace("-", ""))
            is_it = any(name in text for name in names) and any(word in text for word in WORDS[what])
            if is_it and '"subscribe"' in text:
                self.silent.discard((product, what))
                self.again.append((product, what))


@asynccontextmanager
async def server_of(protocol, products, **market):
    async with SandboxServer(protocol, SyntheticSource(products, **market)) as server:
        yield server


def ccxt_makes(name, server, paces, **options):
    """Return what makes a collector of a sandbox's market."""
    paces.of(server.url, FAST)
    symbols = [product.replace("-", "/") for product in server.source.products]
    given = {
        "channels": {"watchTrades": symbols, "watchOrderBook": symbols},
        "record": ("trades", "orderbook", "l2"),
        "orderbook_interval_ms": 0,
        "ws_url": server.url,
        "rest_url": server.url.replace("ws://", "http://"),
    }
    return lambda: CcxtCollector(name, **{**given, **options}, paces=paces)


async def record(base, collector, seconds, *meddling, is_done=lambda: True):
    """Record for so long, and until it is done; `meddling` are coroutines that run beside it and that it waits for."""
    pipeline = quick_pipeline(base, [collector], source="ccxt")
    stop = asyncio.Event()
    tasks = [asyncio.create_task(one) for one in meddling]
    ending = asyncio.create_task(stop_after(stop, seconds, lambda: is_done() and all(task.done() for task in tasks)))
    try:
        return await pipeline.run(stop)
    finally:
        await asyncio.gather(*tasks, ending)


async def until(condition):
    """Wait for what nobody tells."""
    while not condition():  # noqa: ASYNC110 (nobody tells when)
        await asyncio.sleep(0.05)


def paces():
    return HostPaces(SystemClock())
