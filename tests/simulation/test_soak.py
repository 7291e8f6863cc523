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
#: Of ten products: some 1,000 frames a second.
RATE = 74
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "DOGE-USD")
PRODUCTS += ("ADA-USD", "LTC-USD", "LINK-USD", "AVAX-USD", "BCH-USD")


@contextmanager
def command(*arguments, **options):
    process = subprocess.Popen([sys.executable, "-m", "daedalus.cli.main", *arguments], text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def exchange(folder):
    """Run the local exchange; yield its address and a function that fetches its statistics."""
    ready = folder / "ready.json"
    market = ("--products", ",".join(PRODUCTS), "--rate", str(RATE), "--port", "0", "--ready-file", str(ready))
    with command("sandbox", "serve", *market, stdout=subprocess.DEVNULL):
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        url = json.loads(ready.read_text())["url"]

        def stats():
            with urllib.request.urlopen(url.replace("ws://", "http://") + "/stats", timeout=30) as answer:
                return json.load(answer)

        yield url, stats


def record(base, url, seconds):
    """Record for so long; return RSS samples in MB by time, CPU seconds, and what was printed."""
    settings = {
        "coinbase.symbols": f"[{','.join(PRODUCTS)}]",
        "coinbase.ws_url": url,
        "coinbase.symbols_per_connection": 4,
        "coinbase.orderbook_interval_ms": 100,
        # Sealing belongs to it.
        "ingestion.max_unsealed_seconds": 60,
    }
    flags = [flag for key, value in settings.items() for flag in ("--set", f"{key}={value}")]
    samples, began = [], time.monotonic()
    with command(
        "ingest", "--base-dir", str(base), *flags, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
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
    with exchange(tmp_path) as (url, stats):
        samples, cpu_s, out = record(tmp_path / "lake", url, MINUTES * 60)
        sent = sum(connection["sent"]["frames"] for connection in stats()["connections"])
        seconds = samples[-1][0]
    with capsys.disabled():
        print(
            f"\n{sent / seconds:,.0f} frames/s for {seconds / 60:.1f} min; "
            f"CPU {100 * cpu_s / seconds:.1f} % of a core; "
            f"RSS by the minute, MB: {' '.join(by_minute(samples))}\n{out[-600:]}"
        )
    assert sent / seconds > 900, "the market was too slow"
    ledger = Ledger(tmp_path / "lake")
    assert "dropped: 0" in out and ledger.reasons.keys() == {"shutdown"}, out
    assert unfinished(tmp_path / "lake") == []
    assert_trades_are_whole(tmp_path / "lake", "coinbase", PRODUCTS)
    settled = [mb for t, mb in samples if SETTLE_S <= t < SETTLE_S + max(60.0, seconds / 10)]
    late = [mb for t, mb in samples if t > seconds - max(60.0, seconds / 10)]
    assert statistics.median(late) <= statistics.median(settled) * 1.03 + 2.0
