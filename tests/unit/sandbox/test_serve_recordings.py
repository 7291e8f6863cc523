"""`daedalus sandbox serve --protocol ... --recording A B` as a process: markets, frames, statistics."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daedalus.cli import sandbox
from daedalus.sandbox.capture import CaptureSource
from daedalus.sandbox.recording import RecordingSource
from daedalus.shared.errors import ConfigError
from tests.unit.recordings.test_coinbase_exchange import HEADER, SNAPSHOT, UPDATE

RUN = "from daedalus.cli.sandbox import app; app()"
CASES = {
    "binance": (
        ["cryptofeed_ws/BINANCE_US.ws.1.0", "cryptofeed_ws/BINANCE_US.http.0.0"],
        "/stream?streams=omgbusd@aggTrade/omgbusd@bookTicker",
        None,
        11 + 58,
    ),
    "okx": (
        ["cryptofeed_ws/OKX.ws.1.0"],
        "/ws/v5/public",
        {"op": "subscribe", "args": [{"channel": c, "instId": "BTC-USDT"} for c in ("books", "trades")]},
        2 + 98 + 69,
    ),
    "kraken": (
        ["kraken_book/orderbook-v2.json"],
        "/v2",
        {"method": "subscribe", "params": {"channel": "book", "symbol": "BTC/USD"}},
        2 + 510,
    ),
}


async def visit(url: str, path: str, request: Any) -> tuple[list[str], Any]:
    """Read a recording to its end; return the texts and the statistics."""
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url + path) as socket:
            if request:
                await socket.send_json(request)
            texts = [message.data async for message in socket]
        async with session.get(url.replace("ws://", "http://") + "/stats") as response:
            return texts, json.loads(await response.read())


@pytest.mark.parametrize("protocol", CASES)
def test_serving_a_recording(recordings: Path, protocol: str) -> None:
    files, path, request, frames = CASES[protocol]
    flags = ["--protocol", protocol, "--port", "0", "--speed", "max", "--close-at-end", "--recording"]
    command = [sys.executable, "-c", RUN, "serve", *flags, *(str(recordings / name) for name in files)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert "recording" in process.stdout.readline()
        assert json.loads(process.stdout.readline().partition(": ")[2])["ws"]
        texts, stats = asyncio.run(visit(url, path, request))
        process.terminate()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    beats = stats["connections"][0]["sent"]["heartbeats"]
    assert len(texts) == frames + beats
    assert stats["connections"][0]["sent"]["frames"] == frames + beats
    assert f"sent {frames + beats:,} frames" in out


def test_which_source_plays_a_file(recordings: Path, tmp_path: Path) -> None:
    path = tmp_path / "session.csv"
    path.write_text("\n".join([HEADER, SNAPSHOT, UPDATE]))
    assert isinstance(sandbox.build_source(1.0, None, None, None, [path], "auto"), RecordingSource)
    with pytest.raises(ConfigError, match="is one file"):
        sandbox.build_source(1.0, None, None, None, [path, path], "auto")
    book = recordings / "kraken_book" / "orderbook-v2.json"
    source = sandbox.build_source(1.0, None, None, None, [book], "auto", "kraken")
    assert isinstance(source, CaptureSource)
    with pytest.raises(ConfigError, match="looks like no known recording"):
        path.write_text("what\n")
        sandbox.build_source(1.0, None, None, None, [path], "auto")
    with pytest.raises(ConfigError, match="nothing to play"):
        path.write_text('{"channel":"heartbeat"}\n')
        sandbox.build_source(1.0, None, None, None, [path], "auto", "kraken")
    with pytest.raises(ConfigError, match=r"bitstamp\.net.*plays those of binance"):
        log = recordings / "cryptofeed_ws" / "BITSTAMP.ws.1.0"
        sandbox.build_source(1.0, None, None, None, [log], "auto")
