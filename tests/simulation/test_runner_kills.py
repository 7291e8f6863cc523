"""`kill -9` of the features and bars runners at seeded instants, while others read what they write.

In the end rows equal those of a run that nobody disturbed, and every partition that a reader saw was whole.
"""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.commands import run
from tests.simulation.polling import polled, states, through_lake
from tests.unit.etl.core.stateful_lake import silver, write_market

FEW = ("--feature-set", "core")
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")
Command = Callable[[Path, Path], tuple[str, ...]]


def features(lake: Path, out: Path) -> tuple[str, ...]:
    places = ("--input", str(lake), "--output", str(out), "--state-path", str(out / "state"))
    return ("features", "orderbook", *places, *FEW)


def bars(lake: Path, out: Path) -> tuple[str, ...]:
    return ("bars", "--input", str(lake), "--output", str(out), "--durations", "60")


def make_lake(folder: Path) -> Path:
    for seed, symbol in enumerate(SYMBOLS):
        write_market(folder / "lake", symbol, seed)
    return folder / "lake"


def timed(command: tuple[str, ...], out: Path) -> tuple[float, float]:
    """Run undisturbed; return the seconds until the first file was there, and until the end."""
    began, first = time.monotonic(), None
    with subprocess.Popen([sys.executable, "-m", "daedalus.cli.main", *command], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if first is None and next(out.rglob("*.parquet"), None):
                first = time.monotonic() - began
            time.sleep(0.01)
    assert process.returncode == 0 and first is not None
    return first, time.monotonic() - began


def killed(command: tuple[str, ...], seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "daedalus.cli.main", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()


def kills(lake: Path, command: Command, table: str, seed: int, count: int) -> None:
    """Kill that many runs into one output: the first ones, ones over what is there, ones that go on."""
    rng = random.Random(seed)
    undisturbed = lake.parent / "undisturbed"
    first, end = timed(command(lake, undisturbed), undisturbed)
    frame = through_lake(undisturbed, table)
    assert frame is not None
    wanted, rows = states(frame, None), silver(undisturbed)
    out = lake.parent / "out"
    out.mkdir()
    afresh = ("--reset-state",) if "--state-path" in command(lake, out) else ()
    with polled(out, (table,)) as readers:
        for _ in range(count):
            again = afresh if rng.random() < 0.3 else ()
            killed((*command(lake, out), *again), rng.uniform(0.8 * first, end))
            silver(out)  # every file that is visible is whole
        run(*command(lake, out), cwd=lake)
    assert silver(out) == rows
    assert list(out.rglob("*.tmp")) == [] and list(out.glob(".replacing/*")) == []
    assert readers.errors == [] and readers.looks > 0
    assert all(found == {wanted[key]} for key, found in readers.seen[table].items())


def test_a_few_kills_of_features(tmp_path: Path) -> None:
    kills(make_lake(tmp_path), features, "orderbook_features", 1, 2)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_ten_kills_of_features(tmp_path: Path, seed: int) -> None:
    kills(make_lake(tmp_path), features, "orderbook_features", 100 + seed, 10)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10))
def test_ten_kills_of_bars(tmp_path: Path, seed: int) -> None:
    lake = make_lake(tmp_path)
    run(*features(lake, lake), cwd=lake)
    kills(lake, bars, "bars_60s", 200 + seed, 10)
