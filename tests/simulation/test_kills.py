"""`kill -9` at random instants: what was acknowledged is there once, whatever was going on."""

import contextlib
import random
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest

from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.recovery import recover
from daedalus.testing.lake import unfinished

RUN = 10_000_000
RATE = 5_000


def run_and_kill(base, first, rng):
    """Start a recorder, kill it at a random instant, now and then its sealer too; return the newest acknowledged."""
    command = [sys.executable, "-m", "daedalus.testing.recorder", str(base), str(first), str(RATE)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(rng.uniform(0.3, 1.6))
    sealers = []
    with contextlib.suppress(psutil.NoSuchProcess):
        sealers = psutil.Process(process.pid).children()
    process.kill()
    for sealer in sealers if rng.random() < 0.7 else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            sealer.kill()
    lines = process.communicate()[0].splitlines()
    whole = [int(line) for line in lines if line.isdigit()]
    return whole[-1] if whole else first - 1


def numbers(paths):
    """Every event's number in the segments; each file must open."""
    found = []
    for path in paths.ready.glob("**/*.parquet"):
        table = pq.read_table(path, partitioning=None, columns=None)
        if "trade_id" in table.schema.names:
            found += [int(text) for text in table["trade_id"].to_pylist()]
        elif "nonce" in table.schema.names:
            found += table["nonce"].to_pylist()
    return found


def kill_many(base, kills, seed):
    rng, paths = random.Random(seed), RawPaths(base, "testex")
    acknowledged = []
    for run in range(kills):
        first = (run + 1) * RUN
        acknowledged.append((first, run_and_kill(base, first, rng)))
        for path in paths.ready.glob("**/*.parquet"):
            assert pq.read_metadata(path).num_rows > 0
    wait_for_orphans(paths)
    for report in recover(paths):
        assert not report.quarantined, report
    got = numbers(paths)
    have = set(got)
    assert len(got) == len(have), "doubled"
    for first, last in acknowledged:
        missing = set(range(first, last + 1)) - have
        assert not missing, (first, last, sorted(missing)[:5])
    assert unfinished(base) == []
    assert sum(last - first + 1 for first, last in acknowledged) > kills * 100


def wait_for_orphans(paths):
    """Sealers outlive a killed recorder; the next one works beside them, but this test wants to count."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        mine = [
            p
            for p in psutil.process_iter(["cmdline"])
            if "daedalus.ingestion.writers.sealing" in (p.info["cmdline"] or [])
            and str(paths.base) in p.info["cmdline"]
        ]
        if not mine:
            return
        time.sleep(0.1)


def test_a_few_kills(tmp_path):
    kill_many(tmp_path, 5, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_hundred_kills(tmp_path):
    kill_many(tmp_path, 200, seed=2)
