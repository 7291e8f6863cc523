"""Kraken in the sandbox: the conversation alone, the real ccxt client, and real recordings through it."""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daedalus.sandbox.base import OutFrame
from daedalus.sandbox.capture import CaptureSource
from daedalus.sandbox.kraken import KrakenProtocol
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.sandbox.updates import BookSnapshot, LevelChanges, TickerTick, TradeTick, Update
from daedalus.sandbox.view import MarketView
from tests.unit.sandbox.ccxt_client import all_kinds, ccxt_client, watch_to_the_end, within

T0 = 1_700_000_000_000_000


def decode(frames: Iterable[OutFrame]) -> list[Any]:
    return [exact(frame.data) for frame in frames]


def exact(text: str | bytes) -> Any:
    """Parse JSON with the digits of numbers kept."""
    return json.loads(text, parse_float=str, parse_int=str)


class Talk:
    """A session over a small market, and what it said."""

    def __init__(self) -> None:
        self.view = MarketView(["X-USD", "Y-USD"])
        levels = [[(str(100 + sign * n), "1.5") for n in range(1, 13)] for sign in (-1, 1)]
        self.view.apply(BookSnapshot("X-USD", T0, *levels))  # type: ignore[arg-type]
        self.view.apply(TradeTick("X-USD", T0, "40", "99.9", "1", "sell"))
        self.session = KrakenProtocol().session("/v2", self.view, T0)

    def say(self, method: str, channel: str = "", *symbols: str, **params: Any) -> list[Any]:
        params = {"channel": channel, "symbol": symbols or ["X/USD"], **params}
        return decode(self.session.receive(json.dumps({"method": method, "params": params, "req_id": 7})))

    def happen(self, *updates: Update) -> list[Any]:
        frames: list[Any] = []
        for update in updates:
            self.view.apply(update)
            frames += decode(self.session.publish(update))
        return frames


def changes(*rows: Any) -> LevelChanges:
    return LevelChanges("X-USD", T0 + 1, rows)


class Book:
    """A client's book, and how often the checksum was right."""

    def __init__(self, depth: int = 10) -> None:
        self.depth, self.right, self.wrong = depth, 0, 0
        self.sides: dict[str, dict[float, tuple[str, str]]] = {"bids": {}, "asks": {}}

    def take(self, message: Any) -> None:
        (data,) = message["data"]
        for name, side in self.sides.items():
            if message["type"] == "snapshot":
                side.clear()
            side.update({float(level["price"]): (level["price"], level["qty"]) for level in data[name]})
            kept = sorted((p for p, (_, q) in side.items() if float(q)), reverse=name == "bids")[: self.depth]
            self.sides[name] = {price: side[price] for price in kept}
        top = [n for name in ("asks", "bids") for level in list(self.sides[name].values())[:10] for n in level]
        text = "".join(number.replace(".", "").lstrip("0") for number in top)
        is_right = zlib.crc32(text.encode()) == int(data["checksum"])
        self.right, self.wrong = self.right + is_right, self.wrong + (not is_right)


# The conversation


def test_kraken_speaks_first() -> None:
    assert KrakenProtocol().greets("/v2")
    (status,) = decode(Talk().session.greet())
    assert (status["channel"], status["data"][0]["system"]) == ("status", "online")


def test_a_book_is_told_to_its_depth() -> None:
    talk = Talk()
    answer, snapshot = talk.say("subscribe", "book")
    assert answer["result"] == {"channel": "book", "depth": "10", "snapshot": True, "symbol": "X/USD"}
    assert (answer["success"], answer["req_id"]) == (True, "7")
    data = snapshot["data"][0]
    assert [len(data["bids"]), len(data["asks"])] == [10, 10]
    assert data["bids"][0] == {"price": "99.0", "qty": "1.50000000"}
    book = Book()
    book.take(snapshot)
    (update,) = talk.happen(changes(("bid", "99.5", "2")))  # pushes one out, of which nothing is said
    assert update["data"][0]["bids"] == [{"price": "99.5", "qty": "2.00000000"}]
    book.take(update)
    assert talk.happen(changes(("bid", "90", "3"))) == []  # behind the depth
    (update,) = talk.happen(changes(("bid", "99.5", "0")))  # what was pushed out comes back
    assert update["data"][0]["bids"] == [
        {"price": "99.5", "qty": "0.00000000"},
        {"price": "90.0", "qty": "3.00000000"},
    ]
    book.take(update)
    assert (book.right, book.wrong) == (3, 0)


def test_trades_are_the_takers_and_past_ones_only_on_request() -> None:
    talk = Talk()
    assert len(talk.say("subscribe", "trade")) == 1
    (trade,) = talk.happen(TradeTick("X-USD", T0 + 1, "41", "99.9", "0.25", "buy"))
    assert trade["data"][0] == {
        "symbol": "X/USD",
        "side": "sell",
        "price": "99.9",
        "qty": "0.25000000",
        "ord_type": "market",
        "trade_id": "41",
        "timestamp": "2023-11-14T22:13:20.000001Z",
    }
    talk.say("unsubscribe", "trade")
    _, past = talk.say("subscribe", "trade", snapshot=True)
    assert (past["type"], [t["trade_id"] for t in past["data"]]) == ("snapshot", ["40", "41"])


