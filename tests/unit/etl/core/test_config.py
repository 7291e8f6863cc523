"""Filters and layouts: what is taken, what is refused."""

import datetime as dt
from pathlib import Path

import pytest

from daedalus.etl.core.config import FeatureConfig, FilterSpec, InputConfig, OutputConfig
from daedalus.shared.errors import ConfigError
from daedalus.shared.filters import parse_instant
from daedalus.storage.clouds import MemoryStorage

HOUR = dt.timedelta(hours=1)
AT = dt.datetime(2025, 6, 19, 14, tzinfo=dt.UTC)


@pytest.mark.parametrize("spelling", ["BTC-USD", "BTC/USD", "BTC:USD"])
def test_any_spelling_of_a_symbol_is_one(spelling: str) -> None:
    assert FilterSpec(symbol=spelling) == FilterSpec(symbol="BTC-USD")


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (FilterSpec(), True),
        (FilterSpec(exchange="coinbase", symbol="BTC/USD", year=2025, month=6, day=19, hour=14), True),
        (FilterSpec(exchange="kraken"), False),
        (FilterSpec(symbol="BTC"), False),
        (FilterSpec(year=2024), False),
        (FilterSpec(month=7), False),
        (FilterSpec(day=18), False),
        (FilterSpec(hour=13), False),
        (FilterSpec(start=AT), True),
        (FilterSpec(start=AT + HOUR), False),
        (FilterSpec(end=AT), False),
        (FilterSpec(start=AT + HOUR / 2, end=AT + HOUR * 3), True),
        (FilterSpec(start=AT.replace(tzinfo=None), end=AT.replace(tzinfo=None) + HOUR), True),
    ],
)
def test_selects_an_hour(chosen: FilterSpec, wanted: bool) -> None:
    assert chosen.selects("coinbase", "BTC-USD", AT, AT + HOUR) is wanted


def test_selects_wider_spans_by_what_they_hold() -> None:
    day = AT.replace(hour=0)
    assert FilterSpec(hour=14, day=19).selects_time(day, day + dt.timedelta(days=1))
    assert not FilterSpec(day=20).selects_time(day, day + dt.timedelta(days=1))
    month = day.replace(day=1)
    assert FilterSpec(day=20, month=6).selects_time(month, month + dt.timedelta(days=30))
    assert not FilterSpec(month=7).selects_time(month, month + dt.timedelta(days=30))


@pytest.mark.parametrize("wrong", [{"hour": 24}, {"month": 0}, {"day": 32}, {"year": 25}, {"start": AT, "end": AT}])
def test_impossible_filters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="--"):
        FilterSpec(**wrong)  # type: ignore[arg-type]


def test_describe_gives_the_flags() -> None:
    text = FilterSpec(symbol="BTC/USD", hour=3, start=AT).describe()
    assert text == "--symbol BTC-USD --hour 3 --from 2025-06-19T14:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2025-06-19", 0), ("2025-06-19T14:00", 14), ("2025-06-19T14:00Z", 14), ("2025-06-19 16:00+02:00", 14)],
)
def test_instants_are_utc(text: str, hour: int) -> None:
    assert parse_instant(text) == AT.replace(hour=hour)


def test_a_wrong_instant_says_how() -> None:
    with pytest.raises(ConfigError, match="2025-06-19"):
        parse_instant("yesterday")


def test_folders() -> None:
    source, target = InputConfig(Path("lake")), OutputConfig(Path("out"), tier_features="s1", tier_aggregates="g1")
    assert str(source.bronze("trades")) == "lake/raw/ready/coinbase/trades"
    assert str(source.silver("orderbook")) == "lake/processed/coinbase/orderbook/silver"
    elsewhere = InputConfig(Path("lake"), processed_base_dir=Path("out"))
    assert str(elsewhere.silver("x")) == "out/processed/coinbase/x/silver"
    assert str(target.silver("orderbook")) == "out/processed/coinbase/orderbook/s1"
    assert str(target.gold()) == "out/processed/coinbase/bars/g1"
    assert str(InputConfig(MemoryStorage()).bronze("l2")) == "memory:/raw/ready/coinbase/l2"


@pytest.mark.parametrize(
    "columns",
    [["exchange", "symbol", "date"], ["date", "exchange", "symbol", "hour"], ["exchange", "symbol", "year", "month"]],
)
def test_layouts_that_keep_markets_and_times_apart(columns: list[str]) -> None:
    assert OutputConfig(Path("x"), partition_cols=columns).partition_cols == tuple(columns)


@pytest.mark.parametrize(
    "columns",
    [
        ["exchange", "date"],
        ["exchange", "symbol", "hour"],
        ["exchange", "symbol", "minute"],
        ["exchange", "symbol", "symbol"],
    ],
)
def test_other_layouts_are_refused(columns: list[str]) -> None:
    with pytest.raises(ConfigError, match="partition_cols"):
        OutputConfig(Path("x"), partition_cols=columns)


def test_feature_config_is_at_hand() -> None:
    assert FeatureConfig().max_levels == 20
