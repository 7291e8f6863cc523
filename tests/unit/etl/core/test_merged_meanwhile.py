"""Segments that `daedalus compact` merges while they are about to be read: the rows are those of a quiet lake."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from daedalus.etl.core.config import FeatureConfig, FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.manifest import described
from daedalus.etl.core.report import Report
from daedalus.etl.core.runners import trades_runner
from daedalus.ingestion.compaction import Compaction
from daedalus.ingestion.writers.base import RawPaths
from daedalus.shared.errors import NotFoundError
from daedalus.storage import local
from daedalus.storage.partitions import Partition, find_partitions
from daedalus.storage.replaced import names_now, relisted
from tests.unit.etl.core.stateful_lake import silver
from tests.unit.ingestion.test_compaction import OLD, make_lake

TRADES = FilterSpec(symbol="BTC-USD")


def compact(lake: Path) -> int:
    """Merge, and count the directories."""
    return len([done for done in Compaction(RawPaths(lake, "testex"), OLD).run() if done.problem is None])


def run(lake: Path, out: Path, on_progress: Callable[[object], None] = lambda _: None) -> Report:
    places = InputConfig(lake, source="testex"), OutputConfig(out, source="testex")
    report = trades_runner(FeatureConfig(), *places, on_progress=on_progress).run(FilterSpec())
    assert [str(failure.error) for failure in report.failures] == []
    return report


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    make_lake(tmp_path / "lake", journals=3)
    return tmp_path / "lake"


def partitions(lake: Path) -> list[Partition]:
    return find_partitions(InputConfig(lake, source="testex").bronze("trades"), TRADES)


def test_between_the_listing_and_the_reading(lake: Path, tmp_path: Path) -> None:
    quiet = run(lake, tmp_path / "quiet")
    merged: list[int] = []
    report = run(lake, tmp_path / "out", lambda _: merged.append(compact(lake)))
    assert merged[0] > 0
    assert silver(tmp_path / "out") == silver(tmp_path / "quiet")
    assert 0 < report.files_opened < quiet.files_opened and report.rows_in == quiet.rows_in


def test_before_the_inputs_are_described(lake: Path) -> None:
    listed = partitions(lake)
    assert compact(lake)
    inputs, text = described({"trades": listed})
    assert [len(partition.names) for partition in inputs["trades"]] == [1] * len(listed)
    assert all(partition.names[0] in text for partition in inputs["trades"])
    assert inputs["trades"][0].sizes == partitions(lake)[0].sizes


def test_during_the_listing(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, entries, merged = partitions(lake), local._entries, list[int]()

    def merged_just_after(folder: Path) -> object:
        found = entries(folder)
        if folder == before[0].path.local_path and not merged:
            merged.append(compact(lake))
        return found

    monkeypatch.setattr(local, "_entries", merged_just_after)
    found = partitions(lake)
    monkeypatch.undo()
    assert merged and found == partitions(lake) and len(found[0].names) == 1


def test_what_is_gone_for_good_is_named(lake: Path, tmp_path: Path) -> None:
    partition = partitions(lake)[0]
    gone = partition.segments()[1].local_path
    assert gone is not None

    def lose(_: object) -> None:
        gone.unlink(missing_ok=True)

    places = InputConfig(lake, source="testex"), OutputConfig(tmp_path / "out", source="testex")
    report = trades_runner(FeatureConfig(), *places, on_progress=lose).run(TRADES)
    assert [f"{gone} is gone since it was listed" in str(failure.error) for failure in report.failures] == [True]
    with pytest.raises(NotFoundError, match="bring it back"):
        relisted(partition)
    shutil.rmtree(gone.parent)
    with pytest.raises(NotFoundError, match="is gone"):
        described({"trades": [partition]})


def test_a_segment_that_came_meanwhile_is_not_taken_for_a_merged_one(lake: Path) -> None:
    partition = partitions(lake)[0]
    compact(lake)
    merged = partitions(lake)[0].names
    folder = partition.path.local_path
    assert folder is not None
    (folder / "segment_20990101T000000Z-00000001_000000000-000000999.parquet").touch()
    assert names_now(partition.path, partition.names) == merged


def test_silver_is_what_its_folder_holds(tmp_path: Path) -> None:
    for name in ("features-1-2.parquet", "features-3-4.parquet"):
        (tmp_path / name).touch()
    folder = local.local_place(tmp_path)
    (tmp_path / "features-1-2.parquet").rename(tmp_path / "features.parquet")
    (tmp_path / "features-3-4.parquet").unlink()
    assert names_now(folder, ["features-1-2.parquet", "features-3-4.parquet"]) == ("features.parquet",)
    (tmp_path / "features.parquet").unlink()
    with pytest.raises(NotFoundError, match="is gone"):
        names_now(folder, ["features-1-2.parquet"])