def test_a_ticker_comes_with_trades_or_with_quotes() -> None:
    talk = Talk()
    _, first = talk.say("subscribe", "ticker", event_trigger="bbo")
    assert (first["type"], first["data"][0]["bid"], first["data"][0]["last"]) == ("snapshot", "99", "99.9")
    tick = TickerTick(product="X-USD", time_us=T0, price="110", change_pct_24h="10")
    assert talk.happen(tick, changes(("bid", "50", "1"))) == []
    (update,) = talk.happen(changes(("bid", "99.9", "1")))
    assert (update["type"], update["data"][0]["bid"], update["data"][0]["change"]) == ("update", "99.9", "10.00000000")
    talk.say("unsubscribe", "ticker")
    talk.say("subscribe", "ticker")
    assert talk.happen(changes(("bid", "99.95", "1"))) == []
    (update,) = talk.happen(tick)
    assert update["data"][0]["last"] == "110"


@pytest.mark.parametrize(
    ("method", "channel", "symbols", "params", "says"),
    [
        ("subscribe", "book", ["NO/USD"], {}, "Currency pair not supported NO/USD"),
        ("subscribe", "book", ["X/USD"], {"depth": 11}, "depth not supported"),
        ("subscribe", "premonitions", ["X/USD"], {}, "not found"),
        ("unsubscribe", "book", ["X/USD"], {}, "Not Found"),
        ("describe", "book", ["X/USD"], {}, "not found"),
    ],
)
def test_refusals(method: str, channel: str, symbols: list[str], params: Any, says: str) -> None:
    (error,) = Talk().say(method, channel, *symbols, **params)
    assert says in error["error"]
    assert (error["success"], error["method"], error["req_id"]) == (False, method, "7")


def test_a_second_subscription_is_refused_and_nonsense_too() -> None:
    talk = Talk()
    talk.say("subscribe", "book")
    (error,) = talk.say("subscribe", "book")
    assert error["error"] == "Already subscribed"
    (error,) = decode(talk.session.receive("{"))
    assert error["error"] == "Malformed request"
    (pong,) = decode(talk.session.receive('{"method":"ping","req_id":3}'))
    assert (pong["method"], pong["req_id"]) == ("pong", "3")


def test_heartbeats_fill_silence() -> None:
    talk = Talk()
    assert list(talk.session.pulse()) == []
    talk.say("subscribe", "book")
    assert decode(talk.session.pulse()) == []
    assert decode(talk.session.pulse()) == [{"channel": "heartbeat"}]
    talk.happen(changes(("bid", "99.9", "1")))
    assert decode(talk.session.pulse()) == []


# Over sockets


def market(speed: float = 50.0) -> SyntheticSource:
    return SyntheticSource(["BTC-USD", "SOL-USD", "DOGE-USD"], seed=1, speed=speed)


async def books_of(server: SandboxServer, *symbols: str, depth: int = 10, messages: int = 10**9) -> dict[str, Book]:
    """Keep books by the rules until so many messages have come, or the end."""
    books = {symbol: Book(depth) for symbol in symbols}
    async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/v2") as socket:
        params = {"channel": "book", "symbol": symbols, "depth": depth}
        await socket.send_json({"method": "subscribe", "params": params})
        async for frame in socket:
            message = exact(frame.data)
            if message.get("channel") == "book":
                books[message["data"][0]["symbol"]].take(message)
                messages -= 1
            if not messages:
                break
    return books


async def test_rest_calls() -> None:
    async def get(path: str) -> Any:
        async with session.get(server.url.replace("ws://", "http://") + path) as response:
            return json.loads(await response.read())["result"]

    async with SandboxServer("kraken", market()) as server, aiohttp.ClientSession() as session:
        assert (await get("/0/public/Assets"))["XXBT"]["altname"] == "XBT"
        pairs = await get("/0/public/AssetPairs")
        assert {name: pair["wsname"] for name, pair in pairs.items()} == {
            "XXBTZUSD": "XBT/USD",
            "SOLUSD": "SOL/USD",
            "XXDGZUSD": "XDG/USD",
        }
        assert (await get("/0/public/SystemStatus"))["status"] == "online"
        assert (await get("/0/public/Time"))["unixtime"] > 1_700_000_000


async def test_ccxt_loads_markets_and_watches_everything() -> None:
    async with SandboxServer("kraken", market()) as server, ccxt_client("kraken", server) as exchange:
        assert {"BTC/USD", "SOL/USD", "DOGE/USD"} <= set(exchange.markets)
        assert exchange.market("BTC/USD")["precision"] == {"amount": 1e-08, "price": 0.01}
        trades, book, ticker, quotes = await all_kinds(exchange, "BTC/USD")
        assert trades[0]["side"] in ("buy", "sell")
        assert ticker["last"] > 0
        assert quotes["BTC/USD"]["bid"] > 0
        for _ in range(30):
            book = await within(exchange.watch_order_book("BTC/USD"))
            assert book["bids"][0][0] < book["asks"][0][0]


