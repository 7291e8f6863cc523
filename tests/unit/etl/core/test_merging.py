"""What was appended to a partition becomes its one file: the same rows in the same order, whatever interrupts it."""

import shutil
import threading
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daedalus
from daedalus.etl.core import replacing
from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.core.manifest import inputs_of
from daedalus.etl.core.merging import FileMerger, Merged, tables_below
from daedalus.etl.transforms.trades import TradesFeatureTransform
from daedalus.shared.clock import Clock
from daedalus.shared.errors import StorageError
from daedalus.storage.base import Place
from daedalus.storage.ledger import Ledger
from daedalus.storage.local import LocalStorage, local_place
from daedalus.storage.lock import LAKE_LOCK, exclusive
from daedalus.testing.clock import FakeClock
from tests.unit.etl.core.bronze import HOUR, T0, S, trades, write_bronze
from tests.unit.etl.core.stateful_lake import CONFIG
from tests.unit.etl.core.test_replacing import Killed, dying

ROOT = "processed/coinbase/trades/silver"
LATER = FakeClock(T0 + 4 * HOUR)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return append_lake(tmp_path / "lake")


def append_lake(base: Path) -> Path:
    """Return a lake to one hour of which features were appended, a segment at a time."""
    for piece in range(3):
        write_bronze(base, "trades", trades(T0 + piece * 900 * S, 60, 10 * S, seed=piece), journal=piece)
        appended = OutputConfig(base, mode="append")
        run = TransformExecutor(TradesFeatureTransform(CONFIG), InputConfig(base), appended).run(FilterSpec())
        assert run.failures == []
        shutil.rmtree(base / "raw")
    return base


def merge(lake: Path, clock: Clock = LATER, older_than_hours: float = 1.0) -> list[Merged]:
    (table,) = tables_below(lake, "silver", "gold")
    assert table == (ROOT, "collected_at")
    return list(FileMerger(lake, *table, older_than_hours=older_than_hours, clock=clock).run())


def rows(lake: Path) -> pl.DataFrame:
    found = daedalus.open_lake(lake).scan("trades_features").collect()
    return found.sort("collected_at", maintain_order=True)


def files(lake: Path) -> list[Path]:
    return sorted((lake / "processed").rglob("*.parquet"))


def test_one_file_with_the_rows_and_the_origin_of_all(lake: Path) -> None:
    before = rows(lake)
    origins = [one for path in files(lake) for one in inputs_of(local_place(path)) or []]
    assert len(files(lake)) == 3 and len(origins) == 3
    (outcome,) = merge(lake)
    assert (outcome.segments, outcome.rows, outcome.problem) == (3, before.height, None)
    (one,) = files(lake)
    assert one.name == "features.parquet"
    assert rows(lake).equals(before)
    assert inputs_of(local_place(one)) == sorted(origins, key=lambda one: one.key)
    assert pq.ParquetFile(one).num_row_groups == 1
    assert merge(lake) == []
    assert list((lake / ".replacing").glob("*")) == [] and list(lake.rglob("*.tmp")) == []


def test_an_hour_that_is_not_over_and_what_a_store_holds_stay(lake: Path) -> None:
    assert merge(lake, FakeClock(T0 + HOUR - 1), older_than_hours=0.0) == []
    assert merge(lake, FakeClock(T0 + HOUR + HOUR // 2)) == []
    with Ledger(lake) as ledger, ledger.transaction() as db:
        key = files(lake)[0].relative_to(lake).as_posix()
        db.execute(
            "INSERT INTO copies VALUES (:s, :k, :h, 1, 1, NULL, 1, NULL)", {"s": "s3://x", "k": key, "h": "0" * 64}
        )
    assert merge(lake) == []
    assert len(files(lake)) == 3


def test_files_of_other_settings_are_named_and_stay(lake: Path) -> None:
    odd = files(lake)[1]
    table = pq.ParquetFile(odd).read()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "daedalus.fingerprint": "another"}), odd)
    (outcome,) = merge(lake)
    assert outcome.problem is not None and "made with other settings" in outcome.problem
    odd.write_bytes(odd.read_bytes()[:-9])
    (outcome,) = merge(lake)
    assert outcome.problem is not None and odd.name in outcome.problem
    assert len(files(lake)) == 3 and list((lake / ".replacing").glob("*")) == []


def test_it_does_not_run_beside_sync(lake: Path) -> None:
    with exclusive(lake / LAKE_LOCK, "sync"), pytest.raises(StorageError, match="at work"):
        merge(lake)


@pytest.mark.parametrize("step", ["sync_file", "exchange", "shutil.rmtree"])
@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_dies_is_finished_by_the_next(
    lake: Path, step: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = rows(lake)
    owner, _, name = step.rpartition(".")
    with monkeypatch.context() as patch:
        dying(patch, shutil if owner else replacing, name, before)
        with pytest.raises(Killed):
            merge(lake)
    assert rows(lake).equals(wanted)
    merge(lake)
    assert rows(lake).equals(wanted) and len(files(lake)) == 1
    assert list((lake / ".replacing").glob("*")) == []


def test_a_writer_of_the_same_hour_waits_and_wins(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that computes the hour again while it is merged: its rows stand, whoever comes first."""
    (partition,) = {path.parent for path in files(lake)}
    column = pq.read_schema(files(lake)[0]).field("collected_at")
    real, thread = replacing.exchange, threading.Thread(target=lambda: overwrite(partition))

    def meanwhile(first: Path, second: Path) -> None:
        if not thread.ident:
            thread.start()
        real(first, second)

    def overwrite(folder: Path) -> None:
        temp = folder / "features.parquet.1.tmp"
        pq.write_table(pa.table({"collected_at": pa.array([T0])}, schema=pa.schema([column])), temp)
        final = Place(LocalStorage(lake)) / (folder / "features.parquet").relative_to(lake).as_posix()
        replacing.replace(temp, final, replacing.appended(final))

    monkeypatch.setattr(replacing, "exchange", meanwhile)
    merge(lake)
    thread.join()
    assert [pq.ParquetFile(path).metadata.num_rows for path in files(lake)] == [1]
    assert list(lake.rglob("*.tmp")) == []
