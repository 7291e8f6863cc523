"""The synthetic market as a source: one market for all connections, driven by a clock that may run fast.

Market time starts at the wall clock's time and runs `speed` times as fast, so at any speed but 1 the times in the
frames run away from the wall clock: latencies mean something at speed 1 only. With speed "max" the market goes as fast
as its slowest reader takes it.
"""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from random import Random

from daedalus.sandbox.products import product_specs
from daedalus.sandbox.synthetic_market import ProductMarket
from daedalus.sandbox.updates import Batch, Update
from daedalus.sandbox.view import MarketView
from daedalus.shared.clock import NS_PER_SECOND, NS_PER_US, Clock, SystemClock
from daedalus.shared.errors import ConfigError

DEFAULT_PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
#: Updates held for one connection before it counts as too slow (paced) or holds the market up (speed "max").
HELD_UPDATES_MAX = 20_000
#: Wall seconds between two steps of a paced market.
STEP_S = 0.01
#: Market seconds of one step at most: after a pause (a laptop asleep) the market goes on from where it was.
STEP_MARKET_S_MAX = 10.0
#: Market seconds of one step at speed "max".
STEP_MARKET_S = 0.25
RATE_MAX = 10_000.0


class SyntheticMarket:
    """Several products on one time line. Deterministic: the same seed gives the same market, each product its own.

    Parameters
    ----------
    products
        Names from `products.PRODUCTS`. Which others are there changes nothing for a product.
    seed
        Of everything random.
    start_us
        Market time at the start, us since the epoch; two minutes of past come before it.
    rate
        Book changes per market second and product, on average; trades come a tenth as often.
    """

    def __init__(self, products: Sequence[str], seed: int, start_us: int, rate: float = 20.0) -> None:
        if not 0.0 < rate <= RATE_MAX:
            raise ConfigError(f"rate {rate:g}: must be above 0 and at most {RATE_MAX:g} book changes a second")
        specs = product_specs(products)
        self.products = tuple(spec.name for spec in specs)
        self.time_us = self._start_us = start_us
        self.view = MarketView(self.products)
        self.markets = [ProductMarket(spec, Random(f"{seed}/{spec.name}"), start_us, rate) for spec in specs]
        self._due = [(market.next_at, index) for index, market in enumerate(self.markets)]
        heapq.heapify(self._due)
        for market in self.markets:
            self.view.apply(market.snapshot())
            self.view.apply(market.ticker())
        self.advance(start_us)

    def advance(self, until_us: int) -> list[Update]:
        """Let the market run to a time and return what happened, in order; the view shows it already."""
        updates = list(self._events((until_us - self._start_us) / 1e6))
        for update in updates:
            self.view.apply(update)
        self.time_us = max(self.time_us, until_us)
        return updates

    def _events(self, until: float) -> Iterator[Update]:
        while self._due[0][0] <= until:
            index = self._due[0][1]
            yield from self.markets[index].step()
            heapq.heapreplace(self._due, (self.markets[index].next_at, index))


class SharedFeed:
    """One connection's queue of what the shared market does. See `base.Feed`."""

    def __init__(self, source: "SyntheticSource", view: MarketView, time_us: int) -> None:
        self.view, self.time_us = view, time_us
        self._source = source
        self._batches: deque[Batch] = deque()
        self._held = 0
        self._changed = asyncio.Event()
        self.overrun = asyncio.Event()
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether it holds as much as it may."""
        return self._held >= HELD_UPDATES_MAX

    def put(self, batch: Batch) -> None:
        """Add a batch; when it is full, the feed is over: better an open end than a hole in the middle."""
        if self.overrun.is_set() or (self._batches and not batch.updates):
            return
        if self.is_full:
            self.overrun.set()
            self._batches.clear()
        else:
            self._batches.append(batch)
            self._held += len(batch.updates)
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Batch]:
        """Yield batches until closed or overrun."""
        while not self._is_closed and not self.overrun.is_set():
            if not self._batches:
                self._changed.clear()
                await self._changed.wait()
                continue
            batch = self._batches.popleft()
            self._held -= len(batch.updates)
            self._source.room.set()
            yield batch

    def close(self) -> None:
        """Leave the market."""
        self._is_closed = True
        self._changed.set()
        self._source.feeds.discard(self)
        self._source.room.set()


class SyntheticSource:
    """A `base.MarketSource` over a `SyntheticMarket`.

    Parameters
    ----------
    products, seed, rate
        As for `SyntheticMarket`.
    speed
        Market seconds per wall second; infinity is as fast as the readers take it, and stands still without any.
    clock
        Gives the start of market time and the pace.
    """

    linger_s = 0.0

    def __init__(
        self,
        products: Sequence[str] = DEFAULT_PRODUCTS,
        *,
        seed: int = 1,
        speed: float = 1.0,
        rate: float = 20.0,
        clock: Clock | None = None,
    ) -> None:
        if not speed > 0.0:
            raise ConfigError(f"speed {speed:g}: must be above 0")
        self._clock = clock or SystemClock()
        self._speed, self._began = speed, self._clock.monotonic()
        self.market = SyntheticMarket(products, seed, self._clock.now_ns() // NS_PER_US, rate)
        self.products = self.market.products
        self.name = f"synthetic market, seed {seed}"
        self.feeds: set[SharedFeed] = set()
        self.room = asyncio.Event()

    def open(self) -> SharedFeed:
        """Return a feed that begins now."""
        feed = SharedFeed(self, self.market.view.copy(), self.market.time_us)
        self.feeds.add(feed)
        self.room.set()
        return feed

    async def run(self) -> None:
        """Drive the market until cancelled."""
        if math.isinf(self._speed):
            await self._run_unpaced()
        last = self._began
        while True:
            await self._clock.sleep(STEP_S)
            now = self._clock.monotonic()
            self._step(min((now - last) * self._speed, STEP_MARKET_S_MAX))
            last = now

    async def _run_unpaced(self) -> None:
        while True:
            while not self.feeds or any(feed.is_full for feed in self.feeds):
                self.room.clear()
                await self.room.wait()
            self._step(STEP_MARKET_S)
            await asyncio.sleep(0)

    def _step(self, seconds: float) -> None:
        time_us = self.market.time_us + round(seconds * NS_PER_SECOND / NS_PER_US)
        batch = Batch(time_us, self.market.advance(time_us))
        for feed in tuple(self.feeds):
            feed.put(batch)
