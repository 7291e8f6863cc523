"""The local store on a disk that refuses, and what a kill leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daedalus.shared.errors import DeniedError, NotFoundError, StorageError
from daedalus.storage.local import LocalStorage
from tests.simulation.mounts import mounted


def test_a_full_disk_says_so_and_is_left_as_it_was(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=256k", "tmpfs", target=tmp_path / "small") as small:
        store = LocalStorage(small)
        store.put("a/first", b"1" * 1000)
        with pytest.raises(StorageError, match=r"a/second: No space left on device. Make room"):
            store.put("a/second", bytes(1 << 20))
        (tmp_path / "large").write_bytes(bytes(1 << 20))
        with pytest.raises(StorageError, match="Make room"):
            store.put_file("a/third", tmp_path / "large")
        assert [path.name for path in (small / "a").iterdir()] == ["first"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_directory_without_the_right_is_denied_not_missing(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path)
    store.put("a/b", b"1")
    (tmp_path / "a").chmod(0)
    try:
        for call in (store.get, store.head, store.delete, lambda key: store.put(key, b"2")):
            with pytest.raises(DeniedError, match="Give the user"):
                call("a/b")
    finally:
        (tmp_path / "a").chmod(0o700)


def test_a_read_only_disk_is_denied(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=64k,ro", "tmpfs", target=tmp_path / "fixed") as fixed:
        store = LocalStorage(fixed)
        with pytest.raises(DeniedError, match="Read-only file system"):
            store.put("a", b"1")
        with pytest.raises(NotFoundError):
            store.get("a")


def test_a_folder_in_the_way_is_no_object(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path)
    store.put("a/b", b"1")
    with pytest.raises(StorageError):
        store.put("a", b"2", overwrite=True)
    assert [info.key for info in store.list()] == ["a/b"]


def test_what_is_killed_leaves_whole_objects_alone(tmp_path: Path) -> None:
    script = (
        "import itertools, sys; from pathlib import Path; from daedalus.storage.local import LocalStorage\n"
        "store = LocalStorage(Path(sys.argv[1]))\n"
        "for n in itertools.count():\n"
        "    store.put(f'x/{n:06}', bytes([n % 256]) * 300_000); print(n, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(5):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    store = LocalStorage(tmp_path)
    keys = [info.key for info in store.list("x")]
    assert len(keys) > last
    assert all(store.get(key) == bytes([int(key[2:]) % 256]) * 300_000 for key in keys)
