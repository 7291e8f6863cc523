"""The recorder's policy of docs/STORAGE.md on a real server: enough for all that it does, and no more."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from daedalus.shared.errors import DeniedError, NotFoundError
from daedalus.storage.clouds import S3Storage
from daedalus.storage.retry import RetryPolicy
from daedalus.testing import s3_server
from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "STORAGE.md").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.S3Server]:
    folder = tmp_path_factory.mktemp("rights")
    policy = re.findall(r"```json\n(.*?)```", GUIDE, flags=re.DOTALL)[0].replace("my-lake", s3_server.BUCKET)
    keys = {"accessKey": s3_server.ACCESS_KEY, "secretKey": s3_server.SECRET_KEY}
    recorder = {"name": "recorder", "credentials": [keys], "policyNames": ["recorder"]}
    owner = {"name": "owner", "credentials": [{"accessKey": "owner", "secretKey": "owners-key"}], "actions": ["Admin"]}
    config = {"identities": [owner, recorder], "policies": [{"name": "recorder", "content": policy}]}
    (folder / "identities.json").write_text(json.dumps(config))
    with s3_server.running(folder, folder / "identities.json") as server:
        # The bucket is made by the first put of somebody who may.
        owned(server).put("made", b"1")
        yield server


def owned(server: s3_server.S3Server) -> S3Storage:
    return store(server, "", access_key_id="owner", secret_access_key="owners-key")


def store(server: s3_server.S3Server, prefix: str, **options: object) -> S3Storage:
    place: dict[str, object] = {
        **server.options(prefix),
        "policy": RetryPolicy(attempts=2, first_wait_s=0.1),
        **options,
    }
    return S3Storage(**place)  # type: ignore[arg-type]


def test_a_recorder_can_do_what_it_does(server: s3_server.S3Server, tmp_path: Path) -> None:
    lake = store(server, "pi-4", multipart_bytes=1000)
    (tmp_path / "large").write_bytes(b"x" * 2000)
    lake.put("raw/ready/a", b"1")
    lake.put_file("raw/ready/large", tmp_path / "large")
    assert lake.get("raw/ready/a") == b"1"
    assert lake.head("raw/ready/large").size == 2000
    assert [info.key for info in lake.list()] == ["raw/ready/a", "raw/ready/large"]
    assert list(lake.folders()) == ["raw"]
    with pytest.raises(NotFoundError):
        lake.head("raw/ready/missing")
    # Not by our own listing, which would hide them.
    assert not [meta for page in obstore.list(owned(server)._store, "pi-4/.uploads") for meta in page]


def test_a_recorder_can_do_no_more(server: s3_server.S3Server) -> None:
    owner = owned(server)
    owner.put("pi-4/raw/ready/kept", b"1")
    owner.put("pi-5/raw/ready/other", b"1")
    lake, other = store(server, "pi-4"), store(server, "pi-5")
    with pytest.raises(DeniedError, match=r"s3://lake/pi-4/raw/ready/kept: .*lack the right"):
        lake.delete("raw/ready/kept")
    for call in (
        other.get,
        other.head,
        other.delete,
        lambda key: other.put("new", b"1"),
        lambda key: list(other.list()),
    ):
        with pytest.raises(DeniedError):
            call("raw/ready/other")
    assert owner.get("pi-4/raw/ready/kept") == b"1"
