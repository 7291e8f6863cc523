"""A real server that misbehaves: whatever it sent is in a segment or inside an interval of the ledger."""

import asyncio
import random
from itertools import pairwise

import polars as pl
import pytest

from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.book import OrderBook
from daedalus.testing.lake import read_channel, unfinished

PRODUCTS = ("BTC-USD", "ETH-USD")


async def record(base, faults, *, seconds=6.0, rate=60.0, stall=1.0, max_frame_mb=64.0):
    """Record a faulty synthetic market for a while; return what the server says it did and what was counted."""
    async with SandboxServer("coinbase", SyntheticSource(PRODUCTS, seed=5, rate=rate), faults=faults) as server:
        collector = CoinbaseCollector(
            symbols=PRODUCTS,
            url=server.url,
            orderbook_interval_ms=0,
            stall_timeout_seconds=stall,
            max_frame_mb=max_frame_mb,
        )
        pipeline = IngestionPipeline(
            source="coinbase",
            collectors=[collector],
            writer=StreamingParquetWriter(base_dir=base, source="coinbase"),
            flush_interval_seconds=0.3,
            reconnect_delay_seconds=0.05,
            reconnect_delay_max_seconds=0.2,
            rng=random.Random(1),
        )
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        stats = await pipeline.run(stop)
        return server.stats(), stats, collector


def intervals(base, symbol, channel):
    """Return the ledger's closed intervals of a stream; open rows end at the next row of the stream."""
    gaps = read_channel(base, "gaps").filter((pl.col("symbol") == symbol) & (pl.col("channel") == channel))
    rows = gaps.select("started_at", "ended_at").rows()
    ends = {start: end for start, end in rows if end is not None}
    return [(start, ends.get(start, 2**63 - 1)) for start, _ in rows]


def assert_nothing_is_lost_silently(base):
    for symbol in PRODUCTS:
        # A trade that a gap cost may come with the next connection's snapshot: late, but once.
        trades = read_channel(base, "trades").filter(pl.col("symbol") == symbol)
        known = sorted((int(i), t) for i, t in trades.select("trade_id", "collected_at").rows())
        gaps = intervals(base, symbol, "trades")
        for (before, t0), (after, t1) in pairwise(known):
            assert after != before
            if after != before + 1:
                assert any(start <= max(t0, t1) and end >= min(t0, t1) for start, end in gaps), (symbol, before, after)


def assert_books_are_true(base):
    """Every published book equals the one rebuilt from l2, which starts anew at each snapshot."""
    for symbol in PRODUCTS:
        l2 = read_channel(base, "l2").filter(pl.col("symbol") == symbol)
        books = read_channel(base, "orderbook").filter(pl.col("symbol") == symbol).to_dicts()
        frames = l2.group_by("collected_at", "nonce", maintain_order=True).agg(
            pl.col("is_snapshot").first(), "side", "price", "size"
        )
        book, position, checked = OrderBook(), 0, 0
        for frame in frames.to_dicts():
            rows = list(zip(frame["side"], frame["price"], frame["size"], strict=True))
            if frame["is_snapshot"]:
                book.replace(*([(p, q) for s, p, q in rows if s == side] for side in ("bid", "ask")))
            else:
                for side, price, size in rows:
                    book.set(side, price, size)
            if position < len(books) and books[position]["collected_at"] == frame["collected_at"]:
                want = books[position]
                assert [(x["price"], x["size"]) for x in want["bids"]] == book.levels("bid", 20)
                assert [(x["price"], x["size"]) for x in want["asks"]] == book.levels("ask", 20)
                position, checked = position + 1, checked + 1
        assert position == len(books) and checked > 20


@pytest.mark.parametrize(
    ("faults", "reasons"),
    [
        (["disconnect@every=1.5"], {"disconnect"}),
        (["disconnect_abrupt@every=1.5"], {"disconnect"}),
        (["skip_sequence@every=1:3"], {"sequence_gap"}),
        (["silence@2x1:60"], {"stall"}),
        (["malformed@every=1"], {"parse_error", "sequence_gap"}),
        (["error_frame@every=1:2"], set()),
        (["duplicate@every=1:5"], set()),
        (["slow_start:0.5"], set()),
        (["unknown_message@every=0.5"], set()),
        (["disconnect@1x1", "refuse@0.5x2:1"], {"disconnect"}),
        (
            ["disconnect@every=2.3", "skip_sequence@every=0.7:2", "malformed@every=0.9", "duplicate@every=0.3:3"],
            {"disconnect", "sequence_gap", "parse_error"},
        ),
    ],
    ids=lambda value: "+".join(v.split("@")[0] for v in value) if isinstance(value, list) else None,
)
async def test_whatever_happens_is_recorded_or_entered(tmp_path, faults, reasons):
    server, stats, _ = await record(tmp_path, faults)
    assert server.refused or any(c.faults for c in server.connections), "the fault never happened"
    found = set(read_channel(tmp_path, "gaps")["reason"]) - {"shutdown"}
    if reasons is not None:
        assert found == reasons
    assert read_channel(tmp_path, "trades").height > 20
    assert_nothing_is_lost_silently(tmp_path)
    assert_books_are_true(tmp_path)
    assert unfinished(tmp_path) == [] and stats.dropped == 0


async def test_an_oversized_frame_costs_the_connection_and_names_the_setting(tmp_path, caplog):
    server, _, _ = await record(tmp_path, ["oversized@2x1:3000000"], max_frame_mb=2)
    details = read_channel(tmp_path, "gaps").filter(pl.col("reason") == "disconnect")["detail"]
    assert details.len() and all("max_frame_mb" in text for text in details)
    assert len(server.connections) == 2
    assert_nothing_is_lost_silently(tmp_path)
    assert_books_are_true(tmp_path)


async def test_without_faults_all_that_was_sent_is_there(tmp_path):
    server, stats, _ = await record(tmp_path, [])
    sent = server.connections[0].sent
    l2 = read_channel(tmp_path, "l2")
    assert l2.filter(~pl.col("is_snapshot")).height == sent.changes
    assert l2.filter("is_snapshot").height == sent.snapshot_levels
    assert read_channel(tmp_path, "trades").height == sent.trades
    assert read_channel(tmp_path, "ticker").height == sent.tickers
    assert stats.rows["l2"] == l2.height and stats.gaps == {}
