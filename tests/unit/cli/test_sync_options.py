"""From settings to a sync: folders that may be synced, what stays, where small segments are merged."""

import threading
from pathlib import Path

import pytest

from daedalus.cli.sync_options import compact_first, make_sync, needed_here, synced_paths
from daedalus.config.config import DaedalusConfig, load_config
from daedalus.etl.core.config import FilterSpec
from daedalus.shared.errors import ConfigError
from tests.unit.ingestion.test_compaction import make_lake


def settings(tmp_path: Path, **sync: object) -> DaedalusConfig:
    source = {"backend": "local", "base_dir": str(tmp_path / "lake")}
    flags = {"storage.base_dir": str(tmp_path / "elsewhere"), "storage.sync.source": source}
    return load_config(None, {**flags, **{f"storage.sync.{name}": value for name, value in sync.items()}})


def test_manifests_of_imports_are_synced_and_stay(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    assert synced_paths(chosen) == ["raw/ready", "processed", "raw/imports", "manifests"]
    is_needed = needed_here(chosen)
    assert is_needed("raw/imports/binance/0123.json")
    assert not is_needed("raw/ready/binance/trades/a.parquet")


def test_folders_within_others_count_once(tmp_path: Path) -> None:
    given = ["raw/ready/okx", "raw/ready/", "processed", "raw/ready"]
    assert synced_paths(settings(tmp_path, paths=given)) == ["processed", "raw/ready"]


@pytest.mark.parametrize("path", ["raw", "raw/active", "raw/active/okx", "raw/compacting", "../x", "a//b"])
def test_journals_and_impossible_folders_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--paths"):
        synced_paths(settings(tmp_path, paths=[path]))


def test_a_destination_in_the_lake_is_refused(tmp_path: Path) -> None:
    inside = {"backend": "local", "base_dir": str(tmp_path / "lake" / "processed" / "copy")}
    with pytest.raises(ConfigError, match="lies in it"):
        make_sync(settings(tmp_path, destination=inside), FilterSpec())


def test_small_segments_of_the_source_are_merged_and_an_empty_lake_is_none(tmp_path: Path) -> None:
    chosen = settings(tmp_path, compact_before_upload=True)
    compact_first(chosen, "upload", threading.Event())
    make_lake(tmp_path / "lake", journals=2)
    compact_first(chosen, "upload", threading.Event())
    assert (tmp_path / "lake" / "raw" / "compacting").is_dir()
    assert not (tmp_path / "elsewhere").exists()
