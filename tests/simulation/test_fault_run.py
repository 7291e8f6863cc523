"""Several exchanges that misbehave at once: all that happened is in exactly one segment or inside the ledger."""

import asyncio
import gc
import os
import random
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import msgspec
import polars as pl
import psutil
import pytest
import structlog

from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.collectors.pace import HostPaces, Limits
from daedalus.ingestion.collectors.rotation import RotatingCollector
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.orchestrators.memory import give_back, limit_heaps
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared.clock import SystemClock
from daedalus.testing import faulty_market
from daedalus.testing.faulty_market import Exchange, Happened, Listening, Spec
from daedalus.testing.invariants import FOREVER, Ledger, assert_books_are_true, find_silent_losses
from daedalus.testing.lake import read_channel, unfinished

SOURCE = "all"
FAST = Limits(connects_per_s=200, messages_per_s=800)
EXCHANGES = [
    Exchange(
        name="coinbase",
        protocol="coinbase",
        products=["BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD"],
        seed=1,
        refuse_every_s=3,
    ),
    Exchange(name="rotating", protocol="coinbase", products=["BTC-USD", "LTC-USD"], seed=2, refuse_every_s=4),
    Exchange(name="binance", protocol="binance", products=["BTC-USD", "ETH-USD"], seed=3),
    Exchange(name="okx", protocol="okx", products=["BTC-USD", "ETH-USD"], seed=4),
    Exchange(name="kraken", protocol="kraken", products=["BTC-USD", "ETH-USD"], seed=5),
]
#: The long run; another length or seed by the environment.
SECONDS = float(os.environ.get("DAEDALUS_FAULT_RUN_SECONDS", "600"))
SEED = int(os.environ.get("DAEDALUS_FAULT_RUN_SEED", "20"))
FAULTS = round(2000 * SECONDS / 600)
#: Silence after which a connection counts as dead; silences of the market's are longer.
STALL_S = 1.5
#: What happened so long before the end has been told, on a busy machine too.
LAG_S = 2.0


def collectors_of(exchange, url, clock, paces):
    """Return what records an exchange: native collectors of two products each, or one through CCXT."""
    paces.of(url, FAST)
    if exchange.protocol != "coinbase":
        symbols = [product.replace("-", "/") for product in exchange.products]
        return [
            CcxtCollector(
                exchange.protocol,
                channels={"watchTrades": symbols, "watchOrderBook": symbols},
                record=["trades", "orderbook", "l2"],
                exchange=exchange.name,
                orderbook_interval_ms=0,
                stall_timeout_seconds=STALL_S,
                max_frame_mb=2,
                ws_url=url,
                rest_url=url.replace("ws://", "http://"),
                clock=clock,
                paces=paces,
            )
        ]
    pairs = [exchange.products[i : i + 2] for i in range(0, len(exchange.products), 2)]
    options = {"stall_timeout_seconds": STALL_S, "max_frame_mb": 2, "orderbook_interval_ms": 0, "clock": clock}
    makes = [
        partial(CoinbaseCollector, symbols=pair, url=url, exchange=exchange.name, pace=paces.of(url), **options)
        for pair in pairs
    ]
    if exchange.name == "rotating":
        return [RotatingCollector(make, after_s=4.0, linger_s=0.3, clock=clock) for make in makes]
    return [make() for make in makes]


@contextmanager
def market(spec):
    """Run the exchanges in a process of their own; yield how to hear from them and what to tell them."""
    command = [sys.executable, "-m", "daedalus.testing.faulty_market", msgspec.json.encode(spec).decode()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(kind):
        return msgspec.json.decode(process.stdout.readline(), type=kind)

    def tell():
        process.stdin.write("\n")
        process.stdin.flush()

    try:
        yield hear, tell
    finally:
        process.kill()
        process.communicate()


def rss_mb():
    """Return what is held: what allocators keep for later is given back first."""
    gc.collect()
    give_back()
    return psutil.Process().memory_info().rss / 1e6


#: Events of the log that must not come.
FATAL = ("collector_failed", "connection_refused", "event_unwritable")


@contextmanager
def fatal_logs():
    """Collect those events; all others would be most of the memory that a long run takes."""
    found = []

    def keep(_logger, _method, event):
        if event["event"] in FATAL:
            found.append(event)
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[keep])
    try:
        yield found
    finally:
        structlog.configure(processors=before)


async def run(base, spec, *, warm_s, settle_s):
    """Record through all faults; return what happened, what the market was, and figures."""
    clock, complaints = SystemClock(), []
    limit_heaps()  # As `daedalus ingest` does.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    with market(spec) as (hear, tell):
        listening = await asyncio.to_thread(hear, list[Listening])
        paces, stop = HostPaces(clock), asyncio.Event()
        collectors = [
            collector
            for exchange, where in zip(spec.exchanges, listening, strict=True)
            for collector in collectors_of(exchange, where.url, clock, paces)
        ]
        pipeline = IngestionPipeline(
            source=SOURCE,
            collectors=collectors,
            writer=StreamingParquetWriter(base_dir=base, source=SOURCE),
            flush_interval_seconds=0.5,
            reconnect_delay_seconds=0.05,
            reconnect_delay_max_seconds=0.5,
            rng=random.Random(spec.seed),
            clock=clock,
        )
        recording = asyncio.create_task(pipeline.run(stop))
        await asyncio.sleep(warm_s)
        tasks, memory_mb = task_names(), [rss_mb()]
        tell()
        hearing = asyncio.create_task(asyncio.to_thread(hear, Happened))
        while not hearing.done():
            await asyncio.wait([hearing], timeout=max(1.0, spec.seconds / 20))
            memory_mb.append(rss_mb())
        happened = await hearing
        await asyncio.sleep(settle_s)
        survivors = task_names()
        memory_mb.append(rss_mb())
        stop.set()
        stats = await recording
        until_us = clock.now_ns() // 1000
        tell()
        sent = await asyncio.to_thread(hear, Happened)
    assert complaints == [] and tasks <= survivors, (complaints, tasks - survivors)
    # Market time runs faster than ours.
    until = [
        where.start_us + int((until_us - where.start_us) * e.speed)
        for e, where in zip(spec.exchanges, listening, strict=True)
    ]
    truth = [
        (
            *faulty_market.truth(e, where.start_us, us),
            (until_us * 1000 - int(LAG_S * 1e9), us - int(LAG_S * 1e6 * e.speed)),
        )
        for e, where, us in zip(spec.exchanges, listening, until, strict=True)
    ]
    return happened, sent, truth, stats, memory_mb


