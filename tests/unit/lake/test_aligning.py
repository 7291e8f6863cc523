"""Alignment: at every grid time the newest row that was known, found here by looking at all of them."""

import random
from pathlib import Path

import polars as pl
import pytest

import daedalus
from daedalus.lake.lake import Pick
from daedalus.shared.errors import ConfigError, SchemaError
from tests.unit.etl.core.bronze import T0, S, write_bronze
from tests.unit.lake.test_lake import bars, write_made


@pytest.fixture
def base(tmp_path: Path) -> Path:
    rng, clock, at = random.Random(4), [], T0
    for _ in range(400):
        at += rng.randrange(1, 30) * S // 2
        clock.append(at)
    # An exchange whose clock is up to 5 s ahead or behind.
    silver = {"ts": [t + rng.randrange(-5, 5) * S for t in clock], "collected_at": clock, "mid": list(range(400))}
    write_made(tmp_path, "orderbook/silver", "collected_at", silver)
    write_made(tmp_path, "bars/gold/duration=60", "bar_start", bars(T0, 60), symbol="ETH-USD")
    write_bronze(tmp_path, "trades", [{"collected_at": t, "price": float(n)} for n, t in enumerate(clock)])
    return tmp_path


def newest(rows: list[tuple[int, float]], ts: int, max_age: int) -> float | None:
    known = [(at, number) for number, (at, _) in enumerate(rows) if ts - max_age <= at <= ts]
    return rows[max(known)[1]][1] if known else None


@pytest.mark.parametrize("max_age", [20, 3600])
def test_no_look_ahead(base: Path, max_age: int) -> None:
    lake = daedalus.open_lake(base)
    picks = {
        "btc": Pick("orderbook_features", "BTC/USD", ["mid"]),
        "eth": Pick("bars_60s", "ETH-USD", ["close"]),
        "last": Pick("trades", "BTC-USD", ["price"], exchange="coinbase"),
    }
    start, end = T0 + 100 * S + 1, T0 + 1200 * S
    grid = lake.align(picks, start, end, "7s", max_age=max_age).collect()
    assert grid.columns == ["ts", "btc_mid", "eth_close", "last_price"]
    silver = lake.scan("orderbook_features").collect()
    features = [(max(ts, at), mid) for ts, at, mid in silver.select("ts", "collected_at", "mid").rows()]
    closes = lake.scan("bars_60s").select("bar_end", "close").collect().rows()
    prices = lake.scan("trades").select("collected_at", "price").collect().rows()
    assert grid["ts"].to_list() == list(range(-(-start // (7 * S)) * 7 * S, end, 7 * S))
    for ts, *values in grid.rows():
        assert values == [newest(rows, ts, max_age * S) for rows in (features, closes, prices)], ts


def test_all_columns_and_errors(base: Path) -> None:
    lake = daedalus.open_lake(base)
    grid = lake.align({"e": Pick("bars_60s", "ETH-USD")}, T0, T0 + 600 * S, 60).collect()
    assert {"e_bar_start", "e_close"} < set(grid.columns)
    assert grid["e_close"].to_list() == [None, *range(9)]
    with pytest.raises(ConfigError, match="nothing to align"):
        lake.align({}, T0, T0 + S, "1s")
    with pytest.raises(ConfigError, match="needs a start and an end"):
        lake.align({"e": Pick("bars_60s", "ETH-USD")}, T0, None, "1s")
    with pytest.raises(ConfigError, match="'fast' is no span"):
        lake.align({"e": Pick("bars_60s", "ETH-USD")}, T0, T0 + S, "fast")
    with pytest.raises(SchemaError, match="bars_60s has no column 'closing'"):
        lake.align({"e": Pick("bars_60s", "ETH-USD", ["closing"])}, T0, T0 + S, "1s")
    with pytest.raises(ConfigError, match="nothing in bars_60s matches symbol BTC-USD"):
        lake.align({"e": Pick("bars_60s", "BTC-USD")}, T0, T0 + S, "1s")
    assert isinstance(lake.align({"e": Pick("bars_60s", "ETH-USD")}, T0, T0 + S, "1s"), pl.LazyFrame)
