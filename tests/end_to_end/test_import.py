"""`daedalus import` of real recordings: the reference numbers, twice, and after `kill -9`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from daedalus.cli import import_recordings as command
from daedalus.shared.book import OrderBook
from daedalus.shared.errors import ConfigError
from daedalus.testing.lake import read_channel, unfinished

CHANNELS = ("ticker", "trades", "l2", "orderbook", "gaps")
BINANCE = {
    "spot": ("dev/binance_spot_btcusdt_20240808", "binance", "BTCUSDT"),
    "usdm": ("dev/binance_usdm_btcusdt_20240808", "binanceusdm", "BTCUSDT"),
    "cm": ("dev/binance_cm_btcusd_perp_20240808", "binancecoinm", "BTCUSD_PERP"),
}
PROGRAM = (
    "from daedalus.cli.main import app, run\n"
    "from daedalus.cli.import_recordings import import_recordings\n"
    "app.command('import')(import_recordings)\n"
    "run(app)"
)


@pytest.fixture
def cli(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command.import_recordings)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def golden(recordings):
    return json.loads((recordings / "GOLDEN.json").read_text())


def numbers(levels):
    return [(float(price), float(size)) for price, size in levels]


def exact(values):
    return sum(Decimal(repr(value)) for value in values)


def assert_final_book(l2, golden):
    """The book rebuilt from nothing but `l2` rows ends in the reference's."""
    first = l2.with_row_index().filter("is_snapshot")["index"].max() + 1
    assert l2["is_snapshot"][:first].all()
    book = OrderBook()
    whole = l2[:first].select("side", "price", "size").rows()
    book.replace(*([(p, q) for s, p, q in whole if s == side] for side in ("bid", "ask")))
    for side, price, size in l2[first:].select("side", "price", "size").rows():
        book.set(side, price, size)
    for side in ("bid", "ask"):
        assert book.levels(side, 5) == numbers(golden[f"final_best_{side}s"])
    assert [len(book.levels("bid")), len(book.levels("ask"))] == golden["final_levels"]
    return book


@pytest.mark.parametrize("market", BINANCE)
def test_binance_to_the_last_digit(tmp_path, recordings, golden, cli, market):
    key, exchange, symbol = BINANCE[market]
    expected = golden[key]
    files = [recordings / "binance_raw" / name for name in reversed(expected["files"])]
    done = cli("--format", "binance-raw", "--base-dir", "lake", "--orderbook-interval-ms", 0, *files)
    assert done.exit_code == 0, done.output
    ticker, trades, l2, tops, gaps = (read_channel(tmp_path / "lake", c, "binance-raw") for c in CHANNELS)
    assert set(trades.select("exchange", "symbol").rows()) == {(exchange, symbol)}
    ids = [int(i) for i in trades["trade_id"]]
    assert ids == list(range(expected["first_trade_id"], expected["last_trade_id"] + 1))
    assert len(ids) == expected["n_trades"]
    for side in ("buy", "sell"):
        assert exact(trades.filter(pl.col("side") == side)["amount"]) == Decimal(expected[f"taker_{side}_qty"])
    costs = (Decimal(repr(p)) * Decimal(repr(q)) for p, q in trades.select("price", "amount").rows())
    assert sum(costs) == Decimal(expected["sum_price_x_qty"])
    assert ticker.height == expected["by_type"]["bookTicker"]
    assert set(gaps["reason"]) == {"shutdown"}
    book = assert_final_book(l2, expected)
    last = tops.row(-1, named=True)
    assert [(x["price"], x["size"]) for x in last["asks"]] == book.levels("ask", 20)
    merged = expected["depth_applied"] - l2["nonce"].n_unique()
    assert tops.height == l2["nonce"].n_unique() and 0 <= merged <= 1  # diffs that the snapshot's row holds
    spread = tops.select(pl.col("asks").list[0].struct["price"] - pl.col("bids").list[0].struct["price"])
    assert round(spread.to_series().median(), 8) == expected["median_spread"]
    clock = [*ticker["collected_at"], *trades["collected_at"], *tops["collected_at"]]
    assert expected["local_first_ns"] <= min(clock) and max(clock) <= expected["local_last_ns"]
    segments = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    again = cli("--format", "binance-raw", "--base-dir", "lake", *files)
    assert again.exit_code == 0 and "in the lake already" in again.output and "imported 0 rows" in again.output
    assert segments == {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}


