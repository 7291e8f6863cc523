"""The lake read through the command line and the API, on real recordings: what went in comes out."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import daedalus
from daedalus.cli import lakes
from daedalus.cli.main import app
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import BookSnapshot, Ticker, Trade, channel_of

KEYS = ["collected_at", "timestamp"]
#: Reads all in a process of its own and prints its peak memory, MB; importing Polars and Arrow takes 120 of it.
MEASURE = """
import sys, daedalus
lake = daedalus.open_lake(sys.argv[1])
n = sum(1 for _ in lake.replay()) if sys.argv[2] == "replay" else sum(f.height for f in lake.books("BTCUSDT", depth=20))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(n, int(peak.split()[1]) // 1024)
"""


def run(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, f"{done.output}\n{done.exception}"
    return done.stdout


@pytest.fixture(scope="module")
def base(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of the older Coinbase feed and of Binance."""
    base = tmp_path_factory.mktemp("read") / "lake"
    old = next((recordings / "coinbase_exchange_l2_20180417").glob("*.gz"))
    spot = recordings / "binance_raw" / "spot_btcusdt_20240808.gz"
    every = ("--base-dir", base, "--orderbook-interval-ms", 0)
    run("import", "--format", "coinbase-exchange", "--source", "coinbase", *every, old)
    run("import", "--format", "binance-raw", *every, spot)
    return base


def test_books_are_those_that_the_collector_saw(base: Path) -> None:
    lake = daedalus.open_lake(base)
    # Binance numbers its frames: every book, to the last bit.
    books, seen = lake.books("BTCUSDT").collect(), lake.scan("orderbook", symbol="BTCUSDT").collect()
    assert books.drop("ts").equals(seen.select(books.drop("ts").columns)) and books.height > 3000
    # The older Coinbase feed does not: of messages with the same two times, the last is the book.
    books, seen = lake.books("BTC/USD").collect(), lake.scan("orderbook", symbol="BTC/USD").collect()
    seen = seen.unique(KEYS, keep="last", maintain_order=True)
    assert books.drop("ts").equals(seen.select(books.drop("ts").columns)) and books.height > 17_000


def test_a_grid_shows_the_newest_book_of_each_second(base: Path) -> None:
    lake = daedalus.open_lake(base)
    grid = lake.books("BTCUSDT", depth=20, every="1s").collect()
    seen = lake.scan("orderbook", symbol="BTCUSDT").collect()
    wanted = grid.select("ts").join_asof(seen, left_on="ts", right_on="collected_at", coalesce=False)
    assert grid.height > 300 and grid["ts"].diff().drop_nulls().unique().to_list() == [10**9]
    assert grid.drop("ts").equals(wanted.select(grid.drop("ts").columns))


def test_replay_gives_the_recording_in_order(base: Path) -> None:
    lake = daedalus.open_lake(base)
    events = list(lake.replay("BTCUSDT"))
    clock = [event.collected_at for event in events]
    assert clock == sorted(clock)
    for channel, kind, fields in (
        ("trades", Trade, ("trade_id", "side", "price", "amount", "info_json")),
        ("ticker", Ticker, ("bid", "ask", "bid_volume", "ask_volume")),
        ("orderbook", BookSnapshot, ("nonce",)),
    ):
        rows = lake.scan(channel, symbol="BTCUSDT", columns=["collected_at", *fields]).collect().rows()
        got = [(e.collected_at, *(getattr(e, f) for f in fields)) for e in events if isinstance(e, kind)]
        assert got == rows and len(rows) > 3000, channel
    l2 = lake.scan("l2", symbol="BTCUSDT").select(pl.len()).collect().item()
    assert sum(len(e.changes) // 25 for e in events if channel_of(e) == "l2") == l2  # type: ignore[attr-defined]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("what", ["replay", "books"])
def test_memory_is_bounded(base: Path, what: str) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, base, what], check=True, capture_output=True, text=True)
    rows, peak_mb = map(int, done.stdout.split())
    assert rows > 3000 and peak_mb < 300, done.stdout


def test_ls(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(run("ls", "--base-dir", base, "--json"))
    assert list(dict.fromkeys(line["table"] for line in found)) == ["ticker", "trades", "orderbook", "l2", "gaps"]
    for line in found:
        table = daedalus.open_lake(base).scan(line["table"], symbol=line["symbol"], exchange=line["exchange"])
        assert table.select(pl.len()).collect().item() == line["rows"], line
    shown = run("ls", "trades", "--base-dir", base, "--symbol", "BTC/USD")
    assert "2018-04-17 00:00" in shown and "BTCUSDT" not in shown and "2 segments, 256 rows" in shown
    monkeypatch.setattr(lakes, "terminal_width", lambda: 80)
    narrow = run("ls", "--base-dir", base)
    assert max(map(len, narrow.splitlines())) <= 80 and "18-04-17  18-04-17" in narrow
    assert "- row 1\n  collected_at" in run("query", "select * from ticker limit 2", "--base-dir", base)
    assert "nothing matches" in run("ls", "--base-dir", base, "--symbol", "DOGE")


def test_query_in_every_format(base: Path, tmp_path: Path) -> None:
    query = "select side, count(*) as n, max(price) as high from trades where symbol = 'BTC-USD' group by 1 order by 1"
    want = daedalus.open_lake(base).sql(query)
    call = ("query", query, "--base-dir", base)
    assert pl.read_csv(io.StringIO(run(*call, "--format", "csv"))).rows() == want.rows()
    assert [tuple(json.loads(line).values()) for line in run(*call, "--format", "json").splitlines()] == want.rows()
    run(*call, "--format", "parquet", "--output", tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet").equals(want)
    assert all(str(value) in run(*call) for row in want.rows() for value in row)
    long = run("query", "select capture_ts from ticker order by 1", "--base-dir", base)
    assert len(long.splitlines()) == 102
    none = run("query", "select price, side from trades where hour = 7", "--base-dir", base, "--format", "csv")
    assert none == "price,side\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("select x from trades",), '"x" not found'),
        (("select * from l3",), "Tables: ticker, trades"),
        (("select bids from orderbook", "--format", "csv"), r"csv has no lists \(bids\)"),
        (("select 1", "--output", "x"), "--format table is for reading"),
    ],
)
def test_wrong_queries_are_explained(base: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(app, ["query", *words, "--base-dir", str(base)], catch_exceptions=False)


def test_through_a_process(base: Path) -> None:
    command = [sys.executable, "-m", "daedalus.cli.main", "query", "-", "--base-dir", str(base), "--format", "csv"]
    done = subprocess.run(
        command, input="select count(*) n from ticker", capture_output=True, text=True, env={**os.environ}, check=True
    )
    assert done.stdout == f"n\n{daedalus.open_lake(base).scan('ticker').collect().height}\n"
