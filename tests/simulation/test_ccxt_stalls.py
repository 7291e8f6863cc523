"""Streams that fall silent while CCXT's connection lives: had anew alone, entered only if something was missed."""

import asyncio

import polars as pl
import pytest

from daedalus.testing.invariants import Ledger, assert_books_are_true, assert_trades_are_whole
from daedalus.testing.lake import read_channel
from tests.simulation.ccxt_markets import EXCHANGES, Forgetful, ccxt_makes, paces, record, server_of, until

PRODUCTS = ("BTC-USD", "ETH-USD")


@pytest.mark.parametrize("name", EXCHANGES)
async def test_streams_that_an_exchange_forgets_are_had_anew_and_entered(tmp_path, name):
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
        await record(tmp_path, collector, 14.0, forget())
        assert done.is_set() and len(server.stats().connections) <= 3
    assert set(protocol.again) == {("BTC-USD", "orderbook"), ("ETH-USD", "trades")}
    gaps = read_channel(tmp_path, "gaps", "ccxt").filter(pl.col("reason") != "shutdown")
    # Where the venue numbers what it sends, the numbers may tell first.
    assert set(gaps["reason"]) <= {"stall", "sequence_gap"}
    entered = set(gaps.select("symbol", "channel").rows())
    assert entered == {("BTC-USD", "orderbook"), ("BTC-USD", "l2"), ("ETH-USD", "trades")}, "others go on"
    long = [end - start for start, end in Ledger(tmp_path, "ccxt").intervals(name, "BTC-USD", "l2") if end < 2**62]
    assert max(long) > 1.4e9
    assert_trades_are_whole(tmp_path, name, PRODUCTS, "ccxt")
    assert_books_are_true(tmp_path, name, PRODUCTS, "ccxt")


async def test_a_quiet_market_does_not_cry_wolf(tmp_path):
    protocol = Forgetful("kraken")
    async with server_of(protocol, PRODUCTS, seed=8, rate=0.4) as server:
        collector = ccxt_makes("kraken", server, paces(), stall_timeouts={"orderbook": 1.0, "trades": None})()
        await record(tmp_path, collector, 12.0)
        assert len(server.stats().connections) == 1 and collector.counters.resyncs >= 1
    assert Ledger(tmp_path, "ccxt").reasons.keys() == {"shutdown"}
    assert collector.skew.reading() is not None and abs(collector.skew.reading().offset_ms) < 1000
