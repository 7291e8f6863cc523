"""What a sync does with each file, against a store in memory that counts what it is asked."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daedalus.shared.errors import DeniedError, StorageError, TransientStorageError
from daedalus.storage.base import ObjectInfo
from daedalus.storage.clouds import MemoryStorage
from daedalus.storage.ledger import Ledger
from daedalus.storage.local import LocalStorage
from daedalus.storage.lock import LAKE_LOCK, exclusive
from daedalus.storage.sync import StorageSync
from daedalus.testing.clock import FakeClock
from tests.unit.storage.lakes import OLD, PATHS, SILVER, contents, make_lake, segment_key, write


class CountingStorage(MemoryStorage):
    """Counts calls; `broken` names keys whose puts fail, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.broken: dict[str, Exception] = {}
        self.on_put: Callable[[], None] = lambda: None

    def put_file(self, key: str, path: Path, *, sha256: str | None = None, overwrite: bool = False) -> ObjectInfo:
        self.calls["put"] += 1
        self.on_put()
        if key in self.broken:
            raise self.broken[key]
        return super().put_file(key, path, sha256=sha256, overwrite=overwrite)

    def head(self, key: str) -> ObjectInfo:
        self.calls["head"] += 1
        return super().head(key)

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[ObjectInfo]:
        self.calls["list"] += 1
        return super().list(prefix, after=after)


@pytest.fixture
def store() -> CountingStorage:
    return CountingStorage()


@pytest.fixture
def lake(tmp_path: Path) -> LocalStorage:
    return make_lake(tmp_path / "lake", 5)


def held(store: MemoryStorage) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list()}


def test_everything_goes_up_once(lake: LocalStorage, store: CountingStorage) -> None:
    report = StorageSync(lake, store, PATHS).run("upload")
    assert (report.uploaded.files, report.is_clean) == (6, True)
    assert held(store) == contents(lake)
    assert store.calls == {"put": 6, "head": 6, "list": 2}
    store.calls.clear()
    report = StorageSync(lake, store, PATHS).run("upload")
    assert (report.unchanged.files, report.uploaded.files) == (6, 0)
    assert store.calls == {"list": 1}, "nothing is sent or asked again but the listing"
    store.calls.clear()
    assert StorageSync(lake, store, PATHS, trust_ledger=True).run("upload").unchanged.files == 6
    assert not store.calls


def test_the_ledger_knows_verified_copies(lake: LocalStorage, store: CountingStorage) -> None:
    StorageSync(lake, store, PATHS).run("upload")
    with Ledger(lake.base_dir) as ledger:
        assert all(entry.uploaded_at and entry.verified_at for entry in ledger.entries())


def test_a_lost_ledger_costs_comparisons_and_no_put(lake: LocalStorage, store: CountingStorage) -> None:
    StorageSync(lake, store, PATHS).run("upload")
    (lake.base_dir / "ledger.sqlite").unlink()
    store.calls.clear()
    report = StorageSync(lake, store, PATHS).run("upload")
    assert (report.adopted.files, report.uploaded.files, store.calls["put"]) == (6, 0, 0)


def test_what_is_lost_in_the_store_goes_up_again(lake: LocalStorage, store: CountingStorage) -> None:
    StorageSync(lake, store, PATHS).run("upload")
    store.delete(segment_key(2))
    assert StorageSync(lake, store, PATHS).run("upload").uploaded.files == 1
    assert held(store) == contents(lake)


def test_a_newer_feature_file_replaces_the_one_that_went_up_before(lake: LocalStorage, store: CountingStorage) -> None:
    StorageSync(lake, store, PATHS).run("upload")
    write(lake, SILVER, b"newer", at=1_760_000_000)
    report = StorageSync(lake, store, PATHS).run("upload")
    assert (report.replaced.files, report.uploaded.files) == (1, 0)
    assert store.get(SILVER) == b"newer"
    write(lake, SILVER, b"newest", at=1_770_000_000)
    report = StorageSync(lake, store, PATHS).run("both")
    assert report.conflict_count == 1, "both never overwrites"
    assert store.get(SILVER) == b"newer"


def test_two_versions_of_one_file_are_a_conflict(lake: LocalStorage, store: CountingStorage) -> None:
    store.put(segment_key(1), b"theirs")
    store.put(SILVER, b"theirs too")
    for direction in ("upload", "both", "download"):
        report = StorageSync(lake, store, PATHS).run(direction)
        assert report.conflict_count == 2, direction
        assert segment_key(1) in "".join(report.conflicts)
    assert store.get(segment_key(1)) == b"theirs"
    assert lake.get(segment_key(1)) != b"theirs"


def test_a_damaged_local_file_is_named_and_stays_here(lake: LocalStorage, store: CountingStorage) -> None:
    data = bytearray(lake.get(segment_key(3)))
    data[7] ^= 1
    write(lake, segment_key(3), bytes(data))
    for _ in range(2):
        report = StorageSync(lake, store, PATHS).run("upload")
        assert report.failure_count == 1
        assert segment_key(3) in report.failures[0]
        assert "damaged" in report.failures[0]
    assert segment_key(3) not in held(store)
    assert len(held(store)) == 5


