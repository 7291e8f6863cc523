"""A partition of several files is replaced by one: whatever interrupts it, a reader sees the old rows or the new."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from daedalus.etl.core import replacing
from daedalus.etl.core.writing import FileFormat, OutputWriter
from daedalus.shared.errors import StorageError
from daedalus.shared.filters import FilterSpec
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS
from daedalus.storage.base import Place, Storage
from daedalus.storage.clouds import S3Storage
from daedalus.storage.local import LocalStorage
from daedalus.storage.partitions import find_partitions
from daedalus.storage.reader import open_object
from daedalus.testing.s3_server import S3Server
from tests.unit.etl.core.bronze import T0, S
from tests.unit.etl.core.test_writing import MARKET, OUTPUT, rows

OLD, NEW = [T0, T0 + S, T0 + 2 * S], [T0 + 5, T0 + 7 * S]


def write(store: Storage, times: list[int], mode: str = "overwrite_partition") -> None:
    form = FileFormat(tuple(DEFAULT_PARTITION_COLUMNS), "zstd", 1, mode)  # type: ignore[arg-type]
    out = OutputWriter(Place(store) / "table", OUTPUT, MARKET, form, lambda key: True, lambda written: None)
    try:
        out.add(rows(times))
        out.finish()
    finally:
        out.discard()


def append_all(store: Storage) -> None:
    write(store, OLD[:1])
    for at in OLD[1:]:
        write(store, [at], "append")


def seen(store: Storage) -> list[int]:
    """Return what a reader finds."""
    (partition,) = find_partitions(Place(store) / "table", FilterSpec())
    files = [pq.ParquetFile(place.local_path or open_object(place)) for place in partition.segments()]
    return sorted(at for file in files for at in file.read(["at"])["at"].to_pylist())


def names(store: Storage) -> list[str]:
    return sorted(info.key.rpartition("/")[2] for info in store.list("table"))


class Killed(BaseException):
    """The process dies here."""


def dying(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, before: bool) -> None:
    real = getattr(owner, name)

    def die(*args: object, **kwargs: object) -> None:
        if not before:
            real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(owner, name, die)


@pytest.mark.parametrize("step", ["sync_file", "exchange", "shutil.rmtree"])
@pytest.mark.parametrize("before", [True, False])
def test_on_a_disk_the_folder_is_exchanged(
    tmp_path: Path, step: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStorage(tmp_path)
    append_all(store)
    (partition,) = find_partitions(Place(store) / "table", FilterSpec())
    other = tmp_path / partition.path.key / "notes.txt"
    other.write_text("stays")
    with monkeypatch.context() as patch:
        owner, _, name = step.rpartition(".")
        dying(patch, shutil if owner else replacing, name, before)
        with pytest.raises(Killed):
            write(store, NEW)
    is_early = step == "sync_file" or (step == "exchange" and before)
    assert seen(store) == (OLD if is_early else NEW)
    write(store, NEW)
    assert seen(store) == NEW and names(store) == ["notes.txt", "rows.parquet"]
    assert list((tmp_path / ".replacing").glob("*")) == []
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_rerun_into_equal_bytes_leaves_the_file_that_is_there(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path)
    write(store, OLD)
    (file,) = tmp_path.rglob("rows.parquet")
    before = file.stat()
    write(store, OLD)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(tmp_path.rglob("*.tmp")) == []
    write(store, [at + 1 for at in OLD])
    assert file.stat().st_ino != before.st_ino and seen(store) == [at + 1 for at in OLD]


def test_a_listing_begun_before_the_exchange_sees_all_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStorage(tmp_path)
    append_all(store)
    (partition,) = find_partitions(Place(store) / "table", FilterSpec())
    folder, real, listing = tmp_path / partition.path.key, replacing.exchange, list[Iterator[os.DirEntry[str]]]()

    def begun(first: Path, second: Path) -> None:
        listing.append(os.scandir(folder))
        real(first, second)
        assert [path.name for path in folder.iterdir()] == ["rows.parquet"]

    waited = list[int]()
    monkeypatch.setattr(replacing, "exchange", begun)
    monkeypatch.setattr(
        replacing.time, "sleep", lambda _: waited.append(sum(e.name.endswith(".parquet") for e in listing[0]))
    )
    write(store, NEW)
    assert waited == [3] and seen(store) == NEW


@pytest.mark.parametrize("kind", ["s3", "no exchange"])
def test_elsewhere_the_footer_tells_what_no_longer_counts(
    tmp_path: Path, s3_server: S3Server, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Storage = LocalStorage(tmp_path)
    if kind == "s3":
        store = S3Storage(**s3_server.options(secrets.token_hex(6)))  # type: ignore[arg-type]
    else:
        monkeypatch.setattr(replacing, "exchange", _cannot)
    append_all(store)
    assert seen(store) == OLD
    with monkeypatch.context() as patch:
        dying(patch, type(store), "delete", before=True)
        with pytest.raises(Killed):
            write(store, NEW)
    assert len(names(store)) == 3, "the old files are still there"
    assert seen(store) == NEW
    write(store, [OLD[1]], "append")
    assert seen(store) == sorted([*NEW, OLD[1]]), "rows appended later count, also under times that were replaced"
    write(store, [OLD[1]], "append")
    assert seen(store) == sorted([*NEW, OLD[1]]), "and replace themselves"
    write(store, NEW)
    assert names(store) == ["rows.parquet"] and seen(store) == NEW


def _cannot(*_: Callable[..., object]) -> None:
    raise StorageError("the file system cannot exchange two directories")
