"""Every command of README and the guides does what it is there for, or stands in a table with the reason why not."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from daedalus.sandbox.server import SandboxServer, in_thread
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.testing.s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.conftest import ROOT
from tests.docs.guide_commands import (
    ELSEWHERE,
    ENDLESS,
    INSTEAD,
    NOT_HERE,
    as_run,
    commands,
    pages,
    reason_not_here,
    sign_of_life,
)
from tests.end_to_end import guide_lake
from tests.end_to_end.commands import run
from tests.end_to_end.terminal import Terminal

PREFIX = "guides"
#: What stands for what is not here: see `guide_commands.INSTEAD`.
VALUES = {"prefix": PREFIX}
#: What starts processes takes seconds: what a page before has shown is not shown again.
_shown: set[str] = set()


def free_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def plain(command: str) -> str:
    """Return a command without what makes no other one of it."""
    return re.sub(r" --(base-dir data|duration \d+|fault \S+|tables \S+|late \S+)", "", command)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[tuple[Path, dict[str, str]]]:
    """Return a folder with a lake, which is in a bucket too, and an environment that names local exchanges."""
    folder = tmp_path_factory.mktemp("guides")
    guide_lake.make(folder)
    with ExitStack() as stack:
        native, binance = (
            stack.enter_context(in_thread(SandboxServer(name, SyntheticSource(guide_lake.PRODUCTS, rate=50))))
            for name in ("coinbase", "binance")
        )
        ccxt = {
            "ws_url": binance.url,
            "rest_url": binance.url.replace("ws://", "http://"),
            "record": ["trades", "frames"],
            "channels": {"watchTrades": ["BTC/USD"]},
        }
        bucket = {key: value for key, value in s3_server.options(f"{PREFIX}/pi-4").items() if "key" not in key}
        VALUES.update(port=free_port(), metrics_port=free_port())
        env = {
            "DAEDALUS__COINBASE__WS_URL": native.url,
            "DAEDALUS__COINBASE__SYMBOLS": '["BTC-USD"]',
            "DAEDALUS__CCXT__EXCHANGES": json.dumps({"binance": ccxt}),
            "DAEDALUS__STORAGE__SYNC__DESTINATION": json.dumps({"backend": "s3", "s3": bucket}),
            "DAEDALUS__METRICS__STATUS_INTERVAL_SECONDS": "0.2",
            "DAEDALUS__INGESTION__FLUSH_INTERVAL_SECONDS": "0.2",
            "AWS_ENDPOINT_URL": s3_server.endpoint_url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        run("sync", "--set", "storage.base_dir=data", cwd=folder, env=env)
        yield folder, env


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_guide_can_be_followed(page: Path, world: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    template, env = world
    if "ccxt" not in page.read_text():
        env = {name: value for name, value in env.items() if "CCXT" not in name}
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    terminal = Terminal(folder, env)
    try:
        for command in commands(page.read_text()):
            own = as_run(command, VALUES)
            if reason_not_here(command) is None and plain(own) not in _shown:
                terminal.call(own)
                _shown.update([plain(own)] if sign_of_life(own) else [])
        terminal.end()
    finally:
        terminal.abandon()


def test_the_tables_hold_nothing_that_no_page_says() -> None:
    every = [command for page in pages() for command in commands(page.read_text())]
    for pattern in (*NOT_HERE, *ELSEWHERE, *INSTEAD):
        assert any(re.search(pattern, command) for command in every), pattern
    for pattern in ENDLESS:
        assert any(re.match(pattern, as_run(command, {})) for command in every), pattern
    assert all((ROOT / test).exists() for test in ELSEWHERE.values())