@pytest.mark.parametrize("depth", [10, 100])
async def test_checksums_are_right(depth: int) -> None:
    async with SandboxServer("kraken", market(200)) as server:
        books = await books_of(server, "BTC/USD", "SOL/USD", "DOGE/USD", depth=depth, messages=1000)
    assert sum(book.right for book in books.values()) == 1000
    assert all(book.right > 100 for book in books.values())


@pytest.mark.parametrize("seed", range(4))
async def test_a_skipped_update_always_shows_in_the_next_checksum(seed: int) -> None:
    """A loss that the next message would hide, by setting the same level, takes that message along."""
    source = SyntheticSource(["BTC-USD", "SOL-USD"], seed=seed, speed=200)
    books = {symbol: Book() for symbol in ("BTC/USD", "SOL/USD")}
    async with (
        SandboxServer("kraken", source, faults=["skip_sequence@40f/SOL-USD"]) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.url + "/v2") as socket,
    ):
        params = {"channel": "book", "symbol": list(books)}
        await socket.send_json({"method": "subscribe", "params": params})
        for _ in range(2000):
            message = exact((await within(socket.receive())).data)
            if message.get("channel") == "book":
                books[message["data"][0]["symbol"]].take(message)
            if books["SOL/USD"].wrong:
                break
        dropped, products = server.stats().connections[0].dropped, server.stats().connections[0].products
    assert (books["SOL/USD"].wrong, books["BTC/USD"].wrong) == (1, 0)
    assert dropped.updates >= 1
    assert dropped.trades == 0
    assert books["SOL/USD"].right <= products["SOL-USD"].updates + 1


# Recordings


async def test_the_recorded_books_have_all_their_checksums_right(recordings: Path) -> None:
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/kraken_v2"]
    source = CaptureSource([recordings / "kraken_book" / "orderbook-v2.json"], "kraken-book", "kraken")
    source.linger_s = 0.1
    async with SandboxServer("kraken", source, close_at_end=True) as server:
        book = (await books_of(server, "BTC/USD"))["BTC/USD"]
        assert (book.right, book.wrong) == (golden["checksum_ok"], 0)
        deeper = (await books_of(server, "BTC/USD", depth=25))["BTC/USD"]
        assert (deeper.right, deeper.wrong) == (golden["checksum_ok"], 0)
    assert [c.products["BTC/USD"].updates for c in server.stats().connections] == [509, 509]


async def test_raw_frames_go_out_byte_for_byte(recordings: Path) -> None:
    path = recordings / "kraken_book" / "kraken_book.jsonl"
    source = CaptureSource([path], "json-frames", "kraken")
    source.linger_s = 0.1
    async with (
        SandboxServer("kraken", source, close_at_end=True) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.url + "/v2") as socket,
    ):
        await socket.send_json({"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}})
        texts = [frame.data async for frame in socket]
    recorded = [line for line in path.read_text().splitlines() if line.startswith('{"channel":"book"')]
    assert [text for text in texts if text.startswith('{"channel":"book"')] == recorded


async def test_the_recorded_books_through_ccxt(recordings: Path) -> None:
    source = CaptureSource([recordings / "kraken_book" / "orderbook-v2.json"], "kraken-book", "kraken")
    async with (
        SandboxServer("kraken", source, close_at_end=True) as server,
        ccxt_client("kraken", server) as exchange,
    ):
        watch, quotes = exchange.watch_order_book, exchange.watch_bids_asks
        await watch_to_the_end(server, lambda: watch("BTC/USD"), lambda: quotes(["BTC/USD"]))
        assert sum(m.get("channel") == "book" for m in exchange.messages) == 510
        assert sum(m.get("channel") == "ticker" for m in exchange.messages) > 50
        assert len(exchange.orderbooks["BTC/USD"]["bids"]) == 10


async def test_the_older_feed_is_told_in_the_new_words(recordings: Path) -> None:
    """Frames of v1, books and trades from two files: v2 names, v2 checksums over the recorded digits."""
    files = [recordings / "cryptofeed_ws" / name for name in ("KRAKEN.ws.50.0", "KRAKEN.ws.48.0")]
    source = CaptureSource(files, "cryptofeed", "kraken")
    source.linger_s = 0.3
    async with SandboxServer("kraken", source, close_at_end=True) as server:
        async with ccxt_client("kraken", server) as exchange:
            symbols = list(exchange.markets)
            assert {"BTC/CHF", "XMR/USD", "KSM/BTC"} <= set(symbols)
            await watch_to_the_end(server, lambda: exchange.watch_trades_for_symbols(symbols))
            trades = [t for m in exchange.messages if m.get("channel") == "trade" for t in m["data"]]
            assert len(trades) == 10
            assert {t["symbol"] for t in trades} <= set(symbols)
        books = await books_of(server, *symbols)
    assert {book.wrong for book in books.values()} == {0}
    assert sum(book.right for book in books.values()) > 3000
