"""Every fault of the table, over real sockets: it happens, it is on record, and nothing else does."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from daedalus.sandbox.faults import FAULTS, Fault
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.stats import ConnectionStats
from daedalus.sandbox.synthetic import SyntheticSource
from tests.unit.sandbox.client import Client, connect, has


def sandbox(*faults: str) -> SandboxServer:
    return SandboxServer("coinbase", SyntheticSource(["BTC-USD"], seed=1, speed=50.0), faults=faults)


async def subscribed(client: Client) -> None:
    for channel in ("level2", "market_trades", "heartbeats"):
        await client.say(channel, "BTC-USD")


def only(server: SandboxServer) -> ConnectionStats:
    (stats,) = server.stats().connections
    return stats


async def many(client: Client, frames: int = 200) -> None:
    await client.until(lambda f: len(client.texts) >= frames)


async def test_disconnect() -> None:
    async with sandbox("disconnect@0.1:1012") as server, connect(server.url) as client:
        await subscribed(client)
        await client.rest()
        assert client.close_code == 1012
        assert only(server).faults[0].at_s >= 0.1
        async with connect(server.url) as again:  # on each connection anew
            await subscribed(again)
            await again.rest()
            assert again.close_code == 1012


async def test_disconnect_of_the_first_connection_only() -> None:
    async with sandbox("disconnect@100fx1") as server:
        async with connect(server.url) as client:
            await subscribed(client)
            await client.rest()
            assert client.close_code == 1001
            assert len(client.frames) == 99
        async with connect(server.url) as again:
            await subscribed(again)
            await many(again)


async def test_disconnect_abrupt_sends_no_close_frame() -> None:
    async with sandbox("disconnect_abrupt@100f") as server, connect(server.url) as client:
        await subscribed(client)
        await client.rest()
        assert client.close_code == 1006
        assert only(server).close_reason == "fault: disconnect_abrupt"


async def test_skip_sequence_loses_data_and_numbers() -> None:
    async with sandbox("skip_sequence@100f:3") as server, connect(server.url) as client:
        await subscribed(client)
        await many(client)
        missed = sum(after - before - 1 for before, after in client.gaps())
        stats = only(server)
        assert missed == stats.dropped.frames == 3
        assert stats.dropped.changes + stats.dropped.trades >= 3
        assert stats.faults[0].dropped == stats.dropped
        assert stats.faults[0].at_frame == 99


async def test_silence_loses_everything_while_it_lasts() -> None:
    async with sandbox("silence@50f:0.3") as server, connect(server.url) as client:
        await subscribed(client)
        await many(client)
        ((before, after),) = client.gaps()
        stats = only(server)
        assert stats.dropped.frames == after - before - 1 > 10
        assert client.socket.closed is False


async def test_silence_without_end_keeps_the_socket_open() -> None:
    async with sandbox("silence@50f") as server, connect(server.url) as client:
        await subscribed(client)
        await many(client, 49)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.socket.receive(), 0.3)
        await client.socket.ping()
        assert only(server).closed_s is None


async def test_malformed_frames_are_broken_json() -> None:
    async with sandbox("malformed@every=50f:2") as server, connect(server.url) as client:
        await subscribed(client)
        await many(client)
        broken = len(client.texts) - len(client.frames)
        assert broken >= 4
        # The server may be far ahead of its reader; of each 50 frames it breaks two.
        sent, dropped = only(server).sent.frames, only(server).dropped.frames
        assert broken <= dropped <= 2 * ((sent + dropped) // 50 + 1)


async def test_error_frames_carry_no_number() -> None:
    async with sandbox("error_frame@50f:2") as server, connect(server.url) as client:
        await subscribed(client)
        await many(client)
        assert sum(f.get("type") == "error" for f in client.frames) == 2
        assert client.gaps() == []
        assert only(server).dropped.frames == 0


async def test_duplicates_come_twice() -> None:
    async with sandbox("duplicate@50f:2") as server, connect(server.url) as client:
        await subscribed(client)
        await many(client)
        twice = [a for a, b in zip(client.texts, client.texts[1:], strict=False) if a == b]
        assert len(twice) == 2
        assert only(server).duplicated.frames == 2
        numbers = {f["sequence_num"] for f in client.frames}
        assert numbers == set(range(max(numbers) + 1))


async def test_slow_start_answers_late_and_loses_nothing() -> None:
    async with sandbox("slow_start:1") as server, connect(server.url) as client:
        await subscribed(client)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.socket.receive(), 0.2)
        await many(client)
        assert client.gaps() == []
        assert only(server).dropped.frames == 0


async def test_oversized_frames_are_as_large_as_asked() -> None:
    async with sandbox("oversized@50f:100000") as server:
        async with connect(server.url) as client:
            await subscribed(client)
            await many(client)
            assert [len(text) for text in client.texts if "padding" in text] == [100_000]
            assert client.gaps() == []
        async with connect(server.url, bytes_max=90_000) as client:
            await subscribed(client)
            await client.rest()
            assert client.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_unknown_messages_are_numbered() -> None:
    async with sandbox("unknown_message@50f") as server, connect(server.url) as client:
        await subscribed(client)
        await many(client)
        assert len(client.of("premonitions")) == 1
        assert client.gaps() == []
        assert only(server).faults[0].name == "unknown_message"


async def test_refuse_answers_503_and_when_to_come_back() -> None:
    async with sandbox("refuse@0x2:4") as server:
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with connect(server.url):
                    pass
            assert refused.value.status == 503
            assert refused.value.headers is not None
            assert refused.value.headers["Retry-After"] == "4"
        async with connect(server.url) as client:
            await subscribed(client)
            assert await client.until(has("l2_data", "update"))
        assert server.stats().refused == 2


async def test_faults_from_a_script() -> None:
    async with sandbox() as server, connect(server.url) as one, connect(server.url) as two:
        for client in (one, two):
            await subscribed(client)
            await many(client, 20)
        assert await server.inject("skip_sequence:2", connection=0) == 1
        assert await server.inject(Fault("unknown_message")) == 2
        await one.until(lambda f: bool(one.of("premonitions")) and len(one.gaps()) > 0)
        await two.until(has("premonitions"))
        assert two.gaps() == []
        assert [f.name for f in server.stats().connections[1].faults] == ["unknown_message"]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_tested_here(name: str) -> None:
    assert f'sandbox("{name}' in Path(__file__).read_text()
