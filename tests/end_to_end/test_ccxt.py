"""Recording exchanges through the command line and the real CCXT client, from recorded and synthetic markets."""

import gzip
import json
import signal
import subprocess
import sys
import time
from decimal import Decimal

import polars as pl
import psutil
import pytest
import yaml

from daedalus.sandbox.server import SandboxServer, in_thread
from daedalus.sandbox.sources import open_recording
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.book import OrderBook
from daedalus.testing.lake import read_channel, unfinished
from tests.conftest import ROOT

FAST = float("inf")
SPOT = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")


def rows_of(base, channel, source="ccxt"):
    return read_channel(base, channel, source)


def write_config(folder, server, exchange_id, **entry):
    here = {"ws_url": server.url, "rest_url": server.url.replace("ws://", "http://"), "orderbook_interval_ms": 0}
    settings = {"ccxt": {"exchanges": {exchange_id: {**here, **entry}}}, "ingestion": {"flush_interval_seconds": 0.2}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    path.chmod(0o600)
    return path


def start(base, config, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / "run_ingestion.py"), "--sources", "ccxt"]
    command += ["--base-dir", str(base), "--config", str(config), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    """Wait for the end and return what was said; one that does not end must not outlive its test."""
    try:
        return process.communicate(timeout=200)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def stop(process):
    process.send_signal(signal.SIGINT)
    out, err = ended(process)
    assert process.returncode == 0, err
    return out, err


def wait_until(condition, seconds=200.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def has_ended(server, connections):
    of = server.stats().connections
    return len(of) >= connections and all(c.market == "ended" for c in of)


def is_idle(process):
    """Tell whether a process has nothing left to do: it sleeps. One that waits for a busy machine counts as running."""
    of, states = psutil.Process(process.pid), []
    for _ in range(30):
        states.append(of.status())
        time.sleep(0.05)
    return states.count(psutil.STATUS_RUNNING) <= 5


def record_to_the_end(base, server, exchange_id, connections, **entry):
    process = start(base, write_config(base, server, exchange_id, **entry))
    wait_until(lambda: has_ended(server, connections) or process.poll() is not None)
    wait_until(lambda: process.poll() is not None or is_idle(process))
    return stop(process)


# -- recorded sessions -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def binance(recordings, tmp_path_factory):
    """The spot session of 2024, recorded at full speed."""
    base = tmp_path_factory.mktemp("lake")
    source = open_recording([recordings / "binance_raw" / name for name in SPOT], "auto", "binance", speed=FAST)
    symbols = ["BTC/USDT"]
    channels = {"watchTrades": symbols, "watchOrderBook": symbols, "watchBidsAsks": symbols}
    with in_thread(SandboxServer("binance", source)) as server:
        record_to_the_end(base, server, "binance", 3, channels=channels, record=["ticker", "trades", "orderbook", "l2"])
    return base


def test_every_trade_arrives_once_with_its_exact_quantity(binance, recordings):
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/binance_spot_btcusdt_20240808"]
    trades = rows_of(binance, "trades")
    assert trades.height == golden["n_trades"] == trades["trade_id"].n_unique()
    assert (trades["trade_id"].cast(pl.Int64).min(), trades["trade_id"].cast(pl.Int64).max()) == (
        golden["first_trade_id"],
        golden["last_trade_id"],
    )
    for side in ("buy", "sell"):
        amounts = trades.filter(pl.col("side") == side)["amount"]
        assert sum(Decimal(str(q)) for q in amounts) == Decimal(golden[f"taker_{side}_qty"])
    turnover = sum(Decimal(str(p)) * Decimal(str(q)) for p, q in trades.select("price", "amount").rows())
    assert turnover == Decimal(golden["sum_price_x_qty"])
    assert trades["symbol"].unique().to_list() == ["BTC-USDT"] and trades["cost"].null_count() == trades.height
    assert rows_of(binance, "ticker").height == golden["by_type"]["bookTicker"]
    assert rows_of(binance, "gaps")["reason"].unique().to_list() == ["shutdown"]


def test_the_series_of_books_is_the_one_rebuilt_from_the_raw_frames(binance, recordings):
    due = dict(rebuilt(recordings))
    books = rows_of(binance, "orderbook")
    found = {row["nonce"]: row for row in books.iter_rows(named=True)}
    (snapshot,) = [b for b in found if b not in due] or [None]
    assert len(found) == books.height and found.keys() - {snapshot} == due.keys()
    for nonce, sides in due.items():
        row = found[nonce]
        assert [[(x["price"], x["size"]) for x in row[side]] for side in ("bids", "asks")] == sides


def rebuilt(recordings):
    """Yield (last update id, top 20 of both sides) of every update that goes on from the REST snapshot."""
    files = [recordings / "binance_raw" / name for name in SPOT]
    lines = (line for file in files for line in gzip.decompress(file.read_bytes()).decode().splitlines())
    messages = [json.loads(line.split(" ", 1)[1]) for line in lines]
    snapshot = next(m for m in messages if "lastUpdateId" in m)
    book, last = OrderBook(), snapshot["lastUpdateId"]
    book.replace(*([(float(p), float(q)) for p, q in snapshot[side]] for side in ("bids", "asks")))
    for update in (m["data"] for m in messages if m.get("data", {}).get("e") == "depthUpdate"):
        if update["u"] <= last:
            continue
        for side, key in (("bid", "b"), ("ask", "a")):
            for price, size in update[key]:
                book.set(side, float(price), float(size))
        yield update["u"], [book.levels("bid", 20), book.levels("ask", 20)]


def test_l2_rebuilds_the_snapshots(binance):
    l2 = rows_of(binance, "l2").sort("collected_at", maintain_order=True)
    books = {row["nonce"]: row for row in rows_of(binance, "orderbook").iter_rows(named=True)}
    book, seen = OrderBook(), 0
    for (nonce,), rows in l2.group_by(["nonce"], maintain_order=True):
        changes = rows.select("side", "price", "size").rows()
        if rows["is_snapshot"][0]:
            book.replace(*([(p, q) for s, p, q in changes if s == side] for side in ("bid", "ask")))
        else:
            for change in changes:
                book.set(*change)
        due = books[nonce]
        for side, column in (("bid", "bids"), ("ask", "asks")):
            assert book.levels(side, 20) == [(x["price"], x["size"]) for x in due[column]]
        seen += 1
    assert seen > 6000 and seen >= len(books) - 5


# -- synthetic markets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange_id", ["binance", "okx", "kraken"])
def test_a_lossy_market_is_whole_or_in_the_ledger(tmp_path, exchange_id):
    faults = ["skip_sequence@every=2", "malformed@every=3", "duplicate@every=1", "error_frame@every=2"]
    names = {fault.partition("@")[0] for fault in faults}
    server = SandboxServer(exchange_id, SyntheticSource(seed=5, speed=10, rate=40), faults=faults)
    channels = {"watchTrades": ["*"], "watchOrderBook": ["*"]}
    with in_thread(server):
        config = write_config(tmp_path, server, exchange_id, channels=channels, record=["trades", "orderbook", "l2"])
        process = start(tmp_path, config)
        wait_until(lambda: {f.name for c in server.stats().connections for f in c.faults} == names)
        time.sleep(3.0)
        stop(process)
        counts = [(c.sent, c.dropped) for c in server.stats().connections]
    trades, gaps = rows_of(tmp_path, "trades"), rows_of(tmp_path, "gaps")
    assert trades.n_unique(["symbol", "trade_id"]) == trades.height
    assert trades.height <= sum(sent.trades + sent.past_trades for sent, _ in counts)
    assert sum(dropped.updates for _, dropped in counts) > 0
    known = gaps.filter(pl.col("channel") == "orderbook")["reason"].unique().to_list()
    # Which kind of frame is cut is chance: its own streams carry the entry.
    assert "parse_error" in gaps["reason"].to_list() and {"sequence_gap", "checksum"} & set(known)
    assert_books_follow_from_changes(rows_of(tmp_path, "l2"), rows_of(tmp_path, "orderbook"), gaps)
    assert unfinished(tmp_path) == []


def assert_books_follow_from_changes(l2, books, gaps):
    """Every snapshot outside of a gap is what the changes before it make, and none lies within a gap."""
    for symbol in books["symbol"].unique():
        mine = [
            frame.filter(pl.col("symbol") == symbol).sort("collected_at", maintain_order=True) for frame in (l2, books)
        ]
        closed = gaps.filter(
            (pl.col("symbol") == symbol) & (pl.col("channel") == "orderbook") & pl.col("ended_at").is_not_null()
        )
        holes = closed.select("started_at", "ended_at").rows()
        book, changes = OrderBook(), iter(mine[0].partition_by("collected_at", maintain_order=True))
        for row, group in zip(mine[1].iter_rows(named=True), changes, strict=False):
            assert group["collected_at"][0] == row["collected_at"]
            levels = group.select("side", "price", "size").rows()
            if group["is_snapshot"][0]:
                book.replace(*([(p, q) for s, p, q in levels if s == side] for side in ("bid", "ask")))
            else:
                for change in levels:
                    book.set(*change)
            assert [(x["price"], x["size"]) for x in row["bids"]] == book.levels("bid", 20)
            assert not any(a < row["collected_at"] < b for a, b in holes)


def test_several_exchanges_and_native_coinbase_record_side_by_side(tmp_path):
    coinbase = SandboxServer("coinbase", SyntheticSource(seed=1, speed=5))
    okx, kraken = (SandboxServer(name, SyntheticSource(seed=2, speed=5)) for name in ("okx", "kraken"))
    with in_thread(coinbase), in_thread(okx), in_thread(kraken):
        entries = {}
        for name, server in (("okx", okx), ("kraken", kraken)):
            channels = {"watchTrades": ["BTC/USD", "NO/SUCH"], "watchOrderBook": ["*/USD"]}
            urls = {"ws_url": server.url, "rest_url": server.url.replace("ws://", "http://")}
            entries[name] = {"channels": channels, "exchange": f"my-{name}", "record": ["trades", "frames"], **urls}
        settings = {"ccxt": {"exchanges": entries}, "coinbase": {"symbols": ["BTC-USD"], "ws_url": coinbase.url}}
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        config.chmod(0o600)
        process = start(tmp_path, config, "--sources", "ccxt,coinbase", "--duration", "12")
        _, err = ended(process)
        assert process.returncode == 0, err
    assert err.count("symbol_unknown") == 2 and "NO/SUCH" in err
    assert set(rows_of(tmp_path, "trades")["exchange"]) == {"my-okx", "my-kraken"}
    assert set(rows_of(tmp_path, "trades", "coinbase")["exchange"]) == {"coinbase"}
    frames = rows_of(tmp_path, "frames")
    assert set(frames["exchange"]) == {"my-okx", "my-kraken"} and set(frames["direction"]) == {"in", "out"}


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({"ccxt": {"exchanges": {}}}, 2, "ccxt.exchanges is empty"),
        ({"ccxt": {"exchanges": {"okxx": {"channels": {"watchTrades": ["A/B"]}}}}}, 2, "did you mean okx"),
        ({"ccxt": {"exchanges": {"okx": {"channels": {"watchTrade": ["A/B"]}}}}}, 2, "did you mean watchTrades"),
        ({"ccxt": {"exchanges": {"okx": {"channels": {}}}}}, 2, "ccxt.exchanges.okx.channels: is empty"),
        ({"ccxt": {"exchanges": {"okx": {"ws_url": "ws://example.com"}}}}, 2, "must start with wss://"),
    ],
)
def test_wrong_settings_say_what_to_do(tmp_path, settings, code, says):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    config.chmod(0o600)
    process = start(tmp_path, config)
    _, err = ended(process)
    assert process.returncode == code and says in err, err
    assert not (tmp_path / "raw").exists()


