"""What every store promises, whichever it is."""

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daedalus.shared.errors import AlreadyExistsError, CorruptError, NotFoundError, StorageError
from daedalus.storage import factory
from daedalus.storage.base import Storage
from daedalus.storage.clouds import AzureStorage, MemoryStorage, S3Storage
from daedalus.storage.local import LocalStorage
from daedalus.storage.retry import RetryPolicy
from daedalus.testing import azure_server
from daedalus.testing.s3_server import S3Server

QUICK = RetryPolicy(attempts=3, first_wait_s=0.01, longest_wait_s=0.1)
KEY = "raw/ready/coinbase/trades/exchange=coinbase/symbol=BTC-USD/year=2025/segment_1.parquet"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def s3(request: pytest.FixtureRequest, **options: int) -> Storage:
    server: S3Server = request.getfixturevalue("s3_server")
    return S3Storage(**server.options(f"conformance/{secrets.token_hex(6)}"), policy=QUICK, **options)


def s3_in_parts(request: pytest.FixtureRequest) -> Storage:
    """Everything but the smallest goes up in parts."""
    return s3(request, multipart_bytes=4)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with azure_server.running(tmp_path_factory.mktemp("azurite")) as options:
        yield options


def azure(request: pytest.FixtureRequest) -> Storage:
    options: dict[str, str] = request.getfixturevalue("azurite")
    return AzureStorage(**options, prefix=f"conformance/{secrets.token_hex(6)}", policy=QUICK)


#: All backends that can run here. Being listed is being tested.
BACKENDS: dict[str, Callable[[pytest.FixtureRequest], Storage]] = {
    "local": lambda request: LocalStorage(request.getfixturevalue("tmp_path") / "lake"),
    "memory": lambda request: MemoryStorage(),
    "s3": s3,
    "s3 in parts": s3_in_parts,
    "azure": azure,
}
RUNNING = [name for name in BACKENDS if name != "azure" or azure_server.binary() is not None]


def test_every_backend_is_tried_and_all_but_these_ran(request: pytest.FixtureRequest) -> None:
    """Google's has no server to run here, so that only its errors are tested (unit/storage)."""
    assert {name.partition(" ")[0] for name in BACKENDS} == set(factory.BACKENDS) - {"gcs"}
    for name in RUNNING:
        store = BACKENDS[name](request)
        store.put("ran", b"1")
        assert store.get("ran") == b"1", name
    if "azure" not in RUNNING:
        pytest.skip("all but azure ran: no azurite-blob on the path (`npm install --global azurite`, a minute, 190 MB)")


@pytest.fixture(params=RUNNING)
def storage(request: pytest.FixtureRequest) -> Storage:
    return BACKENDS[request.param](request)


def keys(storage: Storage, prefix: str = "", after: str | None = None) -> list[str]:
    return [info.key for info in storage.list(prefix, after=after)]


def test_what_is_put_is_what_is_got(storage: Storage) -> None:
    put = storage.put(KEY, b"0123456789")
    assert (put.key, put.size, put.sha256) == (KEY, 10, sha256(b"0123456789"))
    assert storage.get(KEY) == b"0123456789"
    assert storage.digest(KEY) == sha256(b"0123456789")
    head = storage.head(KEY)
    assert (head.key, head.size) == (KEY, 10)
    assert head.sha256 in (None, sha256(b"0123456789"))
    assert (head.sha256 is None) == (storage.local_path(KEY) is not None)


def test_an_empty_object(storage: Storage) -> None:
    storage.put(KEY, b"")
    assert (storage.get(KEY), storage.head(KEY).size, keys(storage)) == (b"", 0, [KEY])
    assert storage.get(KEY, start=3, length=4) == b""


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 4, b"0123"), (3, 4, b"3456"), (8, 9, b"89"), (10, 1, b""), (99, 1, b""), (4, None, b"456789"), (2, 0, b"")],
)
def test_ranges(storage: Storage, start: int, length: int | None, expected: bytes) -> None:
    storage.put(KEY, b"0123456789")
    assert storage.get(KEY, start=start, length=length) == expected


def test_other_bytes_are_refused_and_equal_ones_are_a_success(storage: Storage) -> None:
    storage.put(KEY, b"first")
    assert storage.put(KEY, b"first").sha256 == sha256(b"first")
    with pytest.raises(AlreadyExistsError, match=r"segment_1\.parquet"):
        storage.put(KEY, b"other")
    assert storage.get(KEY) == b"first"
    storage.put(KEY, b"other", overwrite=True)
    assert (storage.get(KEY), storage.digest(KEY)) == (b"other", sha256(b"other"))


