"""CCXT's connections are replaced while the market goes on: nothing twice, nothing lost, true books, no gap."""

import random

import polars as pl
import pytest

from daedalus.ingestion.collectors.rotation import RotatingCollector
from daedalus.testing.invariants import Ledger, assert_books_are_true, assert_trades_are_whole
from daedalus.testing.lake import read_channel
from tests.simulation.ccxt_markets import EXCHANGES, ccxt_makes, paces, record, server_of

PRODUCTS = ("BTC-USD", "ETH-USD")


@pytest.mark.parametrize("name", EXCHANGES)
async def test_planned_rotations_leave_no_trace(tmp_path, name):
    async with server_of(name, PRODUCTS, seed=8, rate=60) as server:
        make = ccxt_makes(name, server, paces())
        collector = RotatingCollector(make, after_s=2.0, linger_s=0.2, rng=random.Random(3))
        stats = await record(tmp_path, collector, 9.0)
        sockets = len(server.stats().connections)
    assert collector.rotations >= 1 and stats.disconnects == 0
    assert sockets > collector.rotations
    assert Ledger(tmp_path, "ccxt").reasons.keys() == {"shutdown"}
    assert_trades_are_whole(tmp_path, name, PRODUCTS, "ccxt")
    assert_books_are_true(tmp_path, name, PRODUCTS, "ccxt")
    trades = read_channel(tmp_path, "trades", "ccxt").with_columns(pl.col("trade_id").cast(pl.Int64))
    for symbol in PRODUCTS:
        ids = trades.filter(pl.col("symbol") == symbol)["trade_id"]
        assert ids.n_unique() == len(ids) == ids.max() - ids.min() + 1
    assert collector.skew.reading().samples > 0
