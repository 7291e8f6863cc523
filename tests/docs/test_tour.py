"""docs/tour.py runs on a lake whose order flow tells of the next minute, and says so."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.unit.lake.bronze import T0, S, delta, write_events
from tests.unit.lake.test_lake import write_made


def test_the_tour_finds_what_is_planted(tmp_path: Path) -> None:
    rng = random.Random(4)
    flows = [rng.gauss(0, 1) for _ in range(300)]
    mids = [100.0]
    for flow in flows[:-1]:
        mids.append(mids[-1] * (1 + flow * 1e-4 + rng.gauss(0, 0.5e-4)))
    clock = [T0 + n * 60 * S for n in range(300)]
    silver = {"ts": clock, "collected_at": clock, "mid": mids, "spread_bps": [1.0] * 300, "ofi": flows}
    write_made(tmp_path, "orderbook/silver", "collected_at", silver)
    write_events(tmp_path, [delta(t, ("bid", 1.0, 1.0), ("ask", 2.0, 1.0), whole=t == T0, nonce=t) for t in clock])
    picture = tmp_path / "tour.png"
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "tour.py"), str(tmp_path), str(picture)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "MPLCONFIGDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"299 minutes: .*of the next one ([+-][\d.]+)", done.stdout)
    assert found is not None, done.stdout
    assert 0.8 < float(found[1]) < 1.0
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000