def test_of_many_at_once_one_wins(storage: Storage) -> None:
    won: list[bytes] = []

    def put(data: bytes) -> None:
        try:
            storage.put(KEY, data)
        except AlreadyExistsError:
            return
        won.append(data)

    threads = [threading.Thread(target=put, args=(bytes([n]) * 50_000,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [storage.get(KEY)] == won
    assert keys(storage) == [KEY]


def test_files_go_up_and_come_down(storage: Storage, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    source.write_bytes(b"x" * 3_000_000)
    put = storage.put_file(KEY, source, sha256=sha256(source.read_bytes()))
    assert (put.size, put.sha256) == (3_000_000, sha256(source.read_bytes()))
    got = storage.get_file(KEY, target)
    assert (got.key, got.size, got.sha256) == (KEY, 3_000_000, put.sha256)
    assert target.read_bytes() == source.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_file_is_put_once(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"first")
    storage.put_file(KEY, source)
    storage.put_file(KEY, source)
    source.write_bytes(b"other")
    with pytest.raises(AlreadyExistsError):
        storage.put_file(KEY, source)
    assert storage.get(KEY) == b"first"
    storage.put_file(KEY, source, overwrite=True)
    assert storage.get(KEY) == b"other"


def test_a_file_with_other_bytes_than_it_should_have_is_not_put(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"damaged")
    with pytest.raises(CorruptError):
        storage.put_file(KEY, source, sha256=sha256(b"whole"))
    assert keys(storage) == []


def test_an_object_with_other_bytes_than_it_should_have_is_not_got(storage: Storage, tmp_path: Path) -> None:
    storage.put(KEY, b"damaged")
    with pytest.raises(CorruptError):
        storage.get_file(KEY, tmp_path / "new" / "target", sha256=sha256(b"whole"))
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_that_is_there_is_not_overwritten(storage: Storage, tmp_path: Path) -> None:
    storage.put(KEY, b"theirs")
    (tmp_path / "target").write_bytes(b"mine")
    with pytest.raises(AlreadyExistsError, match="target"):
        storage.get_file(KEY, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"mine"
    storage.get_file(KEY, tmp_path / "target", overwrite=True)
    assert storage.get_file(KEY, tmp_path / "target").sha256 == sha256(b"theirs")


def test_missing_is_said_so(storage: Storage, tmp_path: Path) -> None:
    storage.put("a/b", b"1")
    for key in ("nothing", "a", "a/b/c"):
        for call in (storage.get, storage.head, storage.digest, lambda key: storage.get_file(key, tmp_path / "t")):
            with pytest.raises(NotFoundError):
                call(key)
        storage.delete(key)
    with pytest.raises(NotFoundError):
        storage.put_file("c", tmp_path / "no such file")
    assert keys(storage) == ["a/b"]
    assert keys(storage, "nothing") == []
    assert storage.folders("nothing") == []


def test_deleted_is_gone(storage: Storage) -> None:
    storage.put("a/b", b"1")
    storage.put("a/c", b"1")
    storage.delete("a/b")
    storage.delete("a/b")
    assert keys(storage) == ["a/c"]


def test_listings_go_by_whole_parts(storage: Storage) -> None:
    there = ["a/b", "ab/c", "a/d/e", "f"]
    for key in there:
        storage.put(key, key.encode())
    assert sorted(keys(storage)) == sorted(there)
    assert sorted(keys(storage, "a")) == ["a/b", "a/d/e"]
    assert keys(storage, "a/d") == ["a/d/e"]
    assert keys(storage, "f") == []
    assert list(storage.folders()) == ["a", "ab"]
    assert list(storage.folders("a")) == ["d"]
    (info,) = storage.list("a/d")
    assert (info.size, info.modified_at > 10**18) == (5, True)


def test_listings_go_on_behind_any_key(storage: Storage) -> None:
    names = [f"{folder}/{n}" for folder in ("a", "a-b", "a.b", "a=b", "b/c/d") for n in range(3)]
    for name in names:
        storage.put(f"x/{name}", b"1")
    whole = keys(storage, "x")
    assert sorted(whole) == sorted(f"x/{name}" for name in names)
    for at, key in enumerate(whole):
        assert keys(storage, "x", key) == whole[at + 1 :]


def test_unfinished_files_are_not_listed(storage: Storage, tmp_path: Path) -> None:
    storage.put("a/b", b"1")
    path = storage.local_path("a/b")
    if path is not None:
        (path.parent / "c.tmp").write_bytes(b"half")
    with pytest.raises(StorageError, match=r"\.tmp"):
        storage.put("a/c.tmp", b"1")
    assert keys(storage) == ["a/b"]


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "./a", "a\\b", "a\nb", "a" * 256, "a/" * 600 + "a"])
def test_what_is_no_key_is_refused(storage: Storage, key: str) -> None:
    for call in (storage.get, storage.delete, lambda key: storage.put(key, b"1")):
        with pytest.raises(StorageError, match=r"is no key|is too long"):
            call(key)


@pytest.mark.parametrize(
    "key", ["symbol=BTC%2FUSD/a", "a b/c+d", "é/ü", "a#b?c&d=e", "100%", "a'b\"c", "~a/$b,c;d@e", "*"]
)
def test_any_name_comes_back_as_it_was(storage: Storage, key: str) -> None:
    storage.put(key, b"1")
    assert storage.get(key) == b"1"
    assert keys(storage) == [key]
    storage.delete(key)
    assert keys(storage) == []
