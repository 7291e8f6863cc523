"""`daedalus sync` against a real S3 server, through the command line."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daedalus.storage.clouds import S3Storage
from daedalus.storage.local import LocalStorage
from daedalus.testing.fault_proxy import FaultProxy
from daedalus.testing.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server
from tests.unit.ingestion.test_compaction import make_lake as make_bronze
from tests.unit.storage.lakes import OLD, SILVER, contents, make_lake, segment_key, write

ROOT = Path(__file__).parent.parent.parent
QUICK = ("--set", "storage.requests.attempts=12", "--set", "storage.requests.wait_seconds_max=0.2")


@pytest.fixture
def prefix() -> str:
    return f"sync/{secrets.token_hex(6)}"


def environment(endpoint: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
    return {**os.environ, **keys, "DAEDALUS__STORAGE__SYNC__DESTINATION__S3__ENDPOINT_URL": endpoint}


def command(base: Path, prefix: str, *options: str) -> list[str]:
    script = [sys.executable, str(ROOT / "scripts" / "run_sync.py")]
    state = ["--set", f"storage.paths.state_dir={base.parent / 'state'}"]
    return [*script, "--source", str(base), "--destination", f"s3://{BUCKET}/{prefix}", *state, *QUICK, *options]


def run(endpoint: str, base: Path, prefix: str, *options: str, code: int = 0) -> str:
    done = subprocess.run(
        command(base, prefix, *options), env=environment(endpoint), cwd=base.parent, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert SECRET_KEY not in done.stdout + done.stderr
    return done.stdout + done.stderr


def held(server: S3Server, prefix: str) -> dict[str, bytes]:
    store = S3Storage(**server.options(prefix))
    return {info.key: store.get(info.key) for info in store.list()}


def test_up_verified_removed_and_restored(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake", 60, size=2000, silver=False)
    everything, url = contents(lake), s3_server.endpoint_url
    plan = run(url, lake.base_dir, prefix, "--dry-run")
    assert "would move 60 files, 120,000 bytes" in plan
    assert "6,000 rows" in plan
    assert "uploaded          60 files          120,000 bytes" in run(url, lake.base_dir, prefix)
    assert held(s3_server, prefix) == everything
    with FaultProxy(url) as proxy:
        run(proxy.endpoint_url, lake.base_dir, prefix)
        assert (proxy.requests["PUT"], proxy.requests["HEAD"]) == (0, 0)
        assert proxy.requests["LIST"] == 1
        run(proxy.endpoint_url, lake.base_dir, prefix, "--trust-ledger")
        assert proxy.requests["LIST"] == 1
        gone = run(proxy.endpoint_url, lake.base_dir, prefix, "--delete-after-transfer")
    assert "deleted           60 files" in gone
    assert contents(lake) == {}
    run(url, lake.base_dir, prefix, "--direction", "download", "--symbol", "BTC/USD", "--from", "2025-06-19T20:00")
    assert set(contents(lake)) == {key for key in everything if int(key.split("hour=")[1][:2]) >= 20}
    run(url, tmp_path / "other", prefix, "--direction", "download")
    assert contents(LocalStorage(tmp_path / "other")) == everything


def test_a_store_that_fails_three_requests_in_ten(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake", 40)
    everything = contents(lake)
    with FaultProxy(s3_server.endpoint_url, seed=3, share=0.3) as proxy:
        run(proxy.endpoint_url, lake.base_dir, prefix, "--delete-after-transfer")
        assert len(proxy.spoilt) >= 4, proxy.spoilt
        assert contents(lake) == {}
        run(proxy.endpoint_url, lake.base_dir, prefix, "--direction", "download")
    assert contents(lake) == everything
    assert held(s3_server, prefix) == everything


def test_small_segments_are_merged_before_they_go_up(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    paths = make_bronze(tmp_path / "lake", journals=3)
    for path in paths.ready.rglob("*.parquet"):
        os.utime(path, (OLD, OLD))
    folders = {str(path.parent.relative_to(tmp_path / "lake")) for path in paths.ready.rglob("*.parquet")}
    flags = ("--set", "storage.sync.compact_before_upload=true")
    run(s3_server.endpoint_url, tmp_path / "lake", prefix, *flags)
    assert sorted(key.rpartition("/")[0] for key in held(s3_server, prefix)) == sorted(folders)


def test_conflicts_and_damage_are_named(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake", 3)
    S3Storage(**s3_server.options(prefix)).put(SILVER, b"of another machine")
    write(lake, segment_key(1), b"flipped")
    said = run(s3_server.endpoint_url, lake.base_dir, prefix, "--direction", "both", code=1)
    assert f"conflict: {SILVER}" in said
    assert f"failed: {segment_key(1)}" in said
    assert held(s3_server, prefix)[SILVER] == b"of another machine"
    assert segment_key(1) not in held(s3_server, prefix)


def test_what_is_wrong_is_said(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    lake, url = make_lake(tmp_path / "lake", 1), s3_server.endpoint_url
    assert "bucket" in run(url, lake.base_dir, prefix, "--destination", "s3://no-such-bucket/x", code=1)
    assert "--direction" in run(url, lake.base_dir, prefix, "--direction", "sideways", code=2)
    assert "is the lake itself" in run(url, lake.base_dir, prefix, "--destination", str(lake.base_dir), code=2)
    dead = run("http://127.0.0.1:9", lake.base_dir, prefix, "--set", "storage.requests.attempts=2", code=1)
    assert "127.0.0.1:9" in dead or "s3://" in dead


def test_continuous_goes_on_and_says_how_it_does(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake", 2)
    with FaultProxy(s3_server.endpoint_url) as proxy:
        proxy.is_down = True
        options = ("--mode", "continuous", "--interval", "1", "--set", "storage.requests.attempts=1")
        service = subprocess.Popen(
            command(lake.base_dir, prefix, *options), env=environment(proxy.endpoint_url), cwd=tmp_path
        )
        try:
            health = wait_for(tmp_path / "state" / "sync.json", lambda found: found["failed_runs"] >= 1)
            assert health["error"]
            assert "last error" in run(proxy.endpoint_url, lake.base_dir, prefix, "--status", code=1)
            proxy.is_down = False
            health = wait_for(tmp_path / "state" / "sync.json", lambda found: found["uploaded"]["files"] == 3)
            assert (health["failed_runs"], health["error"]) == (0, None)
            assert "0 failed runs" in run(proxy.endpoint_url, lake.base_dir, prefix, "--status")
            write(lake, SILVER.replace("BTC", "ETH"), b"new")
            wait_for(tmp_path / "state" / "sync.json", lambda found: found["uploaded"]["files"] == 4)
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(200) == 0
    assert held(s3_server, prefix) == contents(lake)


def wait_for(path: Path, is_so: "object") -> dict[str, object]:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if path.exists() and is_so(found := json.loads(path.read_text())):  # type: ignore[operator]
            return found  # type: ignore[no-any-return]
        time.sleep(0.1)
    raise AssertionError(f"{path} never said so: {path.read_text() if path.exists() else 'not there'}")
