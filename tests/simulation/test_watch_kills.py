"""`kill -9` of the watcher at seeded instants: in the end rows equal those of one run, and no instant shows a half."""

import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.end_to_end.commands import run, run_alone
from tests.simulation.polling import KEYS, Polled, polled, states, through_lake
from tests.unit.etl.core.fed_lake import READY, feed, write_fed
from tests.unit.etl.core.stateful_lake import silver

OPTIONS = ("--feature-set", "core")
TABLES = ("orderbook", "trades")
CLOCK = ("collected_at",)


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
    with polled(lake, tuple(f"{table}_features" for table in TABLES), CLOCK) as readers:
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
        run_alone("watch", "--base-dir", lake, "--tables", ",".join(TABLES), "--once", *OPTIONS, cwd=folder)
    for table in TABLES:
        run("features", table, "--input", lake, "--output", folder / "batch", *OPTIONS, cwd=folder)
    assert silver(lake) == silver(folder / "batch")
    assert list(lake.rglob("*.tmp")) == []
    check_seen(readers, folder / "batch", lake)


def check_seen(readers: Polled, batch: Path, lake: Path) -> None:
    """Every partition that a reader saw held the rows of all segments up to one of them, and of no half."""
    assert readers.errors == [] and readers.looks > 0
    for table in TABLES:
        whole = through_lake(batch, f"{table}_features")
        assert whole is not None
        may_be = defaultdict(set)
        for hour in whole.partition_by(KEYS, maintain_order=True):
            sizes = [pq.read_metadata(path).num_rows for path in sorted(lake.glob(f"{READY}/{table}/{_path(hour)}/*"))]
            for rows in accumulate(sizes):
                may_be.update({key: may_be[key] | {state} for key, state in states(hour.head(rows), CLOCK).items()})
        assert all(found <= may_be[key] for key, found in readers.seen[f"{table}_features"].items())


def _path(hour: pl.DataFrame) -> str:
    return "/".join(
        f"{name}={value:02}" if isinstance(value, int) else f"{name}={value}"
        for name, value in zip(KEYS, hour.select(KEYS).row(0), strict=True)
    )


def test_a_few_kills(tmp_path: Path) -> None:
    kills(tmp_path, 1, 2)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_ten_kills(tmp_path: Path, seed: int) -> None:
    kills(tmp_path, 100 + seed, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    lake = tmp_path / "lake"
    journals = write_fed(tmp_path / "source", tmp_path / "whole")
    feed(tmp_path / "source", lake, journals[0])
    process = start(lake, tmp_path)
    until_written(lake, process)
    second = run_alone("watch", "--base-dir", lake, "--once", *OPTIONS, cwd=tmp_path, code=1)
    assert "another watcher" in second.stderr
    process.send_signal(number)
    _, told = process.communicate()
    assert process.returncode == 0, told
    assert "Traceback" not in told and list(lake.rglob("*.tmp")) == []
