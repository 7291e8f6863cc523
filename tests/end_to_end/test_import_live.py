"""Imported rows are those of recording the same frames live, but for receive times: real clients, recorded markets.

Where the sandbox tells a recording in newer words (Kraken v1 as v2, the older Coinbase feed as Advanced Trade), columns
that only one of the two has are left out, and named.
"""

import asyncio
import contextlib
import gzip

import msgspec
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from daedalus.cli.import_recordings import import_recordings
from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.writers.columns import record_batches
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.sources import open_recording
from daedalus.shared.partitioning import sanitize_partition_value
from daedalus.testing.lake import read_channel

CHANNELS = ("ticker", "trades", "l2", "orderbook")
RECEIVED = ("collected_at", "capture_ts", "year", "month", "day", "hour")
SPOT = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")


def ccxt_collector(exchange_id, url, depth, channels):
    return CcxtCollector(
        exchange_id,
        channels=channels,
        record=CHANNELS,
        max_orderbook_depth=depth,
        orderbook_interval_ms=0,
        ws_url=url,
        rest_url=url.replace("ws:", "http:"),
    )


async def until_the_end(protocol, source, collector_at, connections):
    """Record until every connection has played all of it, and nothing more comes."""
    events, is_over = [], False

    async def record():
        async for some in collector_at(server.url).events():
            events.extend(some)

    async with SandboxServer(protocol, source) as server, asyncio.timeout(300):
        recording = asyncio.create_task(record())
        while not is_over:
            before, has_been_played = len(events), has_ended(server, connections)
            await asyncio.wait([recording], timeout=1.0)
            assert not recording.done(), recording.result()
            is_over = has_been_played and len(events) == before > 0
        recording.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await recording
    return events


def has_ended(server, connections):
    of = server.stats().connections
    return len(of) >= connections and all(c.market == "ended" for c in of)


def live(protocol, form, files, collector_at, connections=1):
    """Record from the sandbox; return a frame a channel."""
    source = open_recording(files, form, protocol, speed=float("inf"))
    events = asyncio.run(until_the_end(protocol, source, collector_at, connections))
    named = [msgspec.structs.replace(e, symbol=sanitize_partition_value(e.symbol)) for e in events]
    return {channel: pl.from_arrow(batch).drop(RECEIVED, strict=False) for channel, batch in record_batches(named)}


def imported(base, form, files, *symbols, depth=20):
    """Import by the command; return a frame a channel."""
    app = typer.Typer()
    app.command()(import_recordings)
    words = ["--format", form, "--base-dir", base, "--orderbook-interval-ms", 0, "--depth", depth, *files]
    words += [word for symbol in symbols for word in ("--symbol", symbol)]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return {channel: read_channel(base, channel, form).drop(RECEIVED, strict=False) for channel in CHANNELS}


def assert_equal(there, here, counts, left_out=()):
    """Compare the rows of every market in their order. Markets may follow each other in any."""
    for channel, count in counts.items():
        one, other = (frames[channel].drop(left_out, strict=False) for frames in (there, here))
        assert one.columns == other.columns
        assert one.height == other.height == count, channel
        for symbol in other["symbol"].unique():
            rows, due = (frame.filter(pl.col("symbol") == symbol).rows() for frame in (one, other))
            assert rows == due, (channel, symbol)


@pytest.mark.parametrize("lines", [8_000, pytest.param(None, marks=pytest.mark.soak)])
def test_binance_spot_in_every_column(tmp_path, recordings, lines):
    raw = b"".join(gzip.decompress((recordings / "binance_raw" / name).read_bytes()) for name in SPOT)
    path = tmp_path / "capture.txt"
    path.write_bytes(b"".join(raw.splitlines(keepends=True)[:lines]))
    channels = {name: ["BTC/USDT"] for name in ("watchTrades", "watchOrderBook", "watchBidsAsks")}
    there = live("binance", "binance-raw", [path], lambda url: ccxt_collector("binance", url, 20, channels), 3)
    here = imported(tmp_path / "lake", "binance-raw", [path], "BTC/USDT")
    # Both begin with a whole book; which diffs it holds already depends on when the answer came.
    begin = max(frames[c]["nonce"].min() for frames in (there, here) for c in ("orderbook", "l2"))
    for frames in (there, here):
        frames.update({c: frames[c].filter(pl.col("nonce") > begin) for c in ("orderbook", "l2")})
    assert here["orderbook"]["nonce"].n_unique() == here["orderbook"].height > 400
    assert_equal(there, here, {channel: here[channel].height for channel in CHANNELS})