def test_local_files_go_when_they_are_held_and_old(lake: LocalStorage, store: CountingStorage) -> None:
    clock = FakeClock((OLD + 3600) * 10**9)
    options = {"delete_after_transfer": True, "clock": clock, "is_needed": lambda key: key == segment_key(4)}
    everything = contents(lake)
    assert StorageSync(lake, store, PATHS, keep_local_hours=2, **options).run("upload").deleted.files == 0
    store.put(segment_key(2), b"something else", overwrite=True)  # not what went up: found by asking
    report = StorageSync(lake, store, PATHS, keep_local_hours=1, trust_ledger=True, **options).run("upload")
    assert report.deleted.files == 4
    assert set(contents(lake)) == {segment_key(2), segment_key(4)}
    assert {key: data for key, data in held(store).items() if key != segment_key(2)} == {
        key: data for key, data in everything.items() if key != segment_key(2)
    }


def test_what_was_removed_on_purpose_comes_back_on_request_only(lake: LocalStorage, store: CountingStorage) -> None:
    everything = contents(lake)
    StorageSync(lake, store, PATHS, delete_after_transfer=True, keep_local_hours=0).run("upload")
    assert contents(lake) == {}
    assert StorageSync(lake, store, PATHS).run("both").downloaded.files == 0
    assert StorageSync(lake, store, PATHS).run("download").downloaded.files == 6
    assert contents(lake) == everything
    with Ledger(lake.base_dir) as ledger:
        assert all(entry.verified_at and not entry.deleted_at for entry in ledger.entries())


def test_a_filter_restores_a_part(lake: LocalStorage, store: CountingStorage, tmp_path: Path) -> None:
    StorageSync(lake, store, PATHS).run("upload")
    other = LocalStorage(tmp_path / "other")
    StorageSync(other, store, PATHS, wanted=lambda key: "hour=03" in key).run("download")
    assert list(contents(other)) == [segment_key(3)]
    assert StorageSync(other, store, PATHS).run("download").downloaded.files == 5
    assert StorageSync(other, store, PATHS).run("download").unchanged.files == 6


def test_a_flipped_byte_in_the_store_is_never_taken(lake: LocalStorage, store: CountingStorage, tmp_path: Path) -> None:
    import obstore

    StorageSync(lake, store, PATHS).run("upload")
    data = bytearray(store.get(segment_key(0)))
    data[5] ^= 4
    attributes = {"sha256": store.head(segment_key(0)).sha256 or ""}
    obstore.put(store._store, segment_key(0), bytes(data), attributes=attributes)
    other = LocalStorage(tmp_path / "other")
    report = StorageSync(other, store, PATHS).run("download")
    assert (report.failure_count, report.downloaded.files) == (1, 5)
    assert segment_key(0) in report.failures[0]
    assert not other.local_path(segment_key(0)).exists()
    assert list((other.base_dir / ".sync").iterdir()) == []


@pytest.mark.parametrize("direction", ["upload", "download", "both"])
def test_a_plan_says_what_a_run_does(direction: str, lake: LocalStorage, store: CountingStorage) -> None:
    StorageSync(lake, store, PATHS).run("upload")
    write(lake, SILVER, b"newer", at=1_760_000_000)
    lake.local_path(segment_key(1)).unlink()
    store.delete(segment_key(2))
    before = (contents(lake), held(store))
    moves, foreseen = StorageSync(lake, store, PATHS).plan(direction)  # type: ignore[arg-type]
    assert (contents(lake), held(store)) == before
    done = StorageSync(lake, store, PATHS).run(direction)  # type: ignore[arg-type]
    kinds = Counter(move.kind for move in moves)
    assert kinds == Counter(
        {
            kind: count
            for kind, count in (
                ("upload", done.uploaded.files),
                ("replace", done.replaced.files),
                ("download", done.downloaded.files),
            )
            if count
        }
    )
    assert sum(move.size for move in moves) == done.uploaded.bytes + done.replaced.bytes + done.downloaded.bytes
    assert foreseen.conflict_count == done.conflict_count


def test_one_file_that_fails_does_not_stop_the_others(lake: LocalStorage, store: CountingStorage) -> None:
    store.broken[segment_key(1)] = TransientStorageError("busy")
    report = StorageSync(lake, store, PATHS).run("upload")
    assert (report.failure_count, report.uploaded.files) == (1, 5)
    assert not report.is_clean


def test_what_concerns_all_files_ends_the_run_and_keeps_what_was_done(
    lake: LocalStorage, store: CountingStorage
) -> None:
    store.broken[segment_key(4)] = DeniedError("no right")
    with pytest.raises(DeniedError, match="no right"):
        StorageSync(lake, store, PATHS, workers=1).run("upload")
    store.broken.clear()
    again = StorageSync(lake, store, PATHS).run("upload")
    assert again.uploaded.files + again.adopted.files + again.unchanged.files == 6
    assert held(store) == contents(lake)


def test_a_run_ends_when_told_to(lake: LocalStorage, store: CountingStorage) -> None:
    stop = threading.Event()
    store.on_put = stop.set
    report = StorageSync(lake, store, PATHS, workers=1, stop=stop).run("upload")
    assert report.is_cut_short
    assert 1 <= report.uploaded.files < 6
    assert StorageSync(lake, store, PATHS).run("upload").is_clean
    assert held(store) == contents(lake)


def test_one_sync_at_a_time(lake: LocalStorage, store: CountingStorage) -> None:
    with exclusive(lake.base_dir / LAKE_LOCK, "sync"), pytest.raises(StorageError, match="another sync"):
        StorageSync(lake, store, PATHS).run("upload")
