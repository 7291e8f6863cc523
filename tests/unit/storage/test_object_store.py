"""What object stores do beyond the contract: bounded memory, sums by hand, replacing large files."""

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest

from daedalus.shared.errors import AlreadyExistsError, ConfigError, CorruptError
from daedalus.storage import object_store
from daedalus.storage.clouds import MemoryStorage, S3Storage


class Counting(MemoryStorage):
    """Counts how many uploads are under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self._lock, self._now, self.most = threading.Lock(), 0, 0

    def _upload(self, key: str, data: bytes, sha256: str, *, overwrite: bool) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.01)
        super()._upload(key, data, sha256, overwrite=overwrite)
        with self._lock:
            self._now -= 1


@pytest.mark.parametrize(("size", "most"), [(11, object_store.LARGE_AT_ONCE), (10, 8)])
def test_few_large_files_are_in_memory_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, most: int
) -> None:
    monkeypatch.setattr(object_store, "PART_BYTES", 10)
    (tmp_path / "file").write_bytes(b"x" * size)
    store = Counting()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.put_file(f"{n}", tmp_path / "file"), range(16)))
    assert 1 < store.most <= most
    assert len(list(store.list())) == 16


def test_objects_of_other_programs_are_compared_by_their_bytes() -> None:
    store = MemoryStorage()
    obstore.put(store._store, "a", b"theirs")
    assert store.head("a").sha256 is None
    store.put("a", b"theirs")
    with pytest.raises(AlreadyExistsError):
        store.put("a", b"ours")
    assert store.get("a") == b"theirs"


def test_a_large_file_that_changes_while_it_is_read_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before" * 100)
    pieces = object_store.file_pieces
    monkeypatch.setattr(object_store, "file_pieces", lambda p: path.write_bytes(b"after") and pieces(p))
    store = MemoryStorage()
    store._multipart_bytes = 10
    with pytest.raises(CorruptError, match="changed while it was read"):
        store.put_file("a", path)
    assert [meta for page in obstore.list(store._store) for meta in page] == [], "nothing is left aside either"


def test_a_store_goes_to_another_process_by_what_it_was_made_from() -> None:
    store = S3Storage("lake", prefix="pi", region="eu-west-1", access_key_id="a", secret_access_key="b")
    again = pickle.loads(pickle.dumps(store))
    assert (again.url, again.scan_options()) == (store.url, store.scan_options())
    with pytest.raises(ConfigError, match="of one process"):
        pickle.dumps(MemoryStorage())
