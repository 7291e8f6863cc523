"""Sync beside rclone: the same files to the same S3 server in one run; wall time, CPU, peak memory, requests.

The server (SeaweedFS) runs on this machine and takes its share of both cores. Each figure is the better of `PASSES`
runs into an empty prefix. rclone is Debian's package; without it only our own figures are printed.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from daedalus.storage.ledger import Ledger
from daedalus.testing.fault_proxy import FaultProxy
from daedalus.testing.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server, running

PASSES = 2
LOADS = (("3,000 files of 20 kB", 3000, 20_000), ("8 files of 50 MB", 8, 50_000_000))


class Cost(NamedTuple):
    """Seconds of wall time and CPU, and the peak of resident memory in MB."""

    wall_s: float
    cpu_s: float
    rss_mb: float


def lake(base: Path, count: int, size: int) -> None:
    rng = random.Random(count)
    folder = base / "raw/ready/coinbase/trades/exchange=coinbase/symbol=BTC-USD/year=2025/month=06/day=19/hour=14"
    folder.mkdir(parents=True)
    paths = [folder / f"segment_20250619T140000Z-{number:08x}_000000000-000000099.parquet" for number in range(count)]
    for path in paths:
        path.write_bytes(rng.randbytes(size))
    with Ledger(base) as ledger:
        ledger.record_sealed(paths)


def measured(command: list[str], environment: dict[str, str]) -> Cost:
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def ours(base: Path, endpoint: str) -> tuple[list[str], dict[str, str]]:
    # Each run sends everything: what an earlier one noted is forgotten.
    (base / "ledger.sqlite").unlink(missing_ok=True)
    place = f"s3://{BUCKET}/ours/{secrets.token_hex(4)}"
    command = [sys.executable, "-m", "daedalus.cli.main", "sync", "--source", str(base), "--destination", place]
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
    return command, {**os.environ, **keys, "DAEDALUS__STORAGE__SYNC__DESTINATION__S3__ENDPOINT_URL": endpoint}


def rclone(base: Path, endpoint: str) -> tuple[list[str], dict[str, str]]:
    command = ["rclone", "copy", str(base / "raw"), f"store:{BUCKET}/rclone/{secrets.token_hex(4)}/raw"]
    remote = {"TYPE": "s3", "PROVIDER": "SeaweedFS", "ENDPOINT": endpoint, "ACCESS_KEY_ID": ACCESS_KEY}
    remote |= {"SECRET_ACCESS_KEY": SECRET_KEY, "REGION": "us-east-1"}
    named = {f"RCLONE_CONFIG_STORE_{name}": value for name, value in remote.items()}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return command, {**plain, **named, "RCLONE_CONFIG": ""}


def better(base: Path, endpoint: str, tool: object) -> Cost:
    costs = [measured(*tool(base, endpoint)) for _ in range(PASSES)]  # type: ignore[operator]
    return Cost(*(min(values) for values in zip(*costs, strict=True)))


def requests(base: Path, server: S3Server, count: int) -> str:
    with FaultProxy(server.endpoint_url) as proxy:
        measured(*ours(base, proxy.endpoint_url))
        first = dict(proxy.requests)
        return ", ".join(f"{name} {number / count:.3f}" for name, number in sorted(first.items()))


def main() -> None:
    """Print wall time, CPU and memory of both, and their ratios."""
    peer = shutil.which("rclone")
    if peer is None:
        print("rclone is not installed (apt-get install rclone): no ratio")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "server") as server:
        for title, count, size in LOADS:
            base = Path(folder) / f"lake-{count}"
            lake(base, count, size)
            mine = better(base, server.endpoint_url, ours)
            print(f"{title}: daedalus {mine.wall_s:.2f} s, {mine.cpu_s:.2f} s CPU, {mine.rss_mb:.0f} MB")
            if peer is not None:
                theirs = better(base, server.endpoint_url, rclone)
                print(f"{title}: rclone   {theirs.wall_s:.2f} s, {theirs.cpu_s:.2f} s CPU, {theirs.rss_mb:.0f} MB")
                print(
                    f"{title}: time {mine.wall_s / theirs.wall_s:.2f} x rclone's (at most 1), "
                    f"memory {mine.rss_mb - theirs.rss_mb:+.0f} MB (at most +50)"
                )
            print(f"{title}: requests a file: {requests(base, server, count)}")
            shutil.rmtree(base)


if __name__ == "__main__":
    main()
