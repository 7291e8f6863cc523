"""Recording through the command line, from a real websocket server, in processes that are stopped and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from daedalus.sandbox.recording import RecordingSource
from daedalus.sandbox.server import SandboxServer, in_thread
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.book import OrderBook
from daedalus.testing.lake import read_channel, unfinished

ROOT = Path(__file__).parent.parent.parent
RECORDING = "coinbase_exchange_l2_20180417/raw_mongo_input.6dc276ab.csv.gz"


def command(base, url, *arguments, symbols="[BTC-USD]", interval_ms=0):
    settings = {
        "coinbase.symbols": symbols,
        "coinbase.ws_url": url,
        "coinbase.orderbook_interval_ms": interval_ms,
        "coinbase.subscribe_timeout_seconds": 2,
        "ingestion.flush_interval_seconds": 0.2,
    }
    flags = [flag for key, value in settings.items() for flag in ("--set", f"{key}={value}")]
    return [sys.executable, str(ROOT / "scripts" / "run_ingestion.py"), "--base-dir", str(base), *flags, *arguments]


def run(*arguments, cwd=None, **options):
    return subprocess.run(command(*arguments, **options), capture_output=True, text=True, timeout=200, cwd=cwd)


def wait_until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def journal_bytes(base):
    return sum(p.stat().st_size for p in base.glob("raw/active/*/*.journal"))


@pytest.fixture(scope="module")
def recorded(recordings, tmp_path_factory):
    """The 2018 session, recorded at full speed."""
    base = tmp_path_factory.mktemp("lake")
    with in_thread(SandboxServer("coinbase", RecordingSource(recordings / RECORDING))) as server:
        process = subprocess.Popen(command(base, server.url), stdout=subprocess.PIPE, text=True)
        wait_until(lambda: server.stats().connections and server.stats().connections[0].market == "ended", 60)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=200)
        assert process.returncode == 0, out
    return base


def test_every_change_and_match_arrives_once(recorded, recordings):
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/gdax_20180417"]
    l2, trades = read_channel(recorded, "l2"), read_channel(recorded, "trades")
    changes = l2.filter(~pl.col("is_snapshot"))
    assert changes.height == golden["by_type"]["l2update"] == changes["nonce"].n_unique()
    assert trades.height == golden["by_type"]["match"] == trades["trade_id"].n_unique()
    assert sum(Decimal(str(q)) for q in trades["amount"]) == Decimal(golden["match_qty"])
    raw = [json.loads(text)["side"] for text in trades["info_json"]]
    assert [{"BUY": "sell", "SELL": "buy"}[side] for side in raw] == trades["side"].to_list()
    assert read_channel(recorded, "gaps")["reason"].unique().to_list() == ["shutdown"]


def test_the_rebuilt_book_ends_in_the_golden_one(recorded, recordings):
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/gdax_20180417"]
    l2, book = read_channel(recorded, "l2"), OrderBook()
    snapshot = l2.filter("is_snapshot").select("side", "price", "size").rows()
    book.replace(*([(p, q) for s, p, q in snapshot if s == side] for side in ("bid", "ask")))
    for side, price, size in l2.filter(~pl.col("is_snapshot")).select("side", "price", "size").rows():
        book.set(side, price, size)
    for side, key in (("bid", "final_best_bids"), ("ask", "final_best_asks")):
        assert book.levels(side, 5) == [(float(p), float(q)) for p, q in golden[key]]
    assert [len(book.levels("bid")), len(book.levels("ask"))] == golden["final_levels"]
    last = read_channel(recorded, "orderbook").row(-1, named=True)
    assert [(x["price"], x["size"]) for x in last["bids"]] == book.levels("bid", 20)


def test_readers_agree_and_prune(recorded):
    import duckdb

    glob = str(recorded / "raw" / "ready" / "**" / "*.parquet")
    for channel in ("l2", "trades", "orderbook", "ticker", "gaps"):
        one = glob.replace("**", f"coinbase/{channel}/**")
        frame = pl.scan_parquet(one, hive_partitioning=True).collect()
        assert frame.height == read_channel(recorded, channel).height
        assert frame.equals(pl.scan_parquet(one, hive_partitioning=False).collect().select(frame.columns))
        hour = frame["hour"][0]
        other_hour = pl.scan_parquet(one, hive_partitioning=True).filter(pl.col("hour") == (hour + 1) % 24)
        assert other_hour.collect().is_empty()
        query = f"select count(*), count(distinct hour), min(symbol) from read_parquet('{one}', hive_partitioning=true)"
        count, _, symbol = duckdb.execute(query).fetchone()
        assert (count, symbol) == (frame.height, "BTC-USD")
    every = pl.scan_parquet(glob, hive_partitioning=True, missing_columns="insert", extra_columns="ignore")
    assert every.head(1).collect().height == 1


def test_kill_in_mid_recording_loses_nothing_that_was_flushed(tmp_path):
    source = SyntheticSource(seed=3, speed=20, rate=50)
    with in_thread(SandboxServer("coinbase", source)) as server:
        symbols = "[BTC-USD,ETH-USD]"
        process = subprocess.Popen(command(tmp_path, server.url, symbols=symbols))
        wait_until(lambda: journal_bytes(tmp_path) > 60_000)
        process.kill()
        process.wait()
        flushed = whole_rows(tmp_path)
        old = set(tmp_path.glob("raw/active/*/*.journal"))
        process = subprocess.Popen(command(tmp_path, server.url, symbols=symbols))
        wait_until(lambda: journal_bytes(tmp_path) > 40_000 and not old & set(tmp_path.glob("raw/active/*/*.journal")))
        process.terminate()
        assert process.wait(200) == 0
    trades = read_channel(tmp_path, "trades")
    keys = trades.select("symbol", "trade_id")
    assert keys.n_unique() == keys.height
    assert flushed["trades"] <= set(keys.rows()) and flushed["l2"] > 0
    before = read_channel(tmp_path, "l2").filter(pl.col("collected_at") <= flushed["newest"])
    assert before.height == flushed["l2"]
    crash = read_channel(tmp_path, "gaps").filter(pl.col("reason") == "crash")
    assert set(crash.select("symbol", "channel").rows()) >= {("BTC-USD", "l2"), ("ETH-USD", "orderbook")}
    assert unfinished(tmp_path) == []


def whole_rows(base):
    """What the journal holds, read by its own reader before the restart."""
    from daedalus.ingestion.writers.journal import JournalReader

    trades, l2, newest = set(), 0, 0
    for path in base.glob("raw/active/*/*.journal"):
        for channel, batch in JournalReader(path).frames():
            newest = max(newest, *batch["collected_at"].to_pylist()) if channel == "l2" else newest
            l2 += batch.num_rows if channel == "l2" else 0
            if channel == "trades":
                trades |= set(zip(batch["symbol"].to_pylist(), batch["trade_id"].to_pylist(), strict=True))
    return {"trades": trades, "l2": l2, "newest": newest}


def test_a_refused_symbol_is_named_and_the_others_go_on(tmp_path):
    with in_thread(SandboxServer("coinbase", SyntheticSource(seed=1))) as server:
        done = run(tmp_path, server.url, "--duration", "6", symbols="[BTC-USD,NO-SUCH]")
    assert done.returncode == 0, done.stderr
    assert "NO-SUCH" in done.stderr and "symbol_refused" in done.stderr
    assert set(read_channel(tmp_path, "orderbook")["symbol"]) == {"BTC-USD"}


def test_nothing_but_refused_symbols_ends_with_the_reason(tmp_path):
    with in_thread(SandboxServer("coinbase", SyntheticSource(seed=1))) as server:
        done = run(tmp_path, server.url, symbols="[NO-SUCH]")
    assert done.returncode == 1 and "refused every symbol" in done.stderr and "NO-SUCH" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--sources", "coinbse"], "did you mean coinbase"),
        (["--sources", ","], "--sources is empty"),
        (["--set", "coinbase.symbols=[]"], "coinbase.symbols is empty"),
        (["--set", "coinbase.symbls=[X]"], "symbols"),
        (["--set", "nonsense"], "key=value"),
        (["--config", "/nowhere/config.yaml"], "daedalus config init"),
    ],
)
def test_wrong_settings_say_what_to_do(tmp_path, arguments, says):
    done = run(tmp_path, "ws://127.0.0.1:9", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and says in done.stderr, done.stderr
    assert not (tmp_path / "raw").exists()


def test_an_unwritable_directory_says_what_to_do(tmp_path):
    (tmp_path / "lake").write_text("a file")
    done = run(tmp_path / "lake", "ws://127.0.0.1:9")
    assert done.returncode == 1 and "storage.base_dir" in done.stderr


def test_two_recorders_of_one_lake_are_refused(tmp_path):
    with in_thread(SandboxServer("coinbase", SyntheticSource(seed=1))) as server:
        first = subprocess.Popen(command(tmp_path, server.url))
        wait_until(lambda: journal_bytes(tmp_path) > 0)
        second = run(tmp_path, server.url)
        first.terminate()
        assert first.wait(200) == 0
    assert second.returncode == 1 and f"process {first.pid}" in second.stderr


def test_a_dead_exchange_is_tried_again_and_ctrl_c_is_clean(tmp_path):
    process = subprocess.Popen(command(tmp_path, "ws://127.0.0.1:9"), stderr=subprocess.PIPE, text=True)
    # It has begun, and told so.
    wait_until((tmp_path / "raw/active/coinbase/status.json").exists)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0 and "cannot connect" in err and "Traceback" not in err


def test_recording_loads_neither_polars_numba_nor_ccxt():
    code = (
        "import sys\n"
        "from daedalus.cli.ingest import build_pipelines\n"
        "from daedalus.config.config import load_config\n"
        "build_pipelines(load_config(None, {'coinbase.symbols': ['BTC-USD']}, environ={}), ['coinbase'])\n"
        "import daedalus.ingestion.writers.sealing\n"
        "print(sorted({'polars', 'numba', 'ccxt', 'duckdb', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.sep)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from daedalus.cli.main import app\n"
        "heavy = {'polars', 'numba', 'ccxt', 'duckdb', 'pyarrow', 'numpy', 'pydantic', 'aiohttp', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
