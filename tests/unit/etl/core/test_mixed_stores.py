"""The executor between stores of different kinds: what comes out is the same everywhere."""

import tempfile
from pathlib import Path

import pytest

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.shared.errors import ConfigError, StorageError
from daedalus.storage.base import ObjectInfo, Storage
from daedalus.storage.clouds import MemoryStorage
from daedalus.storage.local import LocalStorage
from tests.unit.etl.core.bronze import HOUR, T0, S, books, write_bronze
from tests.unit.etl.core.test_executor import Counting


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for hour in (0, 1, 3):
        write_bronze(tmp_path / "lake", "orderbook", books(T0 + hour * HOUR, 10, S), journal=hour)
    return tmp_path / "lake"


def copied(lake: Path) -> Storage:
    store = MemoryStorage()
    for info in LocalStorage(lake).list():
        store.put_file(info.key, lake / info.key)
    return store


def written(source: Path | Storage, target: Path | Storage) -> dict[str, bytes]:
    report = TransformExecutor(Counting(), InputConfig(source), OutputConfig(target)).run(FilterSpec())
    assert not report.failures
    assert report.rows_in == 30
    store = LocalStorage(target) if isinstance(target, Path) else target
    found = {info.key: store.get(info.key) for info in store.list("processed")}
    assert len(found) == len(report.written)
    return found


def test_the_same_bytes_from_and_to_any_store(lake: Path, tmp_path: Path) -> None:
    want = written(lake, tmp_path / "local")
    assert written(copied(lake), MemoryStorage()) == want
    assert written(copied(lake), tmp_path / "mixed") == want
    assert written(lake, MemoryStorage()) == want


def test_a_partition_of_a_store_is_replaced(lake: Path) -> None:
    store = copied(lake)
    first = written(store, store)
    store.put(next(iter(first)), b"old", overwrite=True)
    assert written(store, store) == first


def test_an_empty_store_is_explained(lake: Path) -> None:
    executor = TransformExecutor(Counting(), InputConfig(copied(lake)), OutputConfig(MemoryStorage()))
    with pytest.raises(ConfigError, match=r"nothing under memory:/raw/ready/coinbase/orderbook matches"):
        executor.forecast(FilterSpec(symbol="DOGE-USD"))


class Full(MemoryStorage):
    def put_file(self, key: str, path: Path, *, sha256: str | None = None, overwrite: bool = False) -> ObjectInfo:
        raise StorageError(f"{key}: the store is full")


def test_a_store_that_refuses_fails_the_market_and_leaves_nothing(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    report = TransformExecutor(Counting(), InputConfig(lake), OutputConfig(Full())).run(FilterSpec())
    assert [str(failure.error).endswith("the store is full") for failure in report.failures] == [True]
    assert list((tmp_path / "tmp").iterdir()) == []
