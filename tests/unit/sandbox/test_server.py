"""The sandbox over real sockets: what a client of the exchange would see."""

import asyncio

import aiohttp
import msgspec
import pytest

from daedalus.sandbox import synthetic
from daedalus.sandbox.server import SandboxServer, in_thread
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.sandbox.updates import BookSnapshot, LevelChanges
from daedalus.sandbox.view import TextBook
from daedalus.shared.errors import ConfigError
from tests.unit.sandbox.client import Client, Frame, connect, has

FAST = 50.0


def market(speed: float = FAST, seed: int = 1) -> SyntheticSource:
    return SyntheticSource(["BTC-USD", "SOL-USD"], seed=seed, speed=speed)


def sandbox(*faults: str, speed: float = FAST, first_message_s: float | None = None) -> SandboxServer:
    return SandboxServer("coinbase", market(speed), faults=faults, first_message_s=first_message_s)


def book_of(frames: list[Frame]) -> TextBook:
    """Rebuild the book of one product from its frames."""
    book = TextBook()
    for frame in frames:
        event = frame["events"][0]
        rows = [("bid" if u["side"] == "bid" else "ask", u["price_level"], u["new_quantity"]) for u in event["updates"]]
        if event["type"] == "snapshot":
            sides = [[(price, size) for side, price, size in rows if side == name] for name in ("bid", "ask")]
            book.replace(BookSnapshot("", None, *sides))
        else:
            book.apply(LevelChanges("", 0, rows))  # type: ignore[arg-type]
        bid, ask = book.best("bid"), book.best("ask")
        assert bid is not None
        assert ask is not None
        assert float(bid[0]) < float(ask[0])
    return book


async def subscribed(client: Client, *channels: str) -> None:
    for channel in channels or ("level2", "market_trades", "ticker", "heartbeats"):
        await client.say(channel, "BTC-USD")


async def test_a_market_over_a_socket() -> None:
    async with sandbox() as server, connect(server.url) as client:
        await subscribed(client)
        await client.until(has("heartbeats"))
        assert client.gaps() == []
        assert client.of("l2_data", "snapshot")[0]["sequence_num"] == 0
        assert len(client.of("l2_data", "update")) > 100
        assert len(client.of("market_trades", "update")) > 3
        assert len(client.of("ticker", "update")) > 3
        assert {e["product_id"] for f in client.of("l2_data") for e in f["events"]} == {"BTC-USD"}
        book_of(client.of("l2_data"))


async def test_two_connections_see_the_same_market() -> None:
    async with sandbox() as server, connect(server.url) as one, connect(server.url) as two:
        for client in (one, two):
            await subscribed(client, "level2", "market_trades")
        await one.until(lambda f: len(one.of("l2_data")) > 300)
        last = one.of("l2_data", "update")[-1]["events"][0]["updates"][0]["event_time"]
        await two.until(
            lambda f: f["channel"] == "l2_data" and [u for u in f["events"][0]["updates"] if u["event_time"] > last]
        )
        seen = [
            {
                (u["event_time"], u["side"], u["price_level"], u["new_quantity"])
                for f in client.of("l2_data", "update")
                for u in f["events"][0]["updates"]
                if u["event_time"] <= last
            }
            for client in (one, two)
        ]
        start = max(min(rows) for rows in seen)
        assert len(seen[0]) > 200
        assert {row for row in seen[0] if row > start} == {row for row in seen[1] if row > start}


async def test_a_fresh_book_equals_the_one_kept_by_updates() -> None:
    async with sandbox() as server, connect(server.url) as client:
        await subscribed(client, "level2")
        await client.until(lambda f: len(client.of("l2_data", "update")) > 500)
        await client.say("level2", "BTC-USD")
        await client.until(lambda f: len(client.of("l2_data", "snapshot")) == 2)
        frames = client.of("l2_data")
        kept, fresh = book_of(frames[:-1]), book_of(frames[-1:])
        assert kept.levels("bid") == fresh.levels("bid")
        assert kept.levels("ask") == fresh.levels("ask")


async def test_who_says_nothing_is_closed() -> None:
    async with sandbox(first_message_s=0.05) as server, connect(server.url) as client:
        await client.rest()
        assert client.close_code == 1008
        assert "no subscribe message" in server.stats().connections[0].close_reason


