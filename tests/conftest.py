"""What all suites share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from daedalus.testing.s3_server import S3Server, shared

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("DAEDALUS_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))

# How long an example takes says more about the machine than about the code.
settings.register_profile("daedalus", deadline=None)
settings.load_profile("daedalus")


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
