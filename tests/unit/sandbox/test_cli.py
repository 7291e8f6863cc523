"""`daedalus sandbox` as a process: its first line, its signals, its messages."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daedalus.cli import sandbox
from daedalus.sandbox.faults import FAULTS
from daedalus.sandbox.recording import RecordingSource
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.errors import ConfigError
from tests.unit.recordings.test_coinbase_exchange import HEADER, SNAPSHOT, UPDATE
from tests.unit.sandbox.client import connect, has

RUN = "from daedalus.cli.sandbox import app; app()"


def start(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, "serve", *args]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    async def visit(url: str) -> None:
        async with connect(url) as client:
            await client.say("level2", "BTC-USD")
            assert await client.until(has("l2_data", "update"))
            process.send_signal(number)
            await client.rest()
            assert client.close_code == 1001

    ready = tmp_path / "ready.json"
    process = start("--port", "0", "--products", "BTC-USD", "--speed", "20", "--ready-file", str(ready))
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+", url)
        asyncio.run(visit(url))
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert re.search(r"sent \d+ frames: \d+ book changes, \d+ trades to 1 connections", out)
    assert json.loads(ready.read_text()) == {"url": url, "port": int(url.rsplit(":", 1)[1])}


def test_serve_for_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox.serve(port=0, duration=0.05, speed="max")
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("ws://127.0.0.1:")
    assert last == "sent 0 frames: 0 book changes, 0 trades to 0 connections"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"protocol": "coinbas"}, "did you mean coinbase"),
        ({"products": "BTC-EUR"}, "did you mean"),
        ({"products": ","}, "no products"),
        ({"speed": "fast"}, "--speed fast"),
        ({"speed": "nan"}, "--speed nan"),
        ({"speed": "-1"}, "--speed -1"),
        ({"rate": -5.0}, "rate -5"),
        ({"fault": ["discnnect@3"]}, "did you mean disconnect"),
        ({"recording": Path("/nowhere/x.csv")}, "no such file"),
        ({"recording": Path("x"), "seed": 3, "products": "BTC-USD"}, "--products, --seed and --recording"),
        ({"port": 0, "ready_file": Path("/nowhere/ready.json")}, "--ready-file /nowhere/ready.json"),
    ],
)
def test_wrong_flags_say_what_is_wrong(flags: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        sandbox.serve(**flags)  # type: ignore[arg-type]


def test_sources(tmp_path: Path) -> None:
    path = tmp_path / "session.csv"
    path.write_text("\n".join([HEADER, SNAPSHOT, UPDATE]))
    form = "coinbase-exchange"
    assert isinstance(sandbox.build_source(1.0, None, None, None, path, form), RecordingSource)
    market = sandbox.build_source(1.0, "BTC-USD, SOL-USD", 4, None, None, form)
    assert isinstance(market, SyntheticSource)
    assert market.products == ("BTC-USD", "SOL-USD")
    with pytest.raises(ConfigError, match="unknown recording format"):
        sandbox.build_source(1.0, None, None, None, path, "papyrus")


def test_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox.faults()
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == list(FAULTS)


def test_help_needs_no_server() -> None:
    command = "import sys, daedalus.cli.sandbox; print({'aiohttp', 'msgspec'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "set()"
