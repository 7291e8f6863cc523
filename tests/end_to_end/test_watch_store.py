"""`daedalus watch` between object stores: segments come by sync, silver appears beside, as a batch would give it."""

import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daedalus.storage.base import Storage
from daedalus.storage.clouds import S3Storage
from daedalus.testing.s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.end_to_end.commands import run
from tests.unit.etl.core.fed_lake import feed, write_fed
from tests.unit.etl.core.stateful_lake import silver

OPTIONS = ("--feature-set", "core")


def fetched(store: Storage, folder: Path) -> dict[str, bytes]:
    """Return the rows of silver in a store."""
    for info in store.list("processed"):
        store.get_file(info.key, folder / info.key, overwrite=True)
    return silver(folder)


def test_segments_that_come_by_sync_are_followed(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bronze, out = (S3Storage(**s3_server.options(f"{secrets.token_hex(6)}/{name}")) for name in ("in", "out"))  # type: ignore[arg-type]
    for name, value in (("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)):
        monkeypatch.setenv(name, value)
    for section in ("ETL_STORAGE_INPUT", "ETL_STORAGE_OUTPUT", "SYNC__DESTINATION"):
        monkeypatch.setenv(f"DAEDALUS__STORAGE__{section}__S3__ENDPOINT_URL", s3_server.endpoint_url)
    lake, source = tmp_path / "lake", tmp_path / "source"
    journals = write_fed(source, tmp_path / "whole")
    run("features", "orderbook", "--input", source, "--output", tmp_path / "batch", *OPTIONS, cwd=tmp_path)
    wanted = silver(tmp_path / "batch")
    watch = ("watch", "--input", bronze.url, "--output", out.url, "--tables", "orderbook", "--interval", "1", *OPTIONS)
    with subprocess.Popen(
        [sys.executable, "-m", "daedalus.cli.main", *watch], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        for some in (journals[:4], journals[4:]):
            feed(source, lake, [key for journal in some for key in journal])
            run("sync", "--source", lake, "--destination", bronze.url, cwd=tmp_path)
            while not fetched(out, tmp_path / "seen"):
                assert process.poll() is None
                time.sleep(0.2)
        while fetched(out, tmp_path / "seen") != wanted:
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate()
    assert process.returncode == 0 and "failed" not in told, told
    assert list(tmp_path.rglob("*.tmp")) == []
