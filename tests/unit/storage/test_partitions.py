"""Finding partitions: pruned, in order, and with a helpful error when there are none."""

import datetime as dt
from pathlib import Path

import pytest

from daedalus.shared.errors import ConfigError, NotFoundError, SchemaError
from daedalus.shared.filters import FilterSpec
from daedalus.shared.partitioning import PartitionKey
from daedalus.storage.base import Place
from daedalus.storage.local import LocalStorage, local_place
from daedalus.storage.partitions import find_partitions, nothing_found, time_span


def at(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc, arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Place:
    for symbol in ("BTC-USD", "ETH-USD"):
        for day in (18, 19):
            for hour in (0, 9, 14):
                path = tmp_path / PartitionKey("coinbase", symbol, 2025, 6, day, hour).path()
                path.mkdir(parents=True)
                (path / "segment_b.parquet").touch()
                (path / "segment_a.parquet").touch()
                (path / ".hidden.parquet").touch()
                (path / "segment_c.parquet.12.tmp").touch()
    (tmp_path / "exchange=coinbase" / "notes").mkdir()
    (tmp_path / "exchange=coinbase" / "notes" / "a.parquet").touch()
    return local_place(tmp_path)


def test_partitions_come_by_market_and_time(root: Place) -> None:
    found = find_partitions(root, FilterSpec())
    assert len(found) == 12
    assert [(p.symbol, p.start) for p in found] == sorted((p.symbol, p.start) for p in found)
    assert [path.name for path in found[0].segments()] == ["segment_a.parquet", "segment_b.parquet"]


def test_only_matching_folders_are_listed(root: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    for name in ("folders", "list"):
        real = getattr(LocalStorage, name)
        monkeypatch.setattr(LocalStorage, name, lambda self, key, real=real: listed.append(key) or real(self, key))
    found = find_partitions(root, FilterSpec(symbol="BTC/USD", day=19, hour=14))
    assert [(p.symbol, p.start) for p in found] == [("BTC-USD", at(2025, 6, 19, 14))]
    # root, exchange, symbol, year, month, day and the hour itself
    assert len(listed) == 7
    assert len(set(listed)) == 7
    listed.clear()
    assert len(find_partitions(root, FilterSpec(symbol="BTC/USD"))) == 6
    assert len(listed) == 3, "root, exchange, and all of the market at once"
    listed.clear()
    whole_day = FilterSpec(start=at(2025, 6, 19), end=at(2025, 6, 20), symbol="BTC-USD")
    assert len(find_partitions(root, whole_day)) == 3
    assert len(listed) == 6


def test_a_range_selects_the_hours_that_it_touches(root: Place) -> None:
    found = find_partitions(root, FilterSpec(symbol="BTC-USD", start=at(2025, 6, 18, 9, 30), end=at(2025, 6, 19, 9)))
    assert [p.start for p in found] == [at(2025, 6, 18, 9), at(2025, 6, 18, 14), at(2025, 6, 19, 0)]


def test_a_date_layout(tmp_path: Path) -> None:
    folder = tmp_path / "date=2025-06-19" / "exchange=x" / "symbol=y"
    folder.mkdir(parents=True)
    (folder / "a.parquet").touch()
    (found,) = find_partitions(local_place(tmp_path), FilterSpec(hour=3))
    assert (found.start, found.end) == (at(2025, 6, 19), at(2025, 6, 20))
    assert [str(segment) for segment in found.segments()] == [str(folder / "a.parquet")]
    assert find_partitions(local_place(tmp_path), FilterSpec(day=20)) == []


@pytest.mark.parametrize(
    ("values", "start", "end"),
    [
        ({"year": 2024}, at(2024, 1, 1), at(2025, 1, 1)),
        ({"year": 2024, "month": 12}, at(2024, 12, 1), at(2025, 1, 1)),
        ({"year": 2024, "month": 2}, at(2024, 2, 1), at(2024, 3, 1)),
        ({"year": 2024, "month": 2, "day": 29}, at(2024, 2, 29), at(2024, 3, 1)),
        ({"date": "2024-02-29", "hour": 23}, at(2024, 2, 29, 23), at(2024, 3, 1)),
    ],
)
def test_time_spans(values: dict[str, int | str], start: dt.datetime, end: dt.datetime) -> None:
    assert time_span(values) == (start, end)


def test_a_day_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(SchemaError, match="no such time"):
        time_span({"year": 2025, "month": 2, "day": 30})


def test_nothing_found_says_what_there_is(root: Place) -> None:
    error = nothing_found(root, FilterSpec(symbol="BTC/USDT"))
    assert isinstance(error, ConfigError)
    text = str(error)
    assert "no symbol BTC-USDT: did you mean BTC-USD" in text
    assert "--exchange coinbase --symbol ETH-USD  2025-06-18T00:00 to 2025-06-19T15:00" in text


def test_nothing_found_in_nothing(tmp_path: Path) -> None:
    assert isinstance(nothing_found(local_place(tmp_path / "absent"), FilterSpec()), NotFoundError)
