"""`kill -9` of a sync at seeded instants: nothing lost, nothing double, nothing half, and the next run goes on."""

import random
import secrets
import subprocess
import time
from pathlib import Path

import pytest

from daedalus.storage.clouds import S3Storage
from daedalus.storage.local import LocalStorage
from daedalus.testing.s3_server import S3Server
from tests.end_to_end.test_sync import command, environment, run
from tests.unit.storage.lakes import contents, make_lake

SEGMENTS, SIZE = 120, 20_000
#: What is killed in turn, and where a run of it stands when it is done.
STEPS = (
    ("up", ("--bandwidth", "6")),
    ("deleted", ("--delete-after-transfer", "--max-workers", "1")),
    ("down", ("--direction", "download", "--bandwidth", "6")),
)


class Killed:
    """A lake that goes to a store and comes back, in runs that are killed."""

    def __init__(self, server: S3Server, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.server, self.prefix = server, f"kills/{secrets.token_hex(6)}"
        self.lake = make_lake(folder / "lake", SEGMENTS, size=SIZE, seed=seed)
        self.everything = contents(self.lake)
        self.longest = 1.0

    def kill(self, options: tuple[str, ...]) -> None:
        started = time.monotonic()
        process = subprocess.Popen(
            command(self.lake.base_dir, self.prefix, *options),
            env=environment(self.server.endpoint_url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(self.random.uniform(0.3, 1.0) * self.longest)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        else:
            self.longest = time.monotonic() - started
            assert process.returncode == 0

    def finish(self, options: tuple[str, ...]) -> None:
        started = time.monotonic()
        run(self.server.endpoint_url, self.lake.base_dir, self.prefix, *options)
        self.longest = time.monotonic() - started

    def check(self) -> None:
        """Every file is in one of both places at least, and wherever it is, it is whole."""
        store = S3Storage(**self.server.options(self.prefix))
        here, there = contents(self.lake), {info.key: store.get(info.key) for info in store.list()}
        assert here.keys() | there.keys() == self.everything.keys()
        for side in (here, there):
            assert all(data == self.everything[key] for key, data in side.items())

    def cycle(self, kills: int) -> None:
        for name, options in STEPS:
            for _ in range(kills):
                self.kill(options)
                self.check()
            self.finish(options)
            self.check()
            assert len(contents(self.lake)) == (0 if name == "deleted" else SEGMENTS + 1)
        assert not list(self.lake.base_dir.rglob("*.tmp"))


def test_a_few_kills(s3_server: S3Server, tmp_path: Path) -> None:
    Killed(s3_server, tmp_path, seed=1).cycle(1)


@pytest.mark.soak
def test_a_hundred_kills(s3_server: S3Server, tmp_path: Path) -> None:
    for seed in range(9):
        Killed(s3_server, tmp_path / str(seed), seed).cycle(4)


@pytest.mark.soak
def test_three_thousand_segments_go_and_come_back(s3_server: S3Server, tmp_path: Path) -> None:
    prefix = f"thousands/{secrets.token_hex(6)}"
    lake = make_lake(tmp_path / "lake", 3000, size=SIZE)
    everything = contents(lake)
    run(s3_server.endpoint_url, lake.base_dir, prefix, "--delete-after-transfer")
    assert contents(lake) == {}
    run(s3_server.endpoint_url, tmp_path / "new", prefix, "--direction", "download")
    assert contents(LocalStorage(tmp_path / "new")) == everything
    assert "uploaded           0 files" in run(s3_server.endpoint_url, tmp_path / "new", prefix)
