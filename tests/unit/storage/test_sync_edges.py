"""What a sync does at its edges: plans with removals, full disks, and a compaction between its runs."""

import errno
import os
import threading
from collections import Counter
from pathlib import Path

import pytest

import daedalus.storage.sync as module
from daedalus.ingestion.compaction import Compaction
from daedalus.shared.errors import NotFoundError, StorageError
from daedalus.storage.clouds import MemoryStorage
from daedalus.storage.ledger import LEDGER_NAME, Ledger
from daedalus.storage.local import LocalStorage
from daedalus.storage.lock import LAKE_LOCK, exclusive
from daedalus.storage.sync import StorageSync
from daedalus.storage.sync_report import SyncReport
from daedalus.storage.transfers import Throttle, Transfers
from tests.unit.ingestion.test_compaction import OLD, make_lake, seal_one
from tests.unit.storage.lakes import PATHS, SILVER, contents, segment_key, write
from tests.unit.storage.lakes import make_lake as make_random


def held(store: MemoryStorage) -> set[str]:
    return {info.key for info in store.list()}


def counted(report: SyncReport) -> Counter[str]:
    names = {"upload": "uploaded", "replace": "replaced", "download": "downloaded", "delete": "deleted"}
    return Counter({kind: files for kind, name in names.items() if (files := getattr(report, name).files)})