def test_the_older_coinbase_feed(tmp_path, recordings, golden, cli):
    expected = golden["dev/gdax_20180417"]
    files = (recordings / "coinbase_exchange_l2_20180417").glob("*.gz")
    done = cli("--format", "coinbase-exchange", "--base-dir", "lake", "--source", "gdax", *files)
    assert done.exit_code == 0, done.output
    trades, l2 = (read_channel(tmp_path / "lake", c, "gdax") for c in ("trades", "l2"))
    assert trades.height == trades["trade_id"].n_unique() == expected["by_type"]["match"]
    assert exact(trades["amount"]) == Decimal(expected["match_qty"])
    sides = {"buy": "sell", "sell": "buy"}
    assert [sides[json.loads(info)["side"]] for info in trades["info_json"]] == trades["side"].to_list()
    assert l2.filter(~pl.col("is_snapshot")).height == expected["by_type"]["l2update"]
    assert_final_book(l2, expected)


def test_bitstamps_log(tmp_path, recordings, golden, cli):
    expected, files = golden["dev/bitstamp"], (recordings / "bitstamp_btcusd_20150501").glob("*.xz")
    words = ("--format", "bitstamp-log", "--base-dir", "lake", *files)
    assert isinstance(cli(*words).exception, ConfigError)
    assert cli(*words, "--symbol", "btcusd").exit_code == 0
    trades, books = (read_channel(tmp_path / "lake", c, "bitstamp-log") for c in ("trades", "orderbook"))
    assert books.height == expected["by_type"]["order_book"] and trades.height == expected["by_type"]["trade"]
    assert exact(trades["amount"]) == Decimal(expected["trade_qty"])
    assert trades["side"].null_count() == trades.height and books["timestamp"].null_count() == books.height
    last = books.row(-1, named=True)
    tops = [(last[side][0]["price"], last[side][0]["size"]) for side in ("bids", "asks")]
    assert tops == numbers(expected["last_book_top"])
    spread = books.select(pl.col("asks").list[0].struct["price"] - pl.col("bids").list[0].struct["price"]).to_series()
    assert round(spread.median(), 8) == expected["median_spread"]
    clock = [*trades["collected_at"], *books["collected_at"]]
    assert expected["first_ms"] <= min(clock) // 10**6 and max(clock) // 10**6 <= expected["last_ms"]


def test_every_capture_of_cryptofeed_at_once(tmp_path, recordings, cli):
    files = sorted((recordings / "cryptofeed_ws").iterdir())
    done = cli("--format", "cryptofeed", "--base-dir", "lake", "--orderbook-interval-ms", 0, *files)
    assert done.exit_code == 0 and "not readable" not in done.output, done.output
    trades, ticker, l2, gaps = (
        read_channel(tmp_path / "lake", c, "cryptofeed") for c in ("trades", "ticker", "l2", "gaps")
    )
    counts = {"coinbase": 97, "binanceus": 11, "okx": 74, "kraken": 10, "bitstamp": 10}
    assert Counter(trades["exchange"]) == counts
    assert Counter(ticker["exchange"]) == {"coinbase": 107, "binanceus": 128, "okx": 28}
    markets = l2.select("exchange", "symbol").unique()["exchange"]
    assert Counter(markets) == {"coinbase": 10, "binanceus": 4, "okx": 3, "kraken": 10, "bitstamp": 10}
    assert set(gaps["reason"]) == {"shutdown"}  # neither sequence nor checksum found anything missing


