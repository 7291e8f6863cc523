"""Memory that is not in use goes back to the system."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import threading
import psutil
from daedalus.ingestion.orchestrators.memory import give_back, limit_heaps

limit_heaps()
rss = lambda: psutil.Process().memory_info().rss / 1e6
kept, barrier = [], threading.Barrier(4)


def work():
    rows = [bytes(2_000) for _ in range(10_000)]
    kept.append(rows[-1])  # The end of a heap stays in use, so that it does not shrink by itself.
    barrier.wait()


threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
before = rss()
give_back()
print(before, rss())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems' allocators are left alone")
def test_what_threads_left_is_given_back():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment)
    before, after = map(float, out.stdout.split())
    assert after < before - 10, (before, after)
