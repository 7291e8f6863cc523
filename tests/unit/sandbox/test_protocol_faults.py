"""Faults in the form of each protocol: what breaks is what would break there, and only for the product it names."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from daedalus.sandbox.faults import Fault, FaultPlan
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.stats import ConnectionStats
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.errors import ConfigError

PROTOCOLS = ("binance", "okx", "kraken")
PATHS = {"binance": "/stream", "okx": "/ws/v5/public", "kraken": "/v2"}
PRODUCTS = ("BTC-USD", "SOL-USD")


def requests(protocol: str) -> list[dict[str, Any]]:
    """What asks for books and trades of both products."""
    if protocol == "binance":
        streams = [f"{symbol}@{channel}" for symbol in ("btcusd", "solusd") for channel in ("depth@100ms", "trade")]
        return [{"method": "SUBSCRIBE", "params": streams, "id": 1}]
    if protocol == "okx":
        args = [{"channel": c, "instId": product} for product in PRODUCTS for c in ("books-l2-tbt", "trades")]
        return [{"op": "subscribe", "args": args}]
    symbols = ["BTC/USD", "SOL/USD"]
    return [{"method": "subscribe", "params": {"channel": c, "symbol": symbols}} for c in ("book", "trade")]


@dataclass
class Seen:
    """What came over one connection."""

    protocol: str
    socket: aiohttp.ClientWebSocketResponse
    texts: list[str] = field(default_factory=list)
    frames: list[Any] = field(default_factory=list)

    async def read(self, frames: int = 300) -> bool:
        """Read so many texts; False if the connection ended before."""
        for _ in range(frames):
            message = await asyncio.wait_for(self.socket.receive(), 60)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return False
            self.texts.append(message.data)
            try:
                self.frames.append(json.loads(message.data))
            except ValueError:
                self.frames.append(None)
        return True

    def numbers(self, product: str) -> list[tuple[int, int]]:
        """Return (the number that a book update says came before, its own) of each update of a product."""
        found = []
        for frame in filter(None, self.frames):
            if self.protocol == "binance" and frame.get("data", {}).get("s") == product.replace("-", ""):
                found += [(frame["data"]["U"] - 1, frame["data"]["u"])] if "U" in frame["data"] else []
            if self.protocol == "okx" and frame.get("action") == "update" and frame["arg"]["instId"] == product:
                found += [(frame["data"][0]["prevSeqId"], frame["data"][0]["seqId"])]
        return found

    def breaks(self, product: str) -> int:
        return sum(later[0] != before[1] for before, later in itertools.pairwise(self.numbers(product)))


@asynccontextmanager
async def talk(protocol: str, *faults: str) -> AsyncIterator[tuple[Seen, ConnectionStats]]:
    source = SyntheticSource(PRODUCTS, seed=1, speed=50.0)
    async with (
        SandboxServer(protocol, source, faults=faults) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.url + PATHS[protocol]) as socket,
    ):
        for request in requests(protocol):
            await socket.send_json(request)
        yield Seen(protocol, socket), server.stats().connections[0]


@pytest.mark.parametrize("protocol", ["binance", "okx"])
async def test_a_skip_breaks_the_numbers_of_its_product_alone(protocol: str) -> None:
    async with talk(protocol, "skip_sequence@60f/sol_usd:2") as (seen, stats):
        await seen.read()
        assert (seen.breaks("BTC-USD"), seen.breaks("SOL-USD")) == (0, 1)
        assert (stats.dropped.updates, stats.dropped.frames) == (2, 2)
        assert stats.faults[0].product == "sol_usd"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_skip_loses_updates_of_books_never_trades(protocol: str) -> None:
    async with talk(protocol, "skip_sequence@every=20f") as (seen, stats):
        await seen.read()
        assert stats.dropped.updates >= 5
        assert stats.dropped.trades == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_malformed_frames_of_a_product_are_half_a_frame(protocol: str) -> None:
    async with talk(protocol, "malformed@50f/BTCUSD:3") as (seen, stats):
        await seen.read()
        broken = [text for text, frame in zip(seen.texts, seen.frames, strict=True) if frame is None]
        assert len(broken) == stats.dropped.frames == 3
        assert all("SOL" not in text for text in broken)
        assert stats.faults[0].dropped == stats.dropped


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_duplicates_of_a_product_come_twice(protocol: str) -> None:
    async with talk(protocol, "duplicate@50f/SOL-USD:2") as (seen, stats):
        await seen.read()
        twice = [a for a, b in itertools.pairwise(seen.texts) if a == b]
        assert len(twice) == stats.duplicated.frames == 2
        assert all("SOL" in text for text in twice)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_product_falls_silent_and_the_other_goes_on(protocol: str) -> None:
    async with talk(protocol, "silence@50f/SOL-USD") as (seen, stats):
        await seen.read()
        after = seen.texts[50:]
        assert [text for text in after if "SOL" in text] == []
        assert len([text for text in after if "BTC" in text]) > 200
        assert stats.dropped.frames > 50


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_complaints_and_unknown_messages_have_the_venue_s_form(protocol: str) -> None:
    async with talk(protocol, "error_frame@50f:2", "unknown_message@60f") as (seen, stats):
        await seen.read()
        complaints = {"binance": "error", "okx": "code", "kraken": "error"}
        assert sum(complaints[protocol] in frame for frame in seen.frames) == 2
        assert sum("premonition" in text for text in seen.texts) == 1
        assert seen.breaks("BTC-USD") + seen.breaks("SOL-USD") + stats.dropped.frames == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_connection_is_closed_or_slow_or_silent(protocol: str) -> None:
    async with talk(protocol, "disconnect@50f:1012") as (seen, _):
        assert not await seen.read()
        assert seen.socket.close_code == 1012
    async with talk(protocol, "slow_start:0.3") as (seen, stats):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(seen.socket.receive(), 0.2)
        await seen.read()
        assert stats.dropped.frames == 0
    async with talk(protocol, "silence@50f:0.3") as (seen, stats):
        await seen.read()
        assert stats.dropped.frames > 20


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_handshakes_are_refused(protocol: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with talk(protocol, "refuse@0:4"):
            pass
    assert refused.value.headers is not None
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "4")


# The language


def test_a_product_in_a_fault() -> None:
    assert Fault.parse("skip_sequence@10/BTC-USDT") == Fault("skip_sequence", at=10, product="BTC-USDT")
    assert Fault.parse("silence@every=5x2/BTC/USD:15") == Fault(
        "silence", at=5, is_repeated=True, first=2, arg=15, product="BTC/USD"
    )
    assert Fault.parse("malformed/X:2") == Fault("malformed", arg=2, product="X")
    plan = FaultPlan([Fault.parse("duplicate@3f/X")], 0)
    assert [f.product for f in plan.due_at_frame(3)] == ["X"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("disconnect@5/BTC-USD", "whole connection; skip_sequence, silence, malformed, duplicate can"),
        ("skip_sequence@5/", "NAME"),
        ("skip_sequence/BTC USD", "NAME"),
    ],
)
def test_wrong_products_say_what_is_wrong(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Fault.parse(spec)


async def test_a_product_that_does_not_trade_is_refused() -> None:
    source = SyntheticSource(PRODUCTS)
    with pytest.raises(ConfigError, match=r"no product 'BTC-USDX': did you mean BTC-USD\?"):
        SandboxServer("okx", source, faults=["silence/BTC-USDX"])
    async with SandboxServer("okx", source) as server:
        with pytest.raises(ConfigError, match="no product"):
            await server.inject("silence/XMR")
