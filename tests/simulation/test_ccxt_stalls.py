"""Streams that fall silent while CCXT's connection lives: had anew alone, entered only if something was missed."""

import asyncio
from functools import partial

import polars as pl
import pytest

from daedalus.testing.invariants import Ledger, assert_books_are_true, assert_trades_are_whole
from daedalus.testing.lake import read_channel
from tests.simulation.ccxt_markets import EXCHANGES, Forgetful, ccxt_makes, paces, record, server_of, until
from tests.simulation.scenes import Recorded

PRODUCTS = ("BTC-USD", "ETH-USD")


async def forgetting(base, name):
    protocol = Forgetful(name)
    async with server_of(protocol, PRODUCTS, seed=8, rate=60) as server:
        collector = ccxt_makes(name, server, paces(), stall_timeouts={"orderbook": 1.5, "trades": 1.5})()

        async def forget():
            await until(lambda: len(collector.live()) >= 6)
            await asyncio.sleep(1.0)
            protocol.silent |= {("BTC-USD", "orderbook"), ("ETH-USD", "trades")}
            await until(lambda: not protocol.silent)
            # What is heard again is live again.
            await asyncio.sleep(3.0)
            done.set()

        done = asyncio.Event()
        await record(base, collector, 8.0, forget())
        assert done.is_set()
        return protocol.again, len(server.stats().connections)


async def quiet(base):
    protocol = Forgetful("kraken")
    async with server_of(protocol, PRODUCTS, seed=8, rate=0.4) as server:
        collector = ccxt_makes("kraken", server, paces(), stall_timeouts={"orderbook": 1.0, "trades": None})()
        await record(base, collector, 12.0)
        return collector, len(server.stats().connections)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    scenes = {name: partial(forgetting, name=name) for name in EXCHANGES} | {"quiet": quiet}
    return Recorded(tmp_path_factory.mktemp("stalls"), scenes)


@pytest.mark.parametrize("name", EXCHANGES)
def test_streams_that_an_exchange_forgets_are_had_anew_and_entered(recorded, name):
    (again, sockets), base = recorded.outcome(name), recorded.folder(name)
    assert sockets <= 3
    assert set(again) == {("BTC-USD", "orderbook"), ("ETH-USD", "trades")}
    gaps = read_channel(base, "gaps", "ccxt").filter(pl.col("reason") != "shutdown")
    # Where the venue numbers what it sends, the numbers may tell first.
    assert set(gaps["reason"]) <= {"stall", "sequence_gap"}
    entered = set(gaps.select("symbol", "channel").rows())
    assert entered == {("BTC-USD", "orderbook"), ("BTC-USD", "l2"), ("ETH-USD", "trades")}, "others go on"
    long = [end - start for start, end in Ledger(base, "ccxt").intervals(name, "BTC-USD", "l2") if end < 2**62]
    assert max(long) > 1.4e9
    assert_trades_are_whole(base, name, PRODUCTS, "ccxt")
    assert_books_are_true(base, name, PRODUCTS, "ccxt")


def test_a_quiet_market_does_not_cry_wolf(recorded):
    collector, sockets = recorded.outcome("quiet")
    assert sockets == 1 and collector.counters.resyncs >= 1
    assert Ledger(recorded.folder("quiet"), "ccxt").reasons.keys() == {"shutdown"}
    assert collector.skew.reading() is not None and abs(collector.skew.reading().offset_ms) < 1000
