"""Frames that were recorded through CCXT, replayed without a network: the rows that were recorded beside them."""

import asyncio
import contextlib
import random
from functools import partial

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from daedalus.cli import replay_frames as command
from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.ingestion.collectors.rotation import RotatingCollector
from daedalus.ingestion.orchestrators.replaying import ReplayOptions, RowOptions, replay_frames
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.journal import SealOptions
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS
from daedalus.testing.invariants import assert_books_are_true
from daedalus.testing.lake import read_channel, unfinished
from tests.simulation.scenes import quick_pipeline

CHANNELS = ("ticker", "trades", "l2", "orderbook")
SEAL = SealOptions(tuple(DEFAULT_PARTITION_COLUMNS), 1 << 20, "zstd", 1)
LOSSES = ["disconnect@3x1", "malformed@every=0.4", "duplicate@every=0.3", "skip_sequence@every=0.35"]
EXCHANGES = ("binance", "binanceus", "okx", "kraken")


def collector(exchange_id, server, interval_ms=0, record=(*CHANNELS, "frames"), **options):
    methods = ("watchTrades", "watchOrderBook", "watchTicker")
    # The sandbox has no tickers of Kraken.
    channels = {method: ["*"] for method in methods if (exchange_id, method) != ("kraken", "watchTicker")}
    return CcxtCollector(
        exchange_id,
        record=record,
        orderbook_interval_ms=interval_ms,
        ws_url=server.url,
        rest_url=server.url.replace("ws://", "http://"),
        **{"channels": channels, **options},
    )


async def record(base, collectors, is_enough):
    """Record until it is enough, and stop in order."""
    pipeline = quick_pipeline(base, collectors, source="ccxt")
    stop = asyncio.Event()
    running = asyncio.create_task(pipeline.run(stop))
    for _ in range(900):
        await asyncio.sleep(0.1)
        if is_enough():
            break
    stop.set()
    await running


def replay(base, output, *, interval_ms=0, channels=CHANNELS, since=None, until=None):
    rows = RowOptions(channels, 20, interval_ms)
    options = ReplayOptions("ccxt", since, until, rows)
    return replay_frames(options, RawPaths(base, "ccxt"), RawPaths(output, "ccxt"), SEAL)


def rows(base, channel, exchange):
    """The rows of a channel that the live recording and its replay must both have, market by market in order."""
    frame = read_channel(base, channel, "ccxt").filter(pl.col("exchange") == exchange)
    if channel == "gaps":
        frame = frame.filter(pl.col("channel") != "frames")
    return frame.sort("symbol", maintain_order=True).rows()


def has_sent(server, updates):
    """Tell whether a connection was cut, and those after it have brought so many updates of books, and trades."""
    connections = server.stats().connections
    cut = [n for n, c in enumerate(connections) if any(f.name == "disconnect" for f in c.faults)]
    after = [c.sent for c in connections[cut[0] + 1 :]] if cut else []
    return sum(sent.updates for sent in after) > updates and sum(sent.trades for sent in after) > updates // 10


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((EXCHANGES[1:], 100, 120), id="slice"),
        pytest.param((EXCHANGES, 0, 400), id="each-update", marks=pytest.mark.soak),
        pytest.param((EXCHANGES, 300, 400), id="every-300-ms", marks=pytest.mark.soak),
    ],
)
def lakes(request, tmp_path_factory):
    """Exchanges recorded at once, with losses of all kinds, and the replay of their frames."""
    names, interval_ms, updates = request.param

    async def run(base):
        async with contextlib.AsyncExitStack() as stack:
            collectors, servers = [], []
            for number, name in enumerate(names):
                source = SyntheticSource(seed=number, speed=4, rate=60)
                server = SandboxServer(name.removesuffix("us"), source, faults=LOSSES)
                servers.append(await stack.enter_async_context(server))
                collectors.append(collector(name, server, interval_ms))
            await record(base, collectors, lambda: all(has_sent(server, updates) for server in servers))

    base = tmp_path_factory.mktemp("lake")
    asyncio.run(run(base / "live"))
    report = replay(base / "live", base / "again", interval_ms=interval_ms)
    assert report.frames == read_channel(base / "live", "frames", "ccxt").height
    return base, names


