"""What all suites share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("DAEDALUS_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of real recordings, or skip."""
    if not (DATA / "README.md").exists():
        pytest.skip(f"no recordings at {DATA}: set DAEDALUS_TEST_DATA")
    return DATA
