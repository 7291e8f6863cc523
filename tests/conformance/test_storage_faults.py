"""A store behind a network that fails: what is reported done is done, and nothing is done by half."""

import hashlib
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daedalus.shared.errors import DeniedError, NotFoundError, TransientStorageError
from daedalus.storage.clouds import S3Storage
from daedalus.storage.retry import RetryPolicy
from daedalus.testing.fault_proxy import FAULTS, FaultProxy
from daedalus.testing.s3_server import S3Server

PATIENT = RetryPolicy(attempts=8, first_wait_s=0.005, longest_wait_s=0.05, timeout_s=5, connect_timeout_s=2)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url, seed=7, delay_s=0.01) as proxy:
        yield proxy


def through(proxy: FaultProxy, server: S3Server, policy: RetryPolicy = PATIENT, **options: int) -> S3Storage:
    place = server.options(f"faults/{secrets.token_hex(6)}") | {"endpoint_url": proxy.endpoint_url}
    return S3Storage(**place, policy=policy, **options)


def body(n: int) -> bytes:
    return hashlib.sha256(str(n).encode()).digest() * (200 + n)


def test_the_proxy_passes_everything_on(proxy: FaultProxy, s3_server: S3Server, tmp_path: Path) -> None:
    store = through(proxy, s3_server)
    store.put("a=b/c d", b"x" * 1000)
    assert store.get("a=b/c d", start=10, length=5) == b"xxxxx"
    assert store.head("a=b/c d").sha256 == hashlib.sha256(b"x" * 1000).hexdigest()
    assert [info.key for info in store.list("a=b")] == ["a=b/c d"]
    store.delete("a=b/c d")
    assert proxy.requests == {"PUT": 1, "GET": 1, "HEAD": 1, "LIST": 1, "DELETE": 1}
    assert not proxy.spoilt


@pytest.mark.parametrize("multipart_bytes", [64 << 20, 1])
def test_all_arrives_when_a_third_of_the_requests_fails(
    proxy: FaultProxy, s3_server: S3Server, tmp_path: Path, multipart_bytes: int
) -> None:
    store = through(proxy, s3_server, multipart_bytes=multipart_bytes)
    proxy.share = 0.3
    numbers = range(60 if multipart_bytes > 1 else 12)

    def up(n: int) -> None:
        path = tmp_path / f"{n}.up"
        path.write_bytes(body(n))
        store.put_file(f"x/{n:03}", path)

    def down(n: int) -> bytes:
        store.get_file(f"x/{n:03}", tmp_path / f"{n}.down")
        return (tmp_path / f"{n}.down").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(up, numbers))
        assert sorted(info.key for info in store.list("x")) == [f"x/{n:03}" for n in numbers]
        assert list(pool.map(down, numbers)) == [body(n) for n in numbers]
        assert all(store.digest(f"x/{n:03}") == store.head(f"x/{n:03}").sha256 for n in numbers)
        list(pool.map(lambda n: store.delete(f"x/{n:03}"), numbers))
    proxy.share = 0.0
    assert list(store.list("x")) == []
    assert not list(tmp_path.glob("*.tmp"))
    if multipart_bytes > 1:
        assert set(proxy.spoilt) == set(FAULTS)


def test_a_lost_answer_to_a_put_is_no_conflict(s3_server: S3Server) -> None:
    with FaultProxy(s3_server.endpoint_url, seed=1, share=0.5, faults=("lose",)) as proxy:
        store = through(proxy, s3_server)
        for n in range(20):
            store.put(f"{n}", body(n))
        assert proxy.spoilt["lose"] > 5


def test_a_listing_goes_on_where_it_was_cut(proxy: FaultProxy, s3_server: S3Server) -> None:
    store = through(proxy, s3_server)
    keys = [f"many/{n:05}" for n in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b"1"), keys))
    proxy.requests.clear()
    assert [info.key for info in store.list("many")] == keys
    assert proxy.requests == {"LIST": 2}
    proxy.share = 0.6
    assert [info.key for info in store.list("many")] == keys


def test_without_a_network_it_gives_up_and_says_so(proxy: FaultProxy, s3_server: S3Server, tmp_path: Path) -> None:
    store = through(proxy, s3_server, RetryPolicy(attempts=2, first_wait_s=0.001, longest_wait_s=0.01))
    store.put("a", b"1")
    proxy.is_down = True
    for call in (store.get, store.head, store.delete, store.digest, lambda key: list(store.list(key))):
        with pytest.raises(TransientStorageError, match=r"s3://lake/faults/.*tried again"):
            call("a")
    with pytest.raises(TransientStorageError):
        store.get_file("a", tmp_path / "target")
    assert not (tmp_path / "target").exists()
    proxy.is_down = False
    assert store.get("a") == b"1"
    with pytest.raises(NotFoundError):
        store.get("b")


def test_denied_is_not_missing(s3_server: S3Server) -> None:
    S3Storage(**s3_server.options("denied"), policy=PATIENT).put("there", b"1")
    for wrong in ({"secret_access_key": "other"}, {"access_key_id": "other"}):
        store = S3Storage(**s3_server.options("denied") | wrong, policy=PATIENT)
        for key in ("there", "missing"):
            for call in (store.get, store.head, store.delete, store.digest, store.folders):
                with pytest.raises(DeniedError):
                    call(key)
            with pytest.raises(DeniedError, match="does not know these credentials"):
                store.put(key, b"2")
            with pytest.raises(DeniedError):
                list(store.list(key))


def test_a_slow_store_is_not_waited_for_without_end(s3_server: S3Server) -> None:
    with FaultProxy(s3_server.endpoint_url, share=1.0, faults=("delay",), delay_s=30) as proxy:
        store = through(proxy, s3_server, RetryPolicy(attempts=1, timeout_s=0.2))
        with pytest.raises(TransientStorageError, match="took too long"):
            store.head("a")
        with pytest.raises(TransientStorageError, match="took too long"):
            store.put("a", b"1")