def test_a_plan_knows_what_is_damaged(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake", journals=2)
    lake, store = LocalStorage(tmp_path / "lake"), MemoryStorage()
    path = lake.local_path(next(info.key for info in lake.list("raw/ready")))
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(bytes(data))
    sync = StorageSync(lake, store, PATHS)
    moves, foreseen = sync.plan("upload")
    done = sync.run("upload")
    assert (foreseen.failure_count, done.failure_count) == (1, 1)
    assert path.name in foreseen.failures[0]
    assert len(moves) == done.uploaded.files


def test_a_disk_that_is_not_mounted_is_not_filled_up_beneath(tmp_path: Path) -> None:
    lake, disk = make_random(tmp_path / "lake", 2), LocalStorage(tmp_path / "disk" / "copy")
    assert StorageSync(lake, disk, PATHS).run("upload").uploaded.files == 3
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    for ask in (StorageSync(lake, disk, PATHS).run, StorageSync(lake, disk, PATHS).plan):
        with pytest.raises(NotFoundError, match="mount its disk"):
            ask("upload")
    assert not (tmp_path / "disk").exists()
    (tmp_path / "disk" / "copy").mkdir(parents=True)
    assert StorageSync(lake, disk, PATHS).run("upload").uploaded.files == 3


@pytest.mark.parametrize("ledger_is_lost", [False, True])
def test_a_plan_knows_what_would_be_removed(ledger_is_lost: bool, tmp_path: Path) -> None:
    lake, store = make_random(tmp_path / "lake", 5), MemoryStorage()
    StorageSync(lake, store, PATHS).run("upload")
    write(lake, SILVER, b"newer", at=1_760_000_000)
    lake.local_path(segment_key(1)).unlink()
    store.delete(segment_key(2))
    if ledger_is_lost:
        (lake.base_dir / LEDGER_NAME).unlink()
    sync = StorageSync(lake, store, PATHS, delete_after_transfer=True)
    moves, foreseen = sync.plan("upload")
    done = sync.run("upload")
    assert Counter(move.kind for move in moves) == counted(done)
    assert sum(m.size for m in moves if m.kind == "delete") == done.deleted.bytes
    assert (foreseen.conflict_count, foreseen.adopted.files) == (done.conflict_count, done.adopted.files)


def test_a_lake_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    sync = StorageSync(LocalStorage(tmp_path / "typo"), MemoryStorage(), PATHS)
    for work in (sync.plan, sync.run):
        with pytest.raises(NotFoundError, match="mounted"):
            work("upload")
    assert sync.plan("download")[0] == []
    assert not (tmp_path / "typo").exists()


def test_a_store_with_other_things_is_listed_by_folder(tmp_path: Path) -> None:
    lake, store = make_random(tmp_path / "lake", 5), MemoryStorage()
    store.put("foreign/thing", b"of somebody else")
    sync = StorageSync(lake, store, PATHS)
    assert sync.run("upload").uploaded.files == 6
    assert sync.run("upload").unchanged.files == 6
    assert StorageSync(LocalStorage(tmp_path / "other"), store, PATHS).run("download").downloaded.files == 6


def test_a_full_disk_ends_a_download_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, store = make_random(tmp_path / "lake", 3), MemoryStorage()
    StorageSync(lake, store, PATHS).run("upload")
    other = LocalStorage(tmp_path / "other")

    def full(temp: Path, final: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "publish", full)
        with pytest.raises(StorageError, match="Make room"):
            StorageSync(other, store, PATHS).run("download")
    assert contents(other) == {}
    StorageSync(other, store, PATHS).run("download")
    assert contents(other) == contents(lake)


def test_jobs_that_wait_do_not_begin_after_the_end_was_called() -> None:
    stop, begun = threading.Event(), list[int]()

    def work(job: int) -> int:
        begun.append(job)
        stop.set()
        return job

    transfers = Transfers[int, int](work, lambda job: 1, workers=1, throttle=Throttle(None), stop=stop)
    assert [job for job, _ in transfers.run(range(50))] == begun == [0]


class DyingStorage(MemoryStorage):
    """Takes the object, then its client's process dies."""

    def put_file(self, key: str, path: Path, **options: object) -> "object":  # type: ignore[override]
        super().put_file(key, path)
        raise KeyboardInterrupt


@pytest.mark.parametrize("ledger", ["kept", "lost", "made anew"])
def test_what_may_have_been_sent_is_not_merged(ledger: str, tmp_path: Path) -> None:
    """A merged segment beside the ones it was made of would double their rows in the store."""
    paths, store = make_lake(tmp_path, journals=2), DyingStorage()
    with pytest.raises(KeyboardInterrupt):
        StorageSync(LocalStorage(tmp_path), store, PATHS, workers=1).run("upload")
    assert held(store)
    if ledger != "kept":
        (tmp_path / LEDGER_NAME).unlink()
    if ledger == "made anew":
        Ledger.rebuild(tmp_path)
    assert list(Compaction(paths, OLD).run()) == []


def test_adopted_copies_are_not_merged_and_later_segments_are(tmp_path: Path) -> None:
    paths, store = make_lake(tmp_path, journals=2), MemoryStorage()
    StorageSync(LocalStorage(tmp_path), store, PATHS).run("upload")
    before = held(store)
    (tmp_path / LEDGER_NAME).unlink()
    StorageSync(LocalStorage(tmp_path), store, PATHS).run("upload")
    for number in (5, 6):
        seal_one(paths, number)
    assert all(outcome.segments == 2 for outcome in Compaction(paths, OLD).run())
    StorageSync(LocalStorage(tmp_path), store, PATHS).run("upload")
    assert before < held(store) == contents(LocalStorage(tmp_path)).keys()


def test_a_sync_and_a_compaction_exclude_each_other(tmp_path: Path) -> None:
    paths = make_lake(tmp_path, journals=2)
    with exclusive(tmp_path / LAKE_LOCK, "sync"), pytest.raises(StorageError, match="sync or compaction"):
        list(Compaction(paths, OLD).run())


def test_a_compaction_on_a_full_disk_leaves_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_lake(tmp_path, journals=2)
    before = contents(LocalStorage(tmp_path))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("daedalus.ingestion.compaction.sync_file", full)
    outcomes = list(Compaction(paths, OLD).run())
    assert outcomes
    assert all("Make room" in (outcome.problem or "") for outcome in outcomes)
    assert contents(LocalStorage(tmp_path)) == before
    assert not list((tmp_path / "raw" / "compacting").iterdir())


def test_a_ledger_of_the_first_version_learns_of_copies(tmp_path: Path) -> None:
    lake, store = make_random(tmp_path / "lake", 3), MemoryStorage()
    with Ledger(lake.base_dir) as ledger, ledger.transaction() as db:
        db.execute("DROP TABLE copies")
        db.execute("PRAGMA user_version = 1")
    assert StorageSync(lake, store, PATHS).run("upload").uploaded.files == 4
    with Ledger(lake.base_dir) as ledger:
        assert all(entry.verified_at for entry in ledger.entries())