def task_names():
    """Return the names of the tasks that are to live as long as the recorder."""
    lasting = ("writer", "stats", "retention", "coinbase", "rotating:", "binance", "okx", "kraken")
    return {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(lasting)}


def check_end(who, expected, received, told, intervals):
    """What happened last, and long enough before the end to have been told, was received or is in the ledger."""
    last = max((index for index, key in enumerate(expected) if key in received), default=-1)
    told_ns, told_us = told
    tail = [key for key, time_us in list(expected.items())[last + 1 :] if time_us < told_us]
    is_open = any(start < told_ns and end == FOREVER for start, end in intervals)
    assert not tail or is_open, f"{who}: it did not come back: {len(tail)} since {tail[0]} are missing"


def check_trades(base, exchange, trades, ledger, told):
    rows = read_channel(base, "trades", SOURCE).filter(pl.col("exchange") == exchange.name)
    for product, expected in trades.items():
        mine = rows.filter(pl.col("symbol") == product)
        received = {int(i): t for i, t in mine.select("trade_id", "collected_at").rows()}
        who = f"{exchange.name} {product}"
        assert len(received) == mine.height, f"{who}: a trade was recorded twice"
        assert received.keys() <= expected.keys(), f"{who}: trades that never happened"
        intervals, ids = ledger.intervals(exchange.name, product, "trades", received.values()), list(expected)
        check_end(who, expected, received, told, intervals)
        lost = [(ids[a], ids[b]) for a, b in find_silent_losses(ids, received, intervals)]
        assert not lost, f"{who}: trades lost in silence: {lost}"


def check_changes(base, exchange, changes, ledger, told):
    """Of a venue that tells of each change as it is: every one is recorded once, whole, or in the ledger."""
    rows = read_channel(base, "l2", SOURCE).filter((pl.col("exchange") == exchange.name) & ~pl.col("is_snapshot"))
    for product, counts in changes.items():
        mine = rows.filter(pl.col("symbol") == product).group_by(pl.col("timestamp").dt.epoch("us"))
        found = mine.agg(pl.len(), pl.col("collected_at").first()).rows()
        who = f"{exchange.name} {product}"
        wrong = [(t, n, counts.get(t)) for t, n, _ in found if counts.get(t) != n]
        assert not wrong, f"{who}: changes recorded twice, in part, or that never happened: {wrong[:5]}"
        received = {t: now for t, _, now in found}
        expected = sorted(counts)
        intervals = ledger.intervals(exchange.name, product, "l2", received.values())
        check_end(who, {time: time for time in expected}, received, told, intervals)
        lost = find_silent_losses(expected, received, intervals)
        assert not lost, f"{who}: changes lost in silence: {[(expected[a], expected[b]) for a, b in lost]}"


async def record_and_check(base, spec, *, warm_s, settle_s):
    with fatal_logs() as fatal:
        happened, sent, truth, stats, memory = await run(base, spec, warm_s=warm_s, settle_s=settle_s)
    assert fatal == []
    assert stats.dropped == 0 and unfinished(base) == []
    ledger = Ledger(base, SOURCE)
    for exchange, (trades, changes, told) in zip(spec.exchanges, truth, strict=True):
        check_trades(base, exchange, trades, ledger, told)
        if exchange.name == "coinbase":
            check_changes(base, exchange, changes, ledger, told)
        assert_books_are_true(base, exchange.name, exchange.products, SOURCE)
    return happened, sent, stats, ledger, memory


@pytest.mark.timeout(300)
async def test_a_slice_of_the_fault_run(tmp_path):
    spec = Spec(exchanges=EXCHANGES, faults=40, seconds=5, seed=11)
    happened, _, _, ledger, _ = await record_and_check(tmp_path, spec, warm_s=2, settle_s=4)
    assert sum(happened.faults.values()) >= 30
    assert {"disconnect", "sequence_gap", "parse_error"} <= ledger.reasons.keys()


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_two_thousand_faults_in_ten_minutes(tmp_path, capsys):
    spec = Spec(exchanges=EXCHANGES, faults=FAULTS, seconds=SECONDS, seed=SEED)
    happened, sent, stats, ledger, memory_mb = await record_and_check(tmp_path, spec, warm_s=SECONDS / 10, settle_s=10)
    rows = sum(stats.rows.values())
    with capsys.disabled():
        print(
            f"\nseed {SEED}: {sum(happened.faults.values()):,} faults in {SECONDS:g} s ({happened.faults}); "
            f"{sent.connections:,} connections, {sent.frames:,} frames, {rows:,} rows, ledger {ledger.reasons}; "
            f"RSS {' '.join(f'{mb:.0f}' for mb in memory_mb)} MB"
        )
    assert sum(happened.faults.values()) >= FAULTS * 0.95
    assert memory_mb[-1] <= memory_mb[0] * 1.1
