"""How long a recorder takes to start: from its command to the first frames of the market that it asked for.

Beside it the start of Python itself and of CCXT's import, in the same rounds. Target: under 3 s for one exchange.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

ROUNDS = 5
PATIENCE_S = 60.0
LOOK_S = 0.005
CHANNELS = {"watchTrades": ["BTC/USD"], "watchOrderBook": ["BTC/USD"]}
#: CCXT asks Kraken for its markets in two requests, a second apart as Kraken wants it.
THROUGH_CCXT = {"okx": "OKX through CCXT", "kraken": "Kraken through CCXT"}


@contextmanager
def exchange(folder: Path, protocol: str) -> Iterator[str]:
    """Run a local exchange; yield its address."""
    ready = folder / f"{protocol}.json"
    flags = ("--protocol", protocol, "--products", "BTC-USD", "--port", "0", "--ready-file", str(ready))
    with _process("-m", "daedalus.cli.main", "sandbox", "serve", *flags):
        _until(ready.exists)
        yield json.loads(ready.read_text())["url"]


@contextmanager
def _process(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not start"
        time.sleep(LOOK_S)


def updates_sent(url: str) -> int:
    """Return how many updates of books an exchange has sent so far."""
    with urllib.request.urlopen(url.replace("ws://", "http://") + "/stats", timeout=10) as answer:
        return sum(connection["sent"]["updates"] for connection in json.load(answer)["connections"])


def recorder_s(url: str, base: Path, flags: Sequence[str]) -> float:
    """Return the seconds from the recorder's command to the first update that the exchange sends it."""
    before, began = updates_sent(url), time.monotonic()
    with _process("-m", "daedalus.cli.main", "ingest", "--base-dir", str(base), *flags):
        _until(lambda: updates_sent(url) > before)
        return time.monotonic() - began


def python_s(statement: str) -> float:
    """Return the seconds that a process of one statement takes."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.monotonic() - began


def main() -> None:
    """Print the seconds of each, and their middle over the rounds."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        base = Path(folder)
        works: dict[str, Callable[[], float]] = {
            "python, nothing": lambda: python_s("pass"),
            "python, import ccxt.pro": lambda: python_s("import ccxt.pro"),
        }
        coinbase = stack.enter_context(exchange(base, "coinbase"))
        natively = (
            "--sources",
            "coinbase",
            "--set",
            f"coinbase.ws_url={coinbase}",
            "--set",
            "coinbase.symbols=[BTC-USD]",
        )
        works["recorder, Coinbase natively"] = partial(recorder_s, coinbase, base / "coinbase", natively)
        for name, words in THROUGH_CCXT.items():
            url = stack.enter_context(exchange(base, name))
            entry = {"channels": CHANNELS, "ws_url": url, "rest_url": url.replace("ws://", "http://")}
            flags = ("--sources", "ccxt", "--set", f"ccxt.exchanges.{name}={json.dumps(entry)}")
            works[f"recorder, {words}"] = partial(recorder_s, url, base / name, flags)
        found: dict[str, list[float]] = {what: [] for what in works}
        for _ in range(ROUNDS):
            for what, work in works.items():
                found[what].append(work())
    print(f"seconds to start, median of {ROUNDS} and the slowest; a recorder: to the first update it is sent")
    for what, seconds in found.items():
        aim = "   target < 3" if what.startswith("recorder") else ""
        print(f"  {what:<32}{statistics.median(seconds):6.2f}{max(seconds):8.2f}{aim}")
