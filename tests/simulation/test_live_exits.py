"""Processes that computed rows by recorded native calls end cleanly, however they end."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Each child is a fork of a process whose recorded calls are in use; it goes on and ends as interpreters end.
_PROGRAM = """
import gc, os, random, sys, threading
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.live import FeatureEngine
from daedalus.shared.events import BookSnapshot, pack_levels

def books(engine, first, count):
    for k in range(first, first + count):
        sides = {"bids": pack_levels([(99.0 - k % 3, 1.0 + k)]), "asks": pack_levels([(101.0, 2.0)])}
        at = 1_750_291_200_000_000_000 + k * 100_000_000
        engine.update([BookSnapshot(collected_at=at, exchange="x", symbol="BTC-USD", nonce=k, **sides)])

engine = FeatureEngine(FeatureConfig(max_levels=2, horizons=(1, 60), feature_set="core"))
books(engine, 0, 30)
assert next(iter(engine._one_rows.values()))._replay is not None
bad = []
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        books(engine, 30, number % 7 * 20)
        if number % 5 == 1:
            del engine
            gc.collect()
        elif number % 5 == 2:
            other = FeatureEngine(FeatureConfig(max_levels=3, horizons=(2,), feature_set="core"))
            books(other, 0, 30)
        elif number % 5 == 3:
            cycle = [engine]
            cycle.append(cycle)
            del engine
        elif number % 5 == 4:
            thread = threading.Thread(target=books, args=(engine, 1000, 50))
            thread.start()
            thread.join()
        sys.exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        bad.append((number, status))
print(bad)
"""


@pytest.mark.soak
def test_two_hundred_exits() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, "200"], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", done.stderr[-2000:]
