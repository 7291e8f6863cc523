"""`kill -9` of the watcher at seeded instants: in the end rows equal those of one run, and no instant shows a half."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.test_etl import run
from tests.unit.etl.core.fed_lake import feed, write_fed
from tests.unit.etl.core.stateful_lake import silver

OPTIONS = ("--feature-set", "core")
TABLES = ("orderbook", "trades")


def start(lake: Path, cwd: Path) -> "subprocess.Popen[str]":
    watch = ("watch", "--base-dir", str(lake), "--tables", ",".join(TABLES), "--interval", "0.1", *OPTIONS)
    return subprocess.Popen(
        [sys.executable, "-m", "daedalus.cli.main", *watch],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_written(lake: Path, process: "subprocess.Popen[str]") -> float:
    """Wait for the first output; return the seconds that it took."""
    began = time.monotonic()
    while not list(lake.glob("processed/**/features.parquet")):
        assert process.poll() is None
        time.sleep(0.02)
    return time.monotonic() - began


def kills(folder: Path, seed: int, count: int) -> None:
    rng = random.Random(seed)
    lake = folder / "lake"
    journals = write_fed(folder / "source", folder / "whole")
    keys = [key for journal in journals for key in journal]
    feed(folder / "source", lake, keys[:4])
    process = start(lake, folder)
    startup = until_written(lake, process)
    at = 4
    for number in range(count):
        upto = 4 + (len(keys) - 4) * (number + 1) // count
        instant = time.monotonic() + rng.uniform(0.0, 1.5 * startup)
        for key in keys[at:upto]:
            feed(folder / "source", lake, [key])
            time.sleep(max(0.0, rng.uniform(0.0, (instant - time.monotonic()) / 2)) if rng.random() < 0.5 else 0.0)
        at = upto
        time.sleep(max(0.0, instant - time.monotonic()))
        assert process.poll() is None
        process.kill()
        process.communicate()
        silver(lake)  # every file that is visible is whole
        process = start(lake, folder)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    run("watch", "--base-dir", lake, "--tables", ",".join(TABLES), "--once", *OPTIONS, cwd=folder)
    for table in TABLES:
        run("features", table, "--input", lake, "--output", folder / "batch", *OPTIONS, cwd=folder)
    assert silver(lake) == silver(folder / "batch")
    assert list(lake.rglob("*.tmp")) == []


def test_a_few_kills(tmp_path: Path) -> None:
    kills(tmp_path, 1, 3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_kills(tmp_path: Path) -> None:
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        kills(folder, seed, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    lake = tmp_path / "lake"
    journals = write_fed(tmp_path / "source", tmp_path / "whole")
    feed(tmp_path / "source", lake, journals[0])
    process = start(lake, tmp_path)
    until_written(lake, process)
    second = run("watch", "--base-dir", lake, "--once", *OPTIONS, cwd=tmp_path, code=1)
    assert "another watcher" in second.stderr
    process.send_signal(number)
    _, told = process.communicate()
    assert process.returncode == 0, told
    assert "Traceback" not in told and list(lake.rglob("*.tmp")) == []
