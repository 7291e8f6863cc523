"""The first use of a kernel is announced; the second process finds it compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

USE = "import numpy as np; from daedalus.etl.features.streaming import ratio; assert ratio(1.0, 2.0) == 0.5"


def use(cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", USE],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def test_only_what_has_to_be_compiled_is_announced(tmp_path: Path) -> None:
    assert "compiling kernels" in use(tmp_path)
    assert use(tmp_path) == ""