def test_every_row_of_every_typed_channel_is_the_same(lakes):
    base, names = lakes
    for exchange in names:
        for channel in CHANNELS:
            live, again = (rows(base / name, channel, exchange) for name in ("live", "again"))
            assert live or (channel, exchange) == ("ticker", "kraken")
            assert len(again) == len(live) and again == live, (exchange, channel)
        live, again = (rows(base / name, "gaps", exchange) for name in ("live", "again"))
        assert sorted(map(repr, again)) == sorted(map(repr, live)), exchange
        assert {"disconnect", "parse_error"} <= {row[7] for row in live}


def test_a_second_run_adds_nothing(lakes):
    base, names = lakes
    assert unfinished(base / "again") == []
    before = {path: path.read_bytes() for path in (base / "again").rglob("*.parquet")}
    report = replay(base / "live", base / "again")
    assert (report.frames, report.rows, report.skipped) == (0, {}, len(names))
    assert before == {path: path.read_bytes() for path in (base / "again").rglob("*.parquet")}


def test_sessions_that_overlapped_are_merged(tmp_path):
    """Two sessions bring the same for a while: of which of the two a row is, at one instant, may differ."""
    rotating = []

    async def run():
        async with SandboxServer("okx", SyntheticSource(seed=6, speed=4, rate=60)) as server:
            make = partial(collector, "okx", server)
            rotating.append(RotatingCollector(make, after_s=1.0, linger_s=0.2, rng=random.Random(3)))
            await record(tmp_path / "live", rotating, lambda: rotating[0].rotations >= 2)

    asyncio.run(run())
    replay(tmp_path / "live", tmp_path / "again")
    live, again = (rows(tmp_path / name, "trades", "okx") for name in ("live", "again"))
    ids = [(row[3], row[4]) for row in again]
    assert len(ids) == len(set(ids)) and sorted(ids) == sorted((row[3], row[4]) for row in live)
    products = {row[3] for row in again}
    assert_books_are_true(tmp_path / "again", "okx", sorted(products), "ccxt")
    for channel in ("ticker", "l2", "orderbook"):
        live, again = (set(map(repr, rows(tmp_path / name, channel, "okx"))) for name in ("live", "again"))
        assert len(live & again) > 0.8 * max(len(live), len(again)), channel


def test_the_command_makes_rows_of_frames_alone(tmp_path, monkeypatch):
    async def run():
        async with SandboxServer("okx", SyntheticSource(seed=9, speed=4, rate=60)) as server:

            def is_enough():
                return sum(c.sent.updates for c in server.stats().connections) > 300

            await record(
                tmp_path / "lake", [collector("okx", server, record=("frames",), exchange="my-okx")], is_enough
            )

    asyncio.run(run())
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command.replay_frames)
    settings = ["--set", "ccxt.exchanges.okx.exchange=my-okx", "--set", "ccxt.exchanges.okx.orderbook_interval_ms=0"]
    settings += ["--set", "ccxt.exchanges.okx.record=[trades,orderbook]"]
    done = CliRunner().invoke(app, ["--base-dir", "lake", "--source", "ccxt", "--output", "again", *settings])
    assert done.exit_code == 0, done.output
    made = {channel: read_channel(tmp_path / "again", channel, "ccxt") for channel in (*CHANNELS, "gaps")}
    assert {channel for channel, frame in made.items() if frame.height} == {"trades", "orderbook", "gaps"}
    assert made["orderbook"].height > 50 and set(made["orderbook"]["exchange"]) == {"my-okx"}
    assert set(made["gaps"]["reason"]) == {"shutdown"}