def tardis_files(folder):
    head = "binance-futures,BTCUSDT,1585699200245000,15856992002{:05d}"
    rows = {
        "incremental_book_L2": ("is_snapshot,side,price,amount", ["true,bid,99,1", "true,ask,101,2", "false,bid,99,0"]),
        "trades": ("id,side,price,amount", ["7,buy,100.5,1", "8,sell,100.4,2", "oops"]),
        "quotes": ("ask_amount,ask_price,bid_price,bid_amount", ["2,101,99,1"]),
        "book_snapshot_25": ("asks[0].price,asks[0].amount,bids[0].price,bids[0].amount", ["101,2,99,1"]),
    }
    for kind, (columns, lines) in rows.items():
        header = f"exchange,symbol,timestamp,local_timestamp,{columns}"
        text = [header, *[f"{head.format(50000 + n)},{line}" for n, line in enumerate(lines)]]
        path = folder / f"{kind}.csv"
        path.write_text("\n".join(text) + "\n")
        yield path


def test_tardis_of_all_layouts(tmp_path, cli):
    files = list(tardis_files(tmp_path))
    done = cli("--format", "tardis-csv", "--base-dir", "lake", "--symbol", "BTCUSDT=BTC/USDT:USDT", *files)
    assert done.exit_code == 0 and "not readable: 1 " in done.output, done.output
    lake = {c: read_channel(tmp_path / "lake", c, "tardis-csv") for c in CHANNELS}
    assert {c: frame.height for c, frame in lake.items()} == {
        "ticker": 1,
        "trades": 2,
        "l2": 3,
        "orderbook": 2,
        "gaps": 5,
    }
    assert set(lake["l2"].select("exchange", "symbol").rows()) == {("binance-futures", "BTC-USDT-USDT")}
    assert lake["trades"]["side"].to_list() == ["buy", "sell"]
    assert lake["trades"]["collected_at"][0] == 1585699200250000 * 1000
    assert Counter(lake["gaps"]["reason"]) == {"shutdown": 4, "parse_error": 1}


def test_killed_in_the_middle_and_run_again(tmp_path, recordings):
    files = [str(path) for path in (recordings / "coinbase_exchange_l2_20180417").glob("*.gz")]

    def program(base):
        words = [
            "import",
            "--format",
            "coinbase-exchange",
            "--base-dir",
            str(base),
            "--set",
            "logging.level=ERROR",
            *files,
        ]
        return [sys.executable, "-c", PROGRAM, *words]

    whole = subprocess.run(program(tmp_path / "whole"), capture_output=True, text=True, timeout=200)
    assert whole.returncode == 0, whole.stderr
    process, deadline = subprocess.Popen(program(tmp_path / "lake")), time.monotonic() + 200
    while not list((tmp_path / "lake").glob("raw/ready/*/l2/**/*.parquet")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(200) == -signal.SIGKILL
    assert not json.loads(next((tmp_path / "lake").glob("raw/imports/*/*.json")).read_text())["is_finished"]
    done = subprocess.run(program(tmp_path / "lake"), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    for channel in CHANNELS:
        lakes = [read_channel(tmp_path / name, channel, "coinbase-exchange") for name in ("whole", "lake")]
        assert lakes[0].equals(lakes[1]), channel
    assert unfinished(tmp_path / "lake") == []


def test_wrong_words_say_what_to_do(tmp_path, recordings, cli):
    file, nobodys = recordings / "binance_raw" / "usdm_btcusdt_20240808.gz", tmp_path / "NOBODY.ws.1.0"
    nobodys.write_text("1618677818.5: {}\n")
    for words, text in (
        (("--format", "binance_raw", file), "did you mean binance-raw"),
        (("--format", "binance-raw", "--channels", "trades,frames", file), "choose from"),
        (("--format", "binance-raw", "--source", "../x", file), "not a directory's name"),
        (("--format", "cryptofeed", nobodys), "no known address"),
    ):
        done = cli(*words)
        assert isinstance(done.exception, ConfigError) and text in str(done.exception), words
    other = cli("--format", "tardis-csv", "--base-dir", "lake", file)
    assert other.exit_code == 1 and "not the header" in other.output
    assert not list(tmp_path.rglob("*.parquet"))
