"""What all suites share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from daedalus.testing.s3_server import S3Server, shared

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("DAEDALUS_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))

#: Folders in the order in which they run. Conformance compiles each kernel on one worker, while others wait in
#: simulations; what uses kernels comes after that, and many small files end the run, so that all workers end together.
ORDER = ("conformance", "simulation", "end_to_end", "property", "docs", "unit")
WORKER_BYTES = 1_200_000_000

# How long an example takes says more about the machine than about the code. The suite tries the same examples each
# time, so that it fails for what was changed; `--hypothesis-profile=fresh` looks for new ones.
settings.register_profile("daedalus", deadline=None, derandomize=True)
settings.register_profile("fresh", deadline=None)
settings.load_profile("daedalus")


# Where a shell starts the suite in the background, Ctrl-C is ignored, and so it would be by every program under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for two cores, as far as memory goes: a third of the time is spent waiting for timers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    room = psutil.virtual_memory().available // WORKER_BYTES
    return max(1, min(cores + (cores + 1) // 2, room))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files by folder; a file goes to one worker (`--dist loadfile`)."""
    place = {folder: number for number, folder in enumerate(ORDER)}
    items.sort(key=lambda item: place.get(item.path.relative_to(ROOT / "tests").parts[0], len(place)))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of real recordings, or skip."""
    if not (DATA / "README.md").exists():
        pytest.skip(f"no recordings at {DATA}: set DAEDALUS_TEST_DATA")
    return DATA


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return a real S3 server on this machine, one for all workers of the run. Tests take a prefix each."""
    folder = tmp_path_factory.getbasetemp()
    with shared((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "s3-server") as server:
        yield server