def test_okx_in_every_column(tmp_path, recordings):
    files = [recordings / "cryptofeed_ws" / "OKX.ws.1.0"]
    names = {"BTC-USDT": "BTC/USDT", "BTC-USD-220527": "BTC/USD:BTC-220527", "UNI-USD-SWAP": "UNI/USD:UNI"}
    channels = {name: list(names.values()) for name in ("watchOrderBook", "watchTrades", "watchTicker")}
    there = live("okx", "auto", files, lambda url: ccxt_collector("okx", url, 20, channels))
    here = imported(tmp_path, "cryptofeed", files, *(f"{old}={new}" for old, new in names.items()))
    assert_equal(there, here, {"ticker": 28, "trades": 74, "l2": 8264, "orderbook": 290})


MARKETS = [("SC/EUR", "OMG/USD", "KSM/BTC"), pytest.param(None, marks=pytest.mark.soak)]


@pytest.mark.parametrize("markets", MARKETS)
def test_kraken_but_for_ids_that_v1_has_not(tmp_path, recordings, markets):
    """CCXT gives times in ms where v1 has us; and the two sides of one message may stand in another order."""
    files = [recordings / "cryptofeed_ws" / name for name in ("KRAKEN.ws.50.0", "KRAKEN.ws.48.0")]
    names = {f"{base}/XBT": f"{base}/BTC" for base in ("KSM", "ADA", "OCEAN")} | {"XBT/CHF": "BTC/CHF"}
    channels = {name: list(markets or ["*"]) for name in ("watchOrderBookForSymbols", "watchTradesForSymbols")}
    there = live("kraken", "auto", files, lambda url: ccxt_collector("kraken", url, 1000, channels))
    here = imported(tmp_path, "cryptofeed", files, *(f"{old}={new}" for old, new in names.items()), depth=1000)
    chosen = [sanitize_partition_value(market) for market in markets or ()] or here["l2"]["symbol"].unique().to_list()
    here = {c: frame.filter(pl.col("symbol").is_in(chosen)) for c, frame in here.items() if frame.height}
    counts = {channel: here[channel].height for channel in ("trades", "orderbook")}
    assert markets or counts == {"trades": 10, "orderbook": 4279}
    assert_equal(there, here, counts, ("trade_id", "timestamp", "info_json"))
    columns = ("symbol", "is_snapshot", "side", "price", "size")
    assert sorted(there["l2"].select(columns).rows()) == sorted(here["l2"].select(columns).rows())


def test_coinbase_but_for_numbers_that_the_older_feed_has_not(tmp_path, recordings):
    files = list((recordings / "coinbase_exchange_l2_20180417").glob("*.gz"))

    def collector_at(url):
        channels = ("trades", "l2", "orderbook")
        return CoinbaseCollector(symbols=["BTC-USD"], channels=channels, orderbook_interval_ms=0, url=url)

    there = live("coinbase", "auto", files, collector_at)
    here = imported(tmp_path, "coinbase-exchange", files)
    # The older snapshot has no time, and "BUY" was "buy".
    there["orderbook"] = there["orderbook"].with_columns(
        timestamp=pl.when(pl.int_range(pl.len()) > 0).then("timestamp")
    )
    there["trades"] = there["trades"].with_columns(pl.col("info_json").str.to_lowercase())
    assert_equal(there, here, {"trades": 256, "l2": 46_335, "orderbook": 18_094}, ("nonce",))
