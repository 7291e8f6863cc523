"""Connections that are replaced while the market goes on: nothing twice, nothing lost, true books, no gap."""

import asyncio
import random
from functools import partial

import polars as pl
import pytest

from daedalus.ingestion.collectors.coinbase_ws import LIMITS, CoinbaseCollector
from daedalus.ingestion.collectors.pace import HostPace, Limits
from daedalus.ingestion.collectors.rotation import RotatingCollector
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.clock import SystemClock
from daedalus.testing.invariants import Ledger, assert_books_are_true, assert_trades_are_whole
from daedalus.testing.lake import read_channel
from tests.simulation.scenes import Recorded, quick_pipeline, stop_after

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
FAST = Limits(connects_per_s=100, messages_per_s=400)


async def record(
    base, *, faults=(), rotations=2, seconds=5.0, after_s=1.0, linger_s=0.2, rate=100.0, meddle=None, **options
):
    """Record through a collector until it has rotated so often; return the server's statistics and the collector."""
    clock = SystemClock()
    async with SandboxServer("coinbase", SyntheticSource(PRODUCTS, seed=8, rate=rate), faults=faults) as server:
        pace = HostPace(FAST, clock)

        def make():
            return CoinbaseCollector(symbols=PRODUCTS, url=server.url, orderbook_interval_ms=0, pace=pace, **options)

        collector = RotatingCollector(make, after_s=after_s, linger_s=linger_s, rng=random.Random(3))
        pipeline = quick_pipeline(base, [collector])
        stop = asyncio.Event()
        ending = asyncio.create_task(stop_after(stop, seconds, lambda: collector.rotations >= rotations))
        meddling = asyncio.create_task(meddle(server)) if meddle else None
        await pipeline.run(stop)
        await ending
        if meddling is not None:
            await meddling
        return server.stats(), collector


def check(base):
    assert_trades_are_whole(base, "coinbase", PRODUCTS)
    assert_books_are_true(base, "coinbase", PRODUCTS)


async def second_connection(server):
    """Wait until the new connection is there; ten seconds at the most."""
    for _ in range(2000):
        if len(server.stats().connections) > 1:
            return
        await asyncio.sleep(0.005)


async def kill(server, number, when):
    """Let one of the two connections die so long after the second one came."""
    await second_connection(server)
    await asyncio.sleep(when)
    await server.inject("disconnect_abrupt", number)


OLD_DIES, NEW_DIES = (0.0, 0.15, 0.3), (0.0, 0.1, 0.25)
FAULTS = ["skip_sequence@every=0.7:2", "malformed@every=0.9", "disconnect@every=2.3", "duplicate@every=0.3:3"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    scenes = {
        "faults": partial(record, faults=FAULTS, seconds=8),
        "planned": partial(record, channels=("ticker", "trades", "l2", "orderbook", "frames"), rotations=3),
        "refused": partial(record, faults=["refuse@0.7x2:0"]),
    }
    for when in OLD_DIES:
        meddle = partial(kill, number=0, when=when)
        scenes[f"old-{when}"] = partial(record, meddle=meddle, linger_s=0.5)
    for when in NEW_DIES:
        meddle = partial(kill, number=1, when=when)
        scenes[f"new-{when}"] = partial(record, meddle=meddle, linger_s=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daedalus.ingestion.collectors.rotation.RETRY_S", 0.5)
        return Recorded(tmp_path_factory.mktemp("rotation"), scenes, together=3)


def test_planned_rotations_leave_no_trace_but_snapshots(recorded):
    (server, collector), base = recorded.outcome("planned"), recorded.folder("planned")
    # The end may come in the middle of one more.
    assert collector.rotations >= 3 and len(server.connections) - collector.rotations in (1, 2)
    assert Ledger(base).reasons == {"shutdown": 13}
    check(base)
    trades = read_channel(base, "trades").with_columns(pl.col("trade_id").cast(pl.Int64))
    for symbol in PRODUCTS:
        ids = trades.filter(pl.col("symbol") == symbol)["trade_id"]
        assert ids.n_unique() == len(ids) == ids.max() - ids.min() + 1
    l2 = read_channel(base, "l2")
    snapshots = l2.filter("is_snapshot").group_by("symbol").agg(pl.col("collected_at").n_unique())
    assert set(snapshots["collected_at"]) <= {len(server.connections) - n for n in (0, 1, 2)}
    assert l2["collected_at"].is_sorted()
    # Each ticker is one match's: none was recorded of both connections.
    tickers = read_channel(base, "ticker").group_by("symbol", "last", "base_volume", "bid", "ask").len()
    assert tickers.filter(pl.col("len") > 1).height <= len(PRODUCTS)


def test_a_new_connection_that_fails_costs_nothing_and_is_tried_again(recorded):
    server, collector = recorded.outcome("refused")
    assert server.refused == 2 and collector.rotations >= 2
    assert set(Ledger(recorded.folder("refused")).reasons) == {"shutdown"}
    check(recorded.folder("refused"))


@pytest.mark.parametrize("when", OLD_DIES)
def test_the_old_connection_dies_while_the_new_one_comes_up(recorded, when):
    _, collector = recorded.outcome(f"old-{when}")
    assert collector.rotations >= 2
    assert set(Ledger(recorded.folder(f"old-{when}")).reasons) <= {"shutdown", "disconnect"}
    check(recorded.folder(f"old-{when}"))


@pytest.mark.parametrize("when", NEW_DIES)
def test_the_new_connection_dies_before_it_is_alone(recorded, when):
    _, collector = recorded.outcome(f"new-{when}")
    assert collector.rotations >= 1
    check(recorded.folder(f"new-{when}"))


def test_faults_while_rotating(recorded):
    _, collector = recorded.outcome("faults")
    assert collector.rotations >= 2
    check(recorded.folder("faults"))


def test_the_defaults_are_the_exchanges_own_limits():
    assert (LIMITS.connects_per_s, LIMITS.messages_per_s) == (8, 8)
