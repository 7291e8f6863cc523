"""Frames that were recorded, replayed: the same rows as the live recording made beside them, fault for fault."""

import asyncio
import datetime as dt
import json
import signal
import subprocess
import sys
import time
from functools import partial

import msgspec
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from daedalus.cli import replay_frames as command
from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.collectors.rotation import RotatingCollector
from daedalus.ingestion.orchestrators.part_writer import PartWriter
from daedalus.ingestion.orchestrators.replaying import ReplayOptions, RowOptions, replay_frames
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.journal import SealOptions
from daedalus.sandbox.server import SandboxServer, in_thread
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.errors import ConfigError, NotFoundError
from daedalus.shared.events import Frame
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS
from daedalus.testing.lake import read_channel, unfinished
from tests.simulation.scenes import quick_pipeline

CHANNELS = ("ticker", "trades", "l2", "orderbook")
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
SEAL = SealOptions(tuple(DEFAULT_PARTITION_COLUMNS), 1 << 20, "zstd", 1)


async def record(base, faults, seconds=2.0, channels=(*CHANNELS, "frames"), rotate_s=None):
    """Record two connections, the second for two products, and stop in order."""
    async with SandboxServer("coinbase", SyntheticSource(PRODUCTS, seed=3, rate=200), faults=faults) as server:
        make = [
            partial(
                CoinbaseCollector,
                symbols=group,
                channels=channels,
                url=server.url,
                orderbook_interval_ms=200,
                max_orderbook_depth=7,
                stall_timeout_seconds=0.7,
            )
            for group in (PRODUCTS[:1], PRODUCTS[1:])
        ]
        if rotate_s:
            collectors = [RotatingCollector(one, after_s=rotate_s, linger_s=0.3) for one in make]
        else:
            collectors = [one() for one in make]
        pipeline = quick_pipeline(base, collectors)
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        await pipeline.run(stop)


def replay(base, output, since=None, until=None, depth=7, interval_ms=200):
    options = ReplayOptions("coinbase", since, until, RowOptions(CHANNELS, depth, interval_ms))
    return replay_frames(options, RawPaths(base, "coinbase"), RawPaths(output, "coinbase"), SEAL)


def rows(base, channel):
    """The rows of a channel as the live recording and its replay must both have them, market by market in order."""
    frame = read_channel(base, channel)
    if frame.is_empty():
        return []
    if channel == "gaps":
        frame = frame.filter(pl.col("channel") != "frames")
    return frame.sort("symbol", maintain_order=True).rows()


def assert_equal(live, replayed):
    for channel in CHANNELS:
        assert rows(live, channel) or channel not in ("l2", "orderbook")
        assert rows(replayed, channel) == rows(live, channel), channel
    assert sorted(map(repr, rows(replayed, "gaps"))) == sorted(map(repr, rows(live, "gaps")))


@pytest.mark.parametrize(
    "faults",
    [
        ["disconnect@every=0.9", "skip_sequence@every=0.5:2", "malformed@every=0.7", "duplicate@every=0.3:3"],
        ["refuse@0x2:0.2", "silence@0.4x2:60", "error_frame@every=1:2"],
    ],
    ids=["losses", "refused-and-silent"],
)
async def test_every_row_of_every_typed_channel_is_the_same(tmp_path, faults):
    await record(tmp_path / "live", faults)
    report = replay(tmp_path / "live", tmp_path / "again")
    assert_equal(tmp_path / "live", tmp_path / "again")
    assert report.frames == read_channel(tmp_path / "live", "frames").height
    assert unfinished(tmp_path / "again") == []
    before = {path: path.read_bytes() for path in (tmp_path / "again").rglob("*.parquet")}
    report = replay(tmp_path / "live", tmp_path / "again")
    assert (report.frames, report.rows, report.skipped) == (0, {}, 1)
    assert before == {path: path.read_bytes() for path in (tmp_path / "again").rglob("*.parquet")}


async def test_connections_that_were_replaced_in_time(tmp_path):
    """Two connections bring the same for a while; what the recorder's tasks did at one instant may differ."""
    await record(tmp_path / "live", [], seconds=3.5, rotate_s=1.1)
    replay(tmp_path / "live", tmp_path / "again")
    frames = read_channel(tmp_path / "live", "frames")
    assert frames["connection_id"].n_unique() >= 4
    for channel in CHANNELS:
        live, again = rows(tmp_path / "live", channel), rows(tmp_path / "again", channel)
        assert len(live) == len(again), channel
        assert sum(a == b for a, b in zip(live, again, strict=True)) > 0.99 * len(live), channel


async def test_what_was_recorded_later_is_replayed_later(tmp_path):
    await record(tmp_path / "live", ["disconnect@0.4x2"], seconds=0.8)
    replay(tmp_path / "live", tmp_path / "again")
    await record(tmp_path / "live", [], seconds=0.8)
    report = replay(tmp_path / "live", tmp_path / "again")
    assert (report.replayed, report.skipped) == (1, 1)
    assert_equal(tmp_path / "live", tmp_path / "again")


async def test_frames_alone_give_what_was_not_recorded(tmp_path):
    await record(tmp_path / "live", ["disconnect@0.4x2"], seconds=1.0, channels=("frames",))
    assert all(not rows(tmp_path / "live", channel) for channel in CHANNELS)
    replay(tmp_path / "live", tmp_path / "again")
    assert all(rows(tmp_path / "again", channel) for channel in CHANNELS)
    gaps = read_channel(tmp_path / "again", "gaps")
    streams = {(symbol, channel) for symbol in PRODUCTS for channel in CHANNELS}
    lost = {r: set(gaps.filter(pl.col("reason") == r).select("symbol", "channel").rows()) for r in gaps["reason"]}
    assert lost["disconnect"] == streams >= lost["shutdown"] > set()


