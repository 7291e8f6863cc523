"""CCXT's connections are replaced while the market goes on: nothing twice, nothing lost, true books, no gap."""

import random
from functools import partial

import polars as pl
import pytest

from daedalus.ingestion.collectors.rotation import RotatingCollector
from daedalus.testing.invariants import Ledger, assert_books_are_true, assert_trades_are_whole
from daedalus.testing.lake import read_channel
from tests.simulation.ccxt_markets import EXCHANGES, ccxt_makes, paces, record, server_of
from tests.simulation.scenes import Recorded

PRODUCTS = ("BTC-USD", "ETH-USD")


async def rotating(base, name):
    async with server_of(name, PRODUCTS, seed=8, rate=60) as server:
        make = ccxt_makes(name, server, paces())
        collector = RotatingCollector(make, after_s=2.0, linger_s=0.2, rng=random.Random(3))
        stats = await record(base, collector, 7.0, is_done=lambda: collector.rotations >= 1)
        return collector, stats, len(server.stats().connections)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return Recorded(tmp_path_factory.mktemp("rotation"), {name: partial(rotating, name=name) for name in EXCHANGES})


@pytest.mark.parametrize("name", EXCHANGES)
def test_planned_rotations_leave_no_trace(recorded, name):
    (collector, stats, sockets), base = recorded.outcome(name), recorded.folder(name)
    assert collector.rotations >= 1 and stats.disconnects == 0
    assert sockets > collector.rotations
    assert Ledger(base, "ccxt").reasons.keys() == {"shutdown"}
    assert_trades_are_whole(base, name, PRODUCTS, "ccxt")
    assert_books_are_true(base, name, PRODUCTS, "ccxt")
    trades = read_channel(base, "trades", "ccxt").with_columns(pl.col("trade_id").cast(pl.Int64))
    for symbol in PRODUCTS:
        ids = trades.filter(pl.col("symbol") == symbol)["trade_id"]
        assert ids.n_unique() == len(ids) == ids.max() - ids.min() + 1
    assert collector.skew.reading().samples > 0