def test_nothing_that_the_exchange_has_ends_with_the_reason(tmp_path):
    with in_thread(SandboxServer("kraken", SyntheticSource(seed=1))) as server:
        config = write_config(tmp_path, server, "kraken", channels={"watchTrades": ["BTC-USD"]})
        process = start(tmp_path, config)
        _, err = ended(process)
    assert process.returncode == 1 and "did you mean BTC/USD" in err and "Traceback" not in err


def test_an_okx_recording_arrives_whole(recordings, tmp_path):
    file = recordings / "cryptofeed_ws" / "OKX.ws.1.0"
    source = open_recording([file], "auto", "okx", speed=FAST)
    channels = {method: ["BTC/USDT"] for method in ("watchOrderBook", "watchTrades", "watchTicker")}
    with in_thread(SandboxServer("okx", source)) as server:
        record_to_the_end(tmp_path, server, "okx", 1, channels=channels)
    sent = [json.loads(line.partition(": ")[2]) for line in file.read_text().splitlines() if line[:1].isdigit()]
    sent = [message for message in sent if message.get("arg", {}).get("instId") == "BTC-USDT" and "data" in message]
    by_channel = {
        c: [d for m in sent if m["arg"]["channel"] == c for d in m["data"]] for c in ("trades", "tickers", "books")
    }
    trades = rows_of(tmp_path, "trades").select("trade_id", "side", "price", "amount").rows()
    assert trades == [(t["tradeId"], t["side"], float(t["px"]), float(t["sz"])) for t in by_channel["trades"]]
    assert rows_of(tmp_path, "ticker").height == len(by_channel["tickers"])
    book, due = OrderBook(), []
    for update in by_channel["books"]:
        for side, key in (("bid", "bids"), ("ask", "asks")):
            for price, size, *_ in update[key]:
                book.set(side, float(price), float(size))
        due.append((book.levels("bid", 20), book.levels("ask", 20)))
    rows = rows_of(tmp_path, "orderbook").select("bids", "asks").rows()
    assert [tuple([(x["price"], x["size"]) for x in side] for side in row) for row in rows] == due


def test_a_kraken_recording_arrives_whole_and_its_checksums_agree(recordings, tmp_path):
    source = open_recording([recordings / "kraken_book" / "orderbook-v2.json"], "auto", "kraken", speed=FAST)
    with in_thread(SandboxServer("kraken", source)) as server:
        entry = {"channels": {"watchOrderBook": ["BTC/USD"]}, "max_orderbook_depth": 10}
        record_to_the_end(tmp_path, server, "kraken", 1, **entry)
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/kraken_v2"]
    assert rows_of(tmp_path, "orderbook").height == golden["book_messages"]
    assert rows_of(tmp_path, "gaps")["reason"].unique().to_list() == ["shutdown"]
