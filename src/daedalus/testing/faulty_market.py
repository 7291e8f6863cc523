"""Local exchanges in a process of their own that misbehave as a seed says: for suites that record them.

Run as ``python -m daedalus.testing.faulty_market SPEC`` with a JSON `Spec`. It speaks in lines of JSON: where the
servers are, once they listen; what went wrong, once the faults are over; and how many frames were sent, at the end. It
waits for a line before the faults begin, and for another before it stops.
"""

import asyncio
import random
import sys
from collections import Counter
from contextlib import suppress

import msgspec

from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticMarket, SyntheticSource
from daedalus.sandbox.updates import LevelChanges, TradeTick

#: What goes wrong, how often, and the largest ARG; see `daedalus sandbox faults`. Frames of 3 MB are oversized for
#: recorders that accept 2 MiB.
KINDS: dict[str, tuple[int, float, float]] = {
    "disconnect": (3, 1001, 1001),
    "disconnect_abrupt": (3, 0, 0),
    "skip_sequence": (5, 1, 5),
    "silence": (2, 3, 4),
    "malformed": (4, 1, 3),
    "error_frame": (3, 1, 2),
    "duplicate": (5, 1, 5),
    "slow_start": (2, 0.1, 0.5),
    "oversized": (1, 3_000_000, 3_000_000),
    "unknown_message": (4, 1, 3),
}
#: Faults that may strike one product only, where the exchange numbers what it sends to a connection.
BY_PRODUCT = ("skip_sequence", "malformed", "duplicate")


class Exchange(msgspec.Struct, kw_only=True):
    """One server: a protocol of the sandbox and a synthetic market."""

    name: str
    protocol: str
    products: list[str]
    seed: int
    rate: float = 10.0
    speed: float = 5.0
    refuse_every_s: float = 0.0


class Spec(msgspec.Struct, kw_only=True):
    """Servers, and how many faults strike them within how many seconds."""

    exchanges: list[Exchange]
    faults: int
    seconds: float
    seed: int


class Listening(msgspec.Struct):
    """Where a server is, and when its market began (us): what `truth` needs."""

    url: str
    start_us: int


class Happened(msgspec.Struct):
    """What went wrong so far, by kind, and frames sent."""

    faults: dict[str, int]
    connections: int
    frames: int


def truth(
    exchange: Exchange, start_us: int, until_us: int
) -> tuple[dict[str, dict[int, int]], dict[str, dict[int, int]]]:
    """Return what happened in a market, of each product, in order: time (us) by trade id, number of changes by time.

    Trades begin with those that were past at the start: whoever comes then is told of them, and a recorder to whom that
    did not get through takes them for missed when it hears of them later.
    """
    market = SyntheticMarket(exchange.products, exchange.seed, start_us, exchange.rate)
    past = market.view.trades
    trades = {product: {int(t.trade_id): t.time_us for t in past[product]} for product in exchange.products}
    changes: dict[str, dict[int, int]] = {product: {} for product in exchange.products}
    for update in market.advance(until_us):
        if isinstance(update, TradeTick):
            trades[update.product][int(update.trade_id)] = update.time_us
        elif isinstance(update, LevelChanges):
            counts = changes[update.product]
            counts[update.time_us] = counts.get(update.time_us, 0) + len(update.changes)
    return trades, changes


def make_server(exchange: Exchange) -> SandboxServer:
    """Return a server, not started."""
    source = SyntheticSource(exchange.products, seed=exchange.seed, rate=exchange.rate, speed=exchange.speed)
    refusals = [f"refuse@every={exchange.refuse_every_s:g}:0"] if exchange.refuse_every_s else []
    return SandboxServer(exchange.protocol, source, faults=refusals)


class Mischief:
    """Strikes servers at random times with random faults, all from one seed."""

    def __init__(self, spec: Spec, servers: list[SandboxServer]) -> None:
        self._spec, self._servers, self._rng = spec, servers, random.Random(spec.seed)
        self.happened: Counter[str] = Counter()

    async def run(self) -> None:
        """Let the faults happen, evenly over the time."""
        rng, loop = self._rng, asyncio.get_running_loop()
        times = sorted(rng.uniform(0, self._spec.seconds) for _ in range(self._spec.faults))
        began = loop.time()
        striking: set[asyncio.Task[None]] = set()
        for at in times:
            await asyncio.sleep(max(0.0, began + at - loop.time()))
            # Some faults take a while; the next one does not wait for them.
            task = asyncio.create_task(self._strike())
            striking.add(task)
            task.add_done_callback(striking.discard)
        await asyncio.gather(*striking)

    async def _strike(self) -> None:
        rng = self._rng
        server = rng.choice(self._servers)
        name = rng.choices(list(KINDS), [weight for weight, _, _ in KINDS.values()])[0]
        _, low, high = KINDS[name]
        value = rng.uniform(low, high)
        argument = f"{value:g}" if name in ("slow_start", "silence") else f"{round(value)}"
        product = rng.choice(list(server.source.products)) if name in BY_PRODUCT and rng.random() < 0.5 else ""
        while not (living := _living(server)):  # noqa: ASYNC110 (nobody tells when clients are back)
            await asyncio.sleep(0.02)
        fault = f"{name}{'/' if product else ''}{product}:{argument}"
        # A client may hang up in the middle of it, and its socket be gone; that is an end like any other.
        with suppress(OSError):
            await server.inject(fault, rng.choice(living))
        self.happened[name] += 1


def _living(server: SandboxServer) -> list[int]:
    return [c.id for c in server.stats().connections if c.closed_s is None and c.market == "running"]


async def serve(spec: Spec) -> None:
    """Serve, go wrong, and stop, each when told to."""
    servers = [make_server(exchange) for exchange in spec.exchanges]
    sources = [server.source for server in servers]
    starts = [source.market.time_us for source in sources if isinstance(source, SyntheticSource)]
    mischief = Mischief(spec, servers)

    def say(message: object) -> None:
        sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
        sys.stdout.flush()

    def report() -> None:
        connections = [c for server in servers for c in server.stats().connections]
        refused = {"refuse": sum(server.stats().refused for server in servers)}
        opened = sum(server.stats().connections_opened for server in servers)
        say(Happened({**mischief.happened, **refused}, opened, sum(c.sent.frames for c in connections)))

    try:
        for server in servers:
            await server.start()
        say([Listening(server.url, start) for server, start in zip(servers, starts, strict=True)])
        await asyncio.to_thread(sys.stdin.readline)
        await mischief.run()
        report()
        await asyncio.to_thread(sys.stdin.readline)
        report()
    finally:
        for server in servers:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Spec)))