def recorder(base, url):
    settings = ["coinbase.symbols=[BTC-USD,ETH-USD]", f"coinbase.ws_url={url}", "ingestion.flush_interval_seconds=0.1"]
    settings += ["coinbase.channels=[ticker,trades,l2,orderbook,frames]"]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    return subprocess.Popen([sys.executable, "-m", "daedalus.cli.main", "ingest", "--base-dir", str(base), *flags])


def journals(base):
    return {path: path.stat().st_size for path in base.glob("raw/active/*/*.journal")}


def test_a_recorder_that_was_killed(tmp_path):
    live, again = tmp_path / "live", tmp_path / "again"
    with in_thread(SandboxServer("coinbase", SyntheticSource(PRODUCTS, seed=4, rate=200))) as server:
        for end in (signal.SIGKILL, signal.SIGTERM):
            before = journals(live)
            process, deadline = recorder(live, server.url), time.monotonic() + 200
            while before.keys() & journals(live).keys() or sum(journals(live).values()) < 60_000:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(end)
            process.wait(200)
    replay(live, again, depth=20, interval_ms=1000)
    assert "crash" in set(read_channel(live, "gaps")["reason"])
    assert_equal(live, again)


def frame(now, sequence, channel, *events):
    body = {"channel": channel, "timestamp": "2025-06-19T14:00:00Z", "sequence_num": sequence, "events": list(events)}
    return Frame(
        collected_at=now,
        exchange="coinbase",
        symbol="ALL",
        connection_id="c1",
        direction="in",
        frame=json.dumps(body),
    )


def level(price, size):
    return {"side": "bid", "event_time": "2025-06-19T14:00:00Z", "price_level": str(price), "new_quantity": str(size)}


def long_connection(base, hours):
    """Frames of one connection that lives for hours, whose only snapshot comes first."""
    start = int(dt.datetime(2025, 6, 19, 14, tzinfo=dt.UTC).timestamp()) * 10**9
    asked = json.dumps({"type": "subscribe", "channel": "level2", "product_ids": ["A-B"]})
    sent = msgspec.structs.replace(frame(start, 0, ""), direction="out", frame=asked)
    book = {"type": "snapshot", "product_id": "A-B", "updates": [level(price, 1) for price in range(50, 99)]}
    frames = [sent, frame(start + 1, 0, "l2_data", book)]
    for number in range(1, hours * 60):
        update = {"type": "update", "product_id": "A-B", "updates": [level(50 + number % 49, number % 5)]}
        frames.append(frame(start + number * 60 * 10**9, number, "l2_data", update))
    paths = RawPaths(base, "coinbase")
    for number, at in enumerate(range(0, len(frames), 50)):
        writer = PartWriter(paths, SEAL, nonce=number, sealed=0, on_sealed=lambda parts: None)
        writer.add(frames[at : at + 50])
        writer.close()


def test_an_hour_in_the_middle_is_what_it_is_in_the_whole(tmp_path):
    long_connection(tmp_path / "live", 5)
    replay(tmp_path / "live", tmp_path / "whole")
    hour = dt.datetime(2025, 6, 19, 16, tzinfo=dt.UTC)
    report = replay(tmp_path / "live", tmp_path / "again", since=hour, until=hour + dt.timedelta(hours=1))
    assert set(report.rows) == {"l2", "orderbook"}
    for channel in ("l2", "orderbook"):
        whole, some = read_channel(tmp_path / "whole", channel), read_channel(tmp_path / "again", channel)
        assert some.height == 60 and some.equals(whole.filter(pl.col("hour") == 16))
    replay(tmp_path / "live", tmp_path / "again", until=hour)
    replay(tmp_path / "live", tmp_path / "again")
    for channel in ("l2", "orderbook"):
        assert read_channel(tmp_path / "again", channel).equals(read_channel(tmp_path / "whole", channel))


async def test_the_command(tmp_path, monkeypatch):
    await record(tmp_path / "lake", [], seconds=1.0)
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command.replay_frames)
    settings = ["--set", "coinbase.max_orderbook_depth=7", "--set", "coinbase.orderbook_interval_ms=200"]
    done = CliRunner().invoke(app, ["--base-dir", "lake", *settings])
    assert done.exit_code == 0, done.output
    assert "coinbase-replayed" in done.stdout and "replayed" in done.stdout
    for channel in CHANNELS:
        made, live = (read_channel(tmp_path / "lake", channel, name) for name in ("coinbase-replayed", "coinbase"))
        assert made.height and made.sort("symbol", maintain_order=True).equals(live.sort("symbol", maintain_order=True))
    again = CliRunner().invoke(app, ["--base-dir", "lake", *settings])
    assert again.exit_code == 0 and "replayed before: 1 segments" in again.stdout
    for words, text in (
        (["--output", "lake"], "twice"),
        (["--source", "imported"], "choose from coinbase, ccxt"),
        (["--from", "2020-01-01", "--to", "2020-01-02"], "no frames in these hours"),
        (["--from", "yesterday"], "not an hour"),
        (["--to", "2020-01-01T10:30"], "whole hours"),
    ):
        refused = CliRunner().invoke(app, ["--base-dir", "lake", *words])
        assert isinstance(refused.exception, ConfigError) and text in str(refused.exception), words
    nothing = CliRunner().invoke(app, ["--base-dir", "nowhere"])
    assert isinstance(nothing.exception, NotFoundError)