async def test_a_refused_subscription_leaves_the_connection_alone() -> None:
    async with sandbox() as server, connect(server.url) as client:
        await client.say("level2", "BTC-USD", "NOPE-USD")
        error = await client.next()
        assert error is not None
        assert "NOPE-USD" in error["message"]
        await subscribed(client, "level2")
        assert await client.until(has("l2_data", "update"))
        assert client.gaps() == []


async def test_max_speed_waits_for_its_reader() -> None:
    async with sandbox(speed=float("inf")) as server, connect(server.url, is_small=True) as client:
        await subscribed(client, "level2", "market_trades")
        await client.until(lambda f: len(client.frames) > 1000)
        seen, sent = -1, 0
        while sent != seen:  # nobody reads: in the end it stands still
            seen = server.stats().connections[0].sent.frames
            await asyncio.sleep(0.3)
            sent = server.stats().connections[0].sent.frames
        await client.until(lambda f: len(client.frames) > 3000)
        assert client.gaps() == []


async def test_who_reads_too_slowly_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "HELD_UPDATES_MAX", 2000)
    async with sandbox(speed=3000) as server, connect(server.url, is_small=True) as client:
        await subscribed(client, "level2", "market_trades")
        for _ in range(3000):
            await asyncio.sleep(0.02)
            if server.stats().connections[0].close_reason:
                break
        assert "slow consumer" in server.stats().connections[0].close_reason


async def test_stats_tell_what_was_sent() -> None:
    async with sandbox() as server, connect(server.url) as client, aiohttp.ClientSession() as session:
        await subscribed(client)
        await client.until(lambda f: len(client.frames) > 300)
        await client.say("level2", "BTC-USD", verb="unsubscribe")
        await client.say("market_trades", "BTC-USD", verb="unsubscribe")
        await client.until(lambda f: len(client.of("subscriptions")) == 6)
        async with session.get(server.url.replace("ws", "http") + "/stats") as response:
            connection = msgspec.json.decode(await response.read())["connections"][0]
        changes = [len(f["events"][0]["updates"]) for f in client.of("l2_data", "update")]
        trades = [len(f["events"][0]["trades"]) for f in client.of("market_trades", "update")]
        sent = connection["products"]["BTC-USD"]
        assert (sent["changes"], sent["updates"]) == (sum(changes), len(changes))
        assert (sent["trades"], sent["trade_frames"]) == (sum(trades), len(trades))
        assert connection["client_messages"] == 6
        async with session.get(server.url.replace("ws", "http") + "/nothing") as response:
            assert response.status == 404


async def test_a_port_in_use_says_what_to_do() -> None:
    async with sandbox() as server:
        with pytest.raises(ConfigError, match=rf"port {server.port} on 127\.0\.0\.1 is in use.*--port"):
            await SandboxServer("coinbase", market(), port=server.port).start()
    with pytest.raises(ConfigError, match="port 70000"):
        await SandboxServer("coinbase", market(), port=70_000).start()


async def test_stopping_closes_every_connection() -> None:
    async def stay(url: str) -> int | None:
        async with connect(url) as client:
            await subscribed(client)
            await client.rest()
            return client.close_code

    async with sandbox() as server:
        stays = [asyncio.create_task(stay(server.url)) for _ in range(3)]
        while len(server.stats().connections) < 3:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert await asyncio.gather(*stays) == [1001] * 3
    assert all(c.closed_s is not None for c in server.stats().connections)
    await server.stop()


def test_in_a_thread() -> None:
    async def visit(url: str) -> Frame | None:
        async with connect(url) as client:
            await subscribed(client)
            return await client.until(has("l2_data", "update"))

    with in_thread(sandbox()) as server:
        assert asyncio.run(visit(server.url))
        assert server.stats().connections[0].sent.changes > 0


async def test_a_market_that_dies_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Doomed(SyntheticSource):
        async def run(self) -> None:
            raise ValueError("no more orders")

    server = SandboxServer("coinbase", Doomed(["BTC-USD"]))
    await server.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "stands still" in caplog.text
    with pytest.raises(ValueError, match="no more orders"):
        await server.stop()
