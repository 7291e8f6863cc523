"""Rows of a lake that is watched are those of one run over the same segments, to the bit, at any time."""

import datetime as dt
import random
import shutil
from pathlib import Path

import pytest

from daedalus.etl.core.config import InputConfig, OutputConfig
from daedalus.etl.core.following import Follower, FollowRules
from daedalus.etl.core.needs import NeededSegments
from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
from daedalus.etl.utils.state_manager import StateManager
from daedalus.shared.errors import ConfigError
from daedalus.storage.base import Place
from daedalus.storage.local import as_storage
from daedalus.testing.clock import FakeClock
from tests.unit.etl.core.fed_lake import READY, TRANSFORMS, Watched, batch, feed, write_fed
from tests.unit.etl.core.stateful_lake import CONFIG, silver

ALL_TABLES = tuple(TRANSFORMS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    base = tmp_path_factory.mktemp("fed")
    return base / "lake", write_fed(base / "lake", base / "whole")


@pytest.fixture(scope="module")
def whole(source: tuple[Path, list[list[str]]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return batch(source[0], tmp_path_factory.mktemp("whole"), ALL_TABLES)


@pytest.mark.parametrize("seed", range(2))
def test_fed_in_random_batches_equals_one_run(
    source: tuple[Path, list[list[str]]], whole: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    lake, journals = source
    rng = random.Random(seed)
    keys = [key for journal in journals for key in rng.sample(journal, len(journal))]
    watched = Watched(tmp_path, ALL_TABLES)
    while keys:
        count = rng.randint(1, 12)
        feed(lake, tmp_path, keys[:count])
        keys = keys[count:]
        if rng.random() < 0.3:  # as after a restart
            watched = Watched(tmp_path, ALL_TABLES)
        watched.look()
        assert (watched.failures, watched.skipped) == ([], [])
    assert silver(tmp_path) == whole
    assert list(tmp_path.rglob("*.tmp")) == []


def test_rows_are_those_of_the_segments_that_are_there(source: tuple[Path, list[list[str]]], tmp_path: Path) -> None:
    lake, journals = source
    watched = Watched(tmp_path / "lake")
    for number, journal in enumerate(journals[:5]):
        feed(lake, tmp_path / "lake", journal)
        watched.look()
        assert silver(tmp_path / "lake") == batch(tmp_path / "lake", tmp_path / f"batch{number}", ("orderbook",))
    done = watched.written
    watched.look()
    assert watched.written == done


def test_the_last_hour_is_over_by_the_clock(source: tuple[Path, list[list[str]]], tmp_path: Path) -> None:
    lake, journals = source
    feed(lake, tmp_path, [key for key in journals[0] if "BTC" in key])
    watched = Watched(tmp_path)
    watched.look()
    began = _until(watched)
    assert began.hour == 14
    watched.clock.advance(3600)
    watched.look()
    assert _until(watched).hour == 15


def test_late_segments_are_computed_from_the_checkpoint_before(
    source: tuple[Path, list[list[str]]], whole: dict[str, bytes], tmp_path: Path
) -> None:
    lake, journals = source
    late = [key for key in journals[1] if "/orderbook/" in key or "/trades/" in key]
    assert late
    watched = Watched(tmp_path, ALL_TABLES)
    for journal in journals:
        feed(lake, tmp_path, [key for key in journal if key not in late])
        watched.look()
    assert silver(tmp_path) != whole
    feed(lake, tmp_path, late)
    watched.look()
    assert silver(tmp_path) == whole and watched.failures == []
    assert any("computed again" in note for note in watched.notes)


def test_late_segments_are_reported_and_left(source: tuple[Path, list[list[str]]], tmp_path: Path) -> None:
    lake, journals = source
    late = [key for key in journals[1] if "/trades/" in key and "BTC" in key]
    watched = Watched(tmp_path, rules=FollowRules(late="report"))
    for journal in journals:
        feed(lake, tmp_path, [key for key in journal if key not in late])
        watched.look()
    before = silver(tmp_path)
    feed(lake, tmp_path, late)
    watched.look()
    watched.look()
    assert silver(tmp_path) == before
    assert len(watched.skipped) == 1 and late[0] in watched.skipped[0] and "--late" in watched.skipped[0]
    assert _needed(tmp_path)(late[0])


def test_too_late_segments_are_reported(source: tuple[Path, list[list[str]]], tmp_path: Path) -> None:
    lake, journals = source
    late = [key for key in journals[0] if "/orderbook/" in key and "BTC" in key]
    watched = Watched(tmp_path, keep=1)
    for journal in journals:
        feed(lake, tmp_path, [key for key in journal if key not in late])
        watched.look()
    feed(lake, tmp_path, late)
    watched.look()
    assert len(watched.skipped) == 1 and "no checkpoint is kept" in watched.skipped[0]


def test_segments_are_needed_until_their_hour_is_over(source: tuple[Path, list[list[str]]], tmp_path: Path) -> None:
    lake, journals = source
    keys = [key for journal in journals for key in journal]
    watched = Watched(tmp_path, ("orderbook",))
    feed(lake, tmp_path, keys)
    assert not any(map(_needed(tmp_path), keys))
    watched.look()
    needed = _needed(tmp_path)
    for key in keys:
        assert needed(key) == ("hour=18" in key and "/ticker/" not in key), key
    file = next(tmp_path.rglob("symbol=BTC-USD/**/hour=14/features.parquet"))
    silver_key = str(file.relative_to(tmp_path))
    assert needed(silver_key) and not needed(silver_key.replace("/orderbook/", "/trades/"))
    for key in keys:
        (tmp_path / key).unlink(missing_ok=not needed(key))
    assert not _needed(tmp_path)(silver_key)


def test_rows_whose_segments_are_gone_are_not_replaced(tmp_path: Path) -> None:
    lake = tmp_path / "source"
    journals = write_fed(lake, tmp_path / "whole", ("BTC/USD", "ETH/USD"))
    tmp_path /= "lake"
    watched = Watched(tmp_path)
    feed(lake, tmp_path, journals[0])
    watched.look()
    before = silver(tmp_path)
    gone = next(key for key in journals[0] if "/orderbook/" in key and "BTC" in key)
    (tmp_path / gone).unlink()
    feed(lake, tmp_path, journals[1] + journals[2])
    watched.look()
    after = silver(tmp_path)
    assert {k: v for k, v in after.items() if "BTC" in k} == {k: v for k, v in before.items() if "BTC" in k}
    assert after != before
    assert len(watched.failures) == 1 and gone in watched.failures[0]


def test_partitions_of_a_day_cannot_be_followed(tmp_path: Path) -> None:
    target = OutputConfig(tmp_path, partition_cols=("exchange", "symbol", "date"))
    with pytest.raises(ConfigError, match="hour must be among"):
        Follower(
            OrderbookFeatureTransform(CONFIG),
            InputConfig(tmp_path),
            target,
            StateManager(tmp_path),
            FollowRules(),
            clock=FakeClock(),
        )


def _until(watched: Watched) -> dt.datetime:
    return next(iter(watched.states.heads()))[1].checkpoints[0].until


def _needed(lake: Path) -> NeededSegments:
    """Return what asks the states that the watcher keeps, where the command would keep them."""
    states = lake / "asked"
    shutil.rmtree(states, ignore_errors=True)
    if (lake / "state").is_dir():
        shutil.copytree(lake / "state", states / "coinbase")
    place = Place(as_storage(lake))
    return NeededSegments(place, READY.rpartition("/")[0], states, place, "silver")
