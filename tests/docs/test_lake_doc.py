"""docs/LAKE.md: its code and its commands run, on a small lake."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.unit.etl.core.bronze import T0, S, books, trades, write_bronze
from tests.unit.lake.bronze import delta, write_events
from tests.unit.lake.test_lake import write_made

TEXT = (ROOT / "docs" / "LAKE.md").read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "data"
    clock = [T0 + n * 10 * S for n in range(60)]
    for symbol in ("BTC/USD", "ETH/USD"):
        write_bronze(base, "trades", trades(T0, 60), symbol=symbol)
        write_bronze(base, "orderbook", books(T0, 60), symbol=symbol)
    starts = [T0 + n * 60 * S for n in range(10)]
    bars = {"bar_start": starts, "bar_end": [t + 60 * S for t in starts], "close": [1] * 10, "volume": [2] * 10}
    write_made(base, "bars/gold/duration=60", "bar_start", bars)
    silver = {"ts": clock, "collected_at": clock, "mid": [5] * 60}
    write_made(base, "orderbook/silver", "collected_at", silver, symbol="ETH-USD")
    write_events(base, [delta(t, ("bid", 1.0, 1.0), ("ask", 2.0, 1.0), whole=t == T0, nonce=t) for t in clock])
    return base


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    assert found
    return found


def test_its_python_runs(here: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "docs/LAKE.md", "exec"), names)
    assert isinstance(names["event"].collected_at, int) and names["frame"].height == 60
    assert names["trades"].collect().height == 60
