"""A thousand frames a second for a long time: memory is flat, nothing is dropped, nothing is missing."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import psutil
import pytest

from daedalus.testing.invariants import Ledger, assert_trades_are_whole
from daedalus.testing.lake import unfinished

MINUTES = float(os.environ.get("DAEDALUS_SOAK_MINUTES", "30"))
#: Memory has settled after so long.
SETTLE_S = min(300.0, MINUTES * 30.0)
SAMPLE_S = 5.0
#: Changes a second and market: some 500 frames a second from each exchange.
RATES = {"coinbase": 100, "kraken": 150}
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "DOGE-USD")


@contextmanager
def command(*arguments, **options):
    process = subprocess.Popen([sys.executable, "-m", "daedalus.cli.main", *arguments], text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def exchange(folder, protocol):
    """Run a local exchange; yield its address and a function that tells how many frames it sent."""
    ready = folder / f"{protocol}.json"
    market = ("--products", ",".join(PRODUCTS), "--rate", str(RATES[protocol]), "--protocol", protocol)
    with command("sandbox", "serve", *market, "--port", "0", "--ready-file", str(ready), stdout=subprocess.DEVNULL):
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        url = json.loads(ready.read_text())["url"]

        def sent():
            with urllib.request.urlopen(url.replace("ws://", "http://") + "/stats", timeout=30) as answer:
                return sum(connection["sent"]["frames"] for connection in json.load(answer)["connections"])

        yield url, sent


def settings_of(folder, coinbase_url, kraken_url):
    """Write a configuration: both exchanges in one process, one natively and one through CCXT."""
    coinbase = {"symbols": list(PRODUCTS), "ws_url": coinbase_url, "symbols_per_connection": 2}
    kraken = {
        "channels": {"watchTrades": ["*/USD"], "watchOrderBook": ["*/USD"]},
        "record": ["trades", "orderbook", "l2"],
    }
    kraken |= {"ws_url": kraken_url, "rest_url": kraken_url.replace("ws://", "http://"), "orderbook_interval_ms": 100}
    # Sealing belongs to it.
    ingestion = {"max_unsealed_seconds": 60}
    settings = {
        "coinbase": {**coinbase, "orderbook_interval_ms": 100},
        "ccxt": {"exchanges": {"kraken": kraken}},
        "ingestion": ingestion,
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(settings))
    path.chmod(0o600)
    return path


def record(base, config, seconds):
    """Record for so long; return RSS samples in MB by time, CPU seconds, and what was printed."""
    samples, began = [], time.monotonic()
    flags = ("--sources", "ccxt,coinbase", "--base-dir", str(base), "--config", str(config))
    with command("ingest", *flags, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        recorder = psutil.Process(process.pid)
        while (elapsed := time.monotonic() - began) < seconds:
            assert process.poll() is None, process.communicate()[0]
            samples.append((elapsed, recorder.memory_info().rss / 1e6))
            time.sleep(SAMPLE_S)
        cpu = recorder.cpu_times()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
    return samples, cpu.user + cpu.system, out


def by_minute(samples):
    return [
        f"{statistics.mean(mb for t, mb in samples if minute * 60 <= t < minute * 60 + 60):.1f}"
        for minute in range(int(samples[-1][0] // 60) + 1)
    ]


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 600)
def test_memory_is_flat_at_a_thousand_frames_a_second(tmp_path, capsys):
    with exchange(tmp_path, "coinbase") as (url, by_coinbase), exchange(tmp_path, "kraken") as (other, by_kraken):
        config = settings_of(tmp_path, url, other)
        samples, cpu_s, out = record(tmp_path / "lake", config, MINUTES * 60)
        sent, seconds = by_coinbase() + by_kraken(), samples[-1][0]
        shares = f"{by_coinbase() / seconds:,.0f} + {by_kraken() / seconds:,.0f}"
    with capsys.disabled():
        print(
            f"\n{shares} frames/s (Coinbase + Kraken through CCXT) for {seconds / 60:.1f} min; "
            f"CPU {100 * cpu_s / seconds:.1f} % of a core; "
            f"RSS by the minute, MB: {' '.join(by_minute(samples))}\n{out[-600:]}"
        )
    assert sent / seconds > 900, "the market was too slow"
    for source, name in (("coinbase", "coinbase"), ("ccxt", "kraken")):
        ledger = Ledger(tmp_path / "lake", source)
        lines = [line for line in out.splitlines() if "warning" in line or "error" in line]
        assert out.count("dropped: 0") == 2 and ledger.reasons.keys() == {"shutdown"}, (ledger.reasons, lines[:20])
        assert_trades_are_whole(tmp_path / "lake", name, PRODUCTS, source)
    assert unfinished(tmp_path / "lake") == []
    settled = [mb for t, mb in samples if SETTLE_S <= t < SETTLE_S + max(60.0, seconds / 10)]
    late = [mb for t, mb in samples if t > seconds - max(60.0, seconds / 10)]
    assert statistics.median(late) <= statistics.median(settled) * 1.03 + 2.0
