"""A real server that misbehaves: whatever it sent is in a segment or inside an interval of the ledger."""

import asyncio
import re
from functools import partial

import polars as pl
import pytest

from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.testing import invariants
from daedalus.testing.invariants import assert_trades_are_whole
from daedalus.testing.lake import read_channel, unfinished
from tests.simulation.scenes import Recorded, quick_pipeline, stop_after

PRODUCTS = ("BTC-USD", "ETH-USD")


async def record(base, faults, *, seconds=6.0, rate=60.0, stall=1.0):
    """Record a faulty synthetic market for a while; return what the server says it did and what was counted."""
    async with SandboxServer("coinbase", SyntheticSource(PRODUCTS, seed=5, rate=rate), faults=faults) as server:
        collector = CoinbaseCollector(
            symbols=PRODUCTS,
            url=server.url,
            orderbook_interval_ms=0,
            stall_timeout_seconds=stall,
        )
        pipeline = quick_pipeline(base, [collector])
        stop = asyncio.Event()
        ending = asyncio.create_task(stop_after(stop, seconds, lambda: has_happened(server, faults)))
        stats = await pipeline.run(stop)
        await ending
        return server.stats(), stats, collector


def has_happened(server, faults):
    """Tell whether every kind of fault did."""
    stats = server.stats()
    done = {fault.name for connection in stats.connections for fault in connection.faults}
    done |= {"refuse"} if stats.refused else set()
    return done >= {re.split("[@:]", fault)[0] for fault in faults}


def assert_nothing_is_lost_silently(base):
    assert_trades_are_whole(base, "coinbase", PRODUCTS)


def assert_books_are_true(base):
    invariants.assert_books_are_true(base, "coinbase", PRODUCTS)


#: What the server does, and which reasons the ledger then gives.
CASES = {
    "disconnect": (["disconnect@every=1.5"], {"disconnect"}),
    "disconnect_abrupt": (["disconnect_abrupt@every=1.5"], {"disconnect"}),
    "skip_sequence": (["skip_sequence@every=1:3"], {"sequence_gap"}),
    "silence": (["silence@2x1:60"], {"stall"}),
    "malformed": (["malformed@every=1"], {"parse_error", "sequence_gap"}),
    "error_frame": (["error_frame@every=1:2"], set()),
    "duplicate": (["duplicate@every=1:5"], set()),
    "slow_start": (["slow_start:0.5"], set()),
    "unknown_message": (["unknown_message@every=0.5"], set()),
    "refuse": (["disconnect@1x1", "refuse@0.5x2:1"], {"disconnect"}),
    "several": (
        ["disconnect@every=2.3", "skip_sequence@every=0.7:2", "malformed@every=0.9", "duplicate@every=0.3:3"],
        {"disconnect", "sequence_gap", "parse_error"},
    ),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    scenes = {name: partial(record, faults=faults) for name, (faults, _) in CASES.items()}
    scenes["oversized"] = partial(record, faults=["oversized@2x1:73400320"])
    scenes["none"] = partial(record, faults=[])
    return Recorded(tmp_path_factory.mktemp("faults"), scenes)


@pytest.mark.parametrize("name", CASES)
def test_whatever_happens_is_recorded_or_entered(recorded, name):
    server, stats, _ = recorded.outcome(name)
    base = recorded.folder(name)
    assert server.refused or any(c.faults for c in server.connections), "the fault never happened"
    assert set(read_channel(base, "gaps")["reason"]) - {"shutdown"} == CASES[name][1]
    assert read_channel(base, "trades").height > 20
    assert_nothing_is_lost_silently(base)
    assert_books_are_true(base)
    assert unfinished(base) == [] and stats.dropped == 0


def test_a_frame_of_70_mb_costs_the_connection_and_names_the_setting(recorded):
    server, _, _ = recorded.outcome("oversized")
    base = recorded.folder("oversized")
    details = read_channel(base, "gaps").filter(pl.col("reason") == "disconnect")["detail"]
    assert details.len() and all("max_frame_mb" in text for text in details)
    assert len(server.connections) == 2
    assert_nothing_is_lost_silently(base)
    assert_books_are_true(base)


def test_without_faults_all_that_was_sent_is_there(recorded):
    server, stats, _ = recorded.outcome("none")
    base, sent = recorded.folder("none"), server.connections[0].sent
    l2 = read_channel(base, "l2")
    assert l2.filter("is_snapshot").height == sent.snapshot_levels
    # What was on its way when the recorder closed is not its own; within what it read, the numbering has no hole.
    for channel, count in (("l2", sent.changes), ("trades", sent.trades), ("ticker", sent.tickers)):
        rows = l2.filter(~pl.col("is_snapshot")) if channel == "l2" else read_channel(base, channel)
        assert 0.95 * count <= rows.height <= count
    assert stats.rows["l2"] == l2.height and stats.gaps == {}
