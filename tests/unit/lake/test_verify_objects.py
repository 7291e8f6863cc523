"""Verify in an object store finds what it finds on a disk, and names it by its address."""

import json
import secrets
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daedalus.cli.main import app
from daedalus.lake.verify import Checked
from daedalus.lake.verify_objects import ObjectCheck
from daedalus.shared.errors import NotFoundError
from daedalus.storage.base import Place
from daedalus.storage.clouds import MemoryStorage, S3Storage
from daedalus.testing.s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.unit.lake.test_verify import record


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("recorded")
    record(base)
    return base


def copied(base: Path, store: MemoryStorage | S3Storage, prefix: str = "") -> list[str]:
    keys = [path.relative_to(base).as_posix() for path in sorted(base.glob("raw/ready/**/*.parquet"))]
    for key in keys:
        store.put_file(prefix + key, base / key)
    return keys


def check(root: Place) -> list[Checked]:
    return list(ObjectCheck(root).run())


def test_a_lake_that_was_copied_is_whole(recorded: Path) -> None:
    store = MemoryStorage()
    keys = copied(recorded, store)
    checked = check(Place(store))
    assert sorted(one.path or "" for one in checked) == [f"memory:/{key}" for key in keys]
    assert not [finding for one in checked for finding in one.findings]
    assert sum(one.rows for one in checked) > 1000


def test_one_segment_or_a_folder_of_it(recorded: Path) -> None:
    store = MemoryStorage()
    keys = copied(recorded, store)
    (one,) = check(Place(store, keys[0]))
    assert (one.path, one.findings) == (f"memory:/{keys[0]}", [])
    folder = keys[0].rpartition("/")[0]
    assert len(check(Place(store, folder))) == sum(key.startswith(folder) for key in keys)
    with pytest.raises(NotFoundError, match="there are no segments at memory:/nowhere"):
        ObjectCheck(Place(store, "nowhere"))


def test_other_bytes_under_the_recorded_checksum(recorded: Path) -> None:
    import obstore

    store = MemoryStorage()
    keys = copied(recorded, store)
    info, data = store.head(keys[0]), bytearray(store.get(keys[0]))
    data[len(data) // 2] ^= 1
    # As if a disk of the store had flipped a bit: the recorded checksum stays.
    obstore.put(store._store, keys[0], bytes(data), attributes={"sha256": info.sha256 or ""})
    (finding,) = [finding for one in check(Place(store)) for finding in one.findings]
    assert (finding.path, finding.what) == (f"memory:/{keys[0]}", "its bytes are not those that were put")


def test_a_segment_in_the_wrong_folder(recorded: Path) -> None:
    store = MemoryStorage()
    key = copied(recorded, store)[0]
    moved = key.replace("hour=13", "hour=12").replace("hour=14", "hour=12")
    store.put(moved, store.get(key))
    store.delete(key)
    findings = [finding for one in check(Place(store)) for finding in one.findings]
    assert findings
    assert {finding.path for finding in findings} == {f"memory:/{moved}"}


def test_through_the_command_line(recorded: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = f"verify/{secrets.token_hex(6)}"
    keys = copied(recorded, S3Storage(**s3_server.options(prefix)))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    endpoint = ["--set", f"storage.etl_storage_input.s3.endpoint_url={s3_server.endpoint_url}"]
    folder = keys[0].rpartition("/")[0]
    for place, count in ((f"s3://lake/{prefix}", len(keys)), (f"s3://lake/{prefix}/{folder}", None)):
        result = CliRunner().invoke(app, ["verify", place, "--json", *endpoint])
        told = json.loads(result.stdout)
        assert (result.exit_code, told["ok"], told["root"]) == (0, True, place), result.stdout
        assert count is None or told["segments"] == count
    result = CliRunner().invoke(app, ["verify", f"s3://lake/{prefix}", "--strict", *endpoint])
    assert result.exit_code != 0
