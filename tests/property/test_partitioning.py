"""Partition values and paths: round trips and safety for any text."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daedalus.shared.errors import SchemaError
from daedalus.shared.partitioning import (
    DEFAULT_PARTITION_COLUMNS,
    VALUE_BYTES_MAX,
    PartitionKey,
    build_partition_path,
    parse_partition_path,
    sanitize_partition_value,
)

names = st.text(max_size=200) | st.sampled_from(
    [
        "BTC/USD",
        "BTC/USDT:USDT",
        "..",
        "../../etc/passwd",
        "a\\b",
        ".hidden",
        "con\x00trol",
        "100%",
        "a=b",
        "",
        " x ",
        "é",
    ]
)
keys = st.builds(
    PartitionKey,
    exchange=names,
    symbol=names,
    year=st.integers(1970, 9999),
    month=st.integers(1, 12),
    day=st.integers(1, 28),
    hour=st.integers(0, 23),
)


@given(names)
def test_values_are_safe_and_stable(value):
    safe = sanitize_partition_value(value)
    assert sanitize_partition_value(safe) == safe
    assert safe and safe not in (".", "..") and not safe.startswith(".")
    assert (not set(safe) & set("/\\:%=\0") and safe.isprintable()) or all(ord(c) >= 32 for c in safe)
    assert len(safe.encode()) <= VALUE_BYTES_MAX


@given(keys)
def test_parse_of_path_is_the_key(key):
    assert PartitionKey.parse(key.path()) == key
    assert PartitionKey.parse("lake/raw/ready/x/trades/" + key.path() + "/segment.parquet") == key
    assert key.path().count("/") == 5


@given(keys)
def test_a_date_stands_in_for_the_day(key):
    path = key.path(["exchange", "symbol", "date", "hour"])
    assert parse_partition_path(path)["date"] == str(dt.date(key.year, key.month, key.day))


@given(st.text(min_size=121, max_size=400), st.text(min_size=121, max_size=400))
def test_long_values_stay_apart(a, b):
    sa, sb = sanitize_partition_value("x" * 100 + a), sanitize_partition_value("x" * 100 + b)
    if a == b:
        assert sa == sb


def test_known_values():
    assert sanitize_partition_value("BTC/USDT:USDT") == "BTC-USDT-USDT"
    assert sanitize_partition_value("../../etc") == "etc"
    assert sanitize_partition_value("__HIVE_DEFAULT_PARTITION__") == "null"
    values = {"exchange": "x", "symbol": "BTC/USD", "year": 2025, "month": 6, "day": 9, "hour": 4}
    assert build_partition_path(values) == "exchange=x/symbol=BTC-USD/year=2025/month=06/day=09/hour=04"
    assert DEFAULT_PARTITION_COLUMNS == ["exchange", "symbol", "year", "month", "day", "hour"]


def test_wrong_paths_are_named():
    with pytest.raises(SchemaError, match="month=xx"):
        parse_partition_path("year=2025/month=xx")
    with pytest.raises(SchemaError, match="no such hour"):
        PartitionKey("x", "y", 2025, 2, 30, 0)
    with pytest.raises(SchemaError, match="symbol, year"):
        PartitionKey.parse("exchange=x")
    with pytest.raises(SchemaError, match="unknown partition column"):
        build_partition_path({"minute": 1}, ["minute"])
