"""OKX in the sandbox: the conversation alone, the real ccxt client, and a real recording through it."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import pytest

from daedalus.sandbox.base import OutFrame
from daedalus.sandbox.capture import CaptureSource
from daedalus.sandbox.okx import KEEP_ALIVE_S, OkxProtocol
from daedalus.sandbox.okx_messages import checksum
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.sandbox.updates import BookSnapshot, LevelChanges, TickerTick, TradeTick, Update
from daedalus.sandbox.view import FIRST_ID, MarketView
from tests.unit.sandbox.ccxt_client import all_kinds, ccxt_client, watch_to_the_end, within

T0 = 1_700_000_000_000_000


def decode(frames: Iterable[OutFrame]) -> list[Any]:
    return [json.loads(frame.data) for frame in frames]


class Talk:
    """A session over a small market, and what it said."""

    def __init__(self) -> None:
        self.view = MarketView(["X-USD", "Y-USD"])
        self.view.apply(BookSnapshot("X-USD", T0, [("99.9", "1"), ("99", "2")], [("100.1", "0.5")]))
        self.view.apply(TradeTick("X-USD", T0, "40", "99.9", "1", "sell"))
        self.session = OkxProtocol().session("/ws/v5/public", self.view, T0)

    def say(self, op: str, *channels: str, product: str = "X-USD") -> list[Any]:
        args = [{"channel": channel, "instId": product} for channel in channels]
        return decode(self.session.receive(json.dumps({"op": op, "args": args})))

    def happen(self, *updates: Update) -> list[Any]:
        frames: list[Any] = []
        for update in updates:
            self.view.apply(update)
            frames += decode(self.session.publish(update))
        return frames


def changes(time_us: int, *rows: Any) -> LevelChanges:
    return LevelChanges("X-USD", time_us, rows or [("bid", "99", "3")])


# The conversation


def test_ping_is_a_text() -> None:
    (pong,) = Talk().session.receive("ping")
    assert pong.data == b"pong"


def test_books_are_a_snapshot_then_updates_that_name_the_one_before() -> None:
    talk = Talk()
    answer, snapshot = talk.say("subscribe", "books")
    assert (answer["event"], answer["arg"]) == ("subscribe", {"channel": "books", "instId": "X-USD"})
    assert snapshot["action"] == "snapshot"
    book = snapshot["data"][0]
    assert book["bids"] == [["99.9", "1", "0", "1"], ["99", "2", "0", "1"]]
    assert (book["prevSeqId"], book["seqId"], book["checksum"]) == (-1, FIRST_ID + 1, 0)
    assert talk.happen(changes(T0 + 1), changes(T0 + 2, ("bid", "99.9", "0"), ("ask", "101", "4"))) == []
    (update,) = decode(talk.session.advance(T0 + 100_000))
    assert update["action"] == "update"
    assert update["data"][0] == {
        "asks": [["101", "4", "0", "1"]],
        "bids": [["99", "3", "0", "1"], ["99.9", "0", "0", "0"]],
        "ts": str((T0 + 2) // 1000),
        "checksum": 0,
        "prevSeqId": FIRST_ID + 1,
        "seqId": FIRST_ID + 3,
    }
    talk.happen(changes(T0 + 100_001, ("bid", "98", "1")))
    (update,) = decode(talk.session.finish())
    assert (update["data"][0]["prevSeqId"], update["data"][0]["seqId"]) == (FIRST_ID + 3, FIRST_ID + 4)


def test_every_change_at_once_and_tops_only_when_they_change() -> None:
    talk = Talk()
    talk.say("subscribe", "books-l2-tbt", "bbo-tbt", "books5")
    (update,) = talk.happen(changes(T0 + 1))
    assert update["arg"]["channel"] == "books-l2-tbt"
    tbt, top = talk.happen(changes(T0 + 2, ("bid", "99.9", "7")))
    assert (tbt["arg"]["channel"], top["arg"]["channel"]) == ("books-l2-tbt", "bbo-tbt")
    assert top["data"][0]["bids"] == [["99.9", "7", "0", "1"]]
    (five,) = decode(talk.session.advance(T0 + 100_000))
    assert (five["arg"]["channel"], len(five["data"][0]["bids"])) == ("books5", 2)
    assert "action" not in five
    talk.happen(changes(T0 + 100_001, ("bid", "98", "0")))  # a delete of what is not there
    assert decode(talk.session.advance(T0 + 200_000)) == []


def test_a_book_that_does_not_change_shows_that_it_lives() -> None:
    talk = Talk()
    talk.say("subscribe", "books")
    beats = [frame for _ in range(KEEP_ALIVE_S) for frame in talk.session.pulse()]
    (beat,) = beats
    book = json.loads(beat.data)["data"][0]
    assert (book["bids"], book["asks"], book["prevSeqId"]) == ([], [], book["seqId"])
    assert not beat.is_flow


def test_trades_begin_with_the_last_one() -> None:
    talk = Talk()
    _, past = talk.say("subscribe", "trades")
    assert (past["data"][0]["tradeId"], past["data"][0]["side"]) == ("40", "buy")
    (new,) = talk.happen(TradeTick("X-USD", T0 + 5000, "41", "99", "0.5", "buy"))
    assert new["data"] == [
        {
            "instId": "X-USD",
            "tradeId": "41",
            "px": "99",
            "sz": "0.5",
            "side": "sell",
            "ts": "1700000000005",
            "count": "1",
        }
    ]


def test_tickers_leave_empty_what_nobody_knows() -> None:
    talk = Talk()
    talk.say("subscribe", "tickers")
    talk.happen(TickerTick(product="X-USD", time_us=T0, price="99", change_pct_24h="10", best_bid="98"))
    (ticker,) = decode(talk.session.advance(T0 + 100_000))
    data = ticker["data"][0]
    assert (data["last"], data["open24h"], data["bidPx"], data["askPx"]) == ("99", "90", "98", "")


def test_each_argument_is_answered_alone() -> None:
    talk = Talk()
    refused, answer, *_ = talk.say("subscribe", "premonitions", "books")
    assert (refused["event"], refused["code"]) == ("error", "60018")
    assert answer["event"] == "subscribe"
    (refused,) = talk.say("subscribe", "books", product="NO-USD")
    assert "instId:NO-USD doesn't exist" in refused["msg"]
    assert talk.say("describe", "books")[-1]["code"] == "60012"
    assert decode(talk.session.receive("{"))[0]["code"] == "60012"
    assert talk.say("login", "anything")[0]["event"] == "login"


def test_a_second_snapshot_needs_an_unsubscribe() -> None:
    talk = Talk()
    talk.say("subscribe", "books")
    assert [frame["event"] for frame in talk.say("subscribe", "books")] == ["subscribe"]
    (answer,) = talk.say("unsubscribe", "books")
    assert answer["event"] == "unsubscribe"
    assert talk.session.kinds == frozenset()
    assert len(talk.say("subscribe", "books")) == 2


# Over sockets


def market(speed: float = 50.0) -> SyntheticSource:
    return SyntheticSource(["BTC-USD", "SOL-USD"], seed=1, speed=speed)


async def test_rest_calls() -> None:
    async def get(path: str) -> Any:
        async with session.get(server.url.replace("ws://", "http://") + path) as response:
            return json.loads(await response.read())

    async with SandboxServer("okx", market()) as server, aiohttp.ClientSession() as session:
        found = await get("/api/v5/public/instruments?instType=SPOT")
        assert [(i["instId"], i["tickSz"]) for i in found["data"]] == [("BTC-USD", "0.01"), ("SOL-USD", "0.01")]
        assert (await get("/api/v5/public/instruments?instType=SWAP"))["data"] == []
        assert (await get("/api/v5/public/instruments"))["code"] == "51000"
        assert int((await get("/api/v5/public/time"))["data"][0]["ts"]) > 1_700_000_000_000
        (book,) = (await get("/api/v5/market/books?instId=SOL-USD&sz=7"))["data"]
        assert [len(book["bids"]), len(book["asks"])] == [7, 7]
        assert (await get("/api/v5/market/books?instId=NO-USD"))["code"] == "51001"


async def test_ccxt_loads_markets_and_watches_everything() -> None:
    async with SandboxServer("okx", market()) as server, ccxt_client("okx", server) as exchange:
        assert exchange.market("SOL/USD")["precision"]["price"] == 0.01
        trades, book, ticker, quotes = await all_kinds(exchange, "SOL/USD")
        assert trades[0]["side"] in ("buy", "sell")
        assert book["nonce"] > FIRST_ID
        assert ticker["last"] > 0
        assert quotes["SOL/USD"]["ask"] > 0
        for _ in range(30):
            book = await within(exchange.watch_order_book("SOL/USD"))
            assert book["bids"][0][0] < book["asks"][0][0]


async def test_ccxt_notices_a_skipped_update_and_syncs_again() -> None:
    """ccxt changes its book, and only then looks at the numbers: until it has raised, the book may be crossed."""
    async with SandboxServer("okx", market(), faults=["skip_sequence@20f"]) as server:
        async with ccxt_client("okx", server) as exchange:
            lost = 0
            for _ in range(60):
                try:
                    book = await within(exchange.watch_order_book("BTC/USD"))
                    assert not lost or book["bids"][0][0] < book["asks"][0][0]
                except ccxt.InvalidNonce:
                    lost += 1
        assert lost
        (connection,) = server.stats().connections
        assert (connection.dropped.updates, connection.sent.snapshots) == (1, 2)


# Recordings


@pytest.fixture(scope="module")
def session(recordings: Path) -> CaptureSource:
    return CaptureSource([recordings / "cryptofeed_ws" / "OKX.ws.1.0"], "cryptofeed", "okx")


async def test_the_recording_through_ccxt(session: CaptureSource, recordings: Path) -> None:
    async with SandboxServer("okx", session, close_at_end=True) as server, ccxt_client("okx", server) as exchange:
        symbols = list(exchange.markets)
        assert sorted(symbols) == ["BTC/USD:BTC-220527", "BTC/USDT", "UNI/USD:UNI"]
        await watch_to_the_end(
            server,
            lambda: exchange.watch_order_book_for_symbols(symbols),
            lambda: exchange.watch_trades_for_symbols(symbols),
            lambda: exchange.watch_tickers(symbols),
        )
        messages = [m for m in exchange.messages if isinstance(m, dict) and "data" in m]
        books = exchange.orderbooks
    recorded = [line.partition(": ")[2] for line in lines(recordings / "cryptofeed_ws" / "OKX.ws.1.0")]
    assert messages == [json.loads(text) for text in recorded if '"data":' in text]
    assert sum(m["arg"]["channel"] == "trades" for m in messages) == 74
    for message in (m for m in messages if m["arg"]["channel"] == "books"):
        last = message["data"][0]["checksum"], exchange.safe_symbol(message["arg"]["instId"])
    book = books[last[1]]
    assert (len(book["bids"]), len(book["asks"])) == (74, 62)
    sent = {name: counts.trades for name, counts in server.stats().connections[0].products.items()}
    assert sent == {"BTC-USDT": 69, "BTC-USD-220527": 4, "UNI-USD-SWAP": 1}


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line[:1].isdigit()]


async def test_who_comes_late_gets_a_book_that_the_recorded_checksums_go_on_from(recordings: Path) -> None:
    """The channel is asked for in the middle: the book is made from what the connection has seen by then."""
    source = CaptureSource([recordings / "cryptofeed_ws" / "OKX.ws.1.0"], "cryptofeed", "okx", speed=8.0)
    source.linger_s = 0.1
    books: list[Any] = []
    async with (
        SandboxServer("okx", source, close_at_end=True) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.url + "/ws/v5/public") as socket,
    ):
        for channel in ("trades", "books"):
            args = [{"channel": channel, "instId": "BTC-USDT"}]
            await socket.send_json({"op": "subscribe", "args": args})
            for _ in range(5 if channel == "trades" else 10_000):
                message = await socket.receive(10)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                frame = json.loads(message.data)
                if "data" in frame and frame["arg"]["channel"] == "books":
                    books.append(frame)
    assert len(books) > 10
    assert books[0]["action"] == "snapshot"
    sides: list[dict[str, str]] = [{}, {}]
    for frame in books:
        (data,) = frame["data"]
        assert "seqId" not in data
        for side, levels in zip(sides, (data["bids"], data["asks"]), strict=True):
            side.update({price: size for price, size, *_ in levels})
        bids, asks = ([(p, s) for p, s in side.items() if s != "0"] for side in sides)
        bids.sort(key=lambda level: -float(level[0]))
        asks.sort(key=lambda level: float(level[0]))
        assert checksum(bids, asks) == data["checksum"]


async def test_another_protocol_tells_what_the_frames_say(session: CaptureSource, recordings: Path) -> None:
    """The same recording over Binance's protocol: its own numbering, the same trades and books."""
    source = CaptureSource([recordings / "cryptofeed_ws" / "OKX.ws.1.0"], "cryptofeed", "binance")
    source.linger_s = 0.3
    async with (
        SandboxServer("binance", source, close_at_end=True) as server,
        ccxt_client("binanceus", server) as exchange,
    ):
        trades, book = exchange.watch_trades, exchange.watch_order_book
        await watch_to_the_end(server, lambda: trades("BTC/USDT"), lambda: book("BTC/USDT"))
        ids = [m["t"] for m in exchange.messages if m.get("e") == "trade"]
        depths = [m for m in exchange.messages if m.get("e") == "depthUpdate"]
        assert exchange.orderbooks["BTC/USDT"]["bids"][0][0] < exchange.orderbooks["BTC/USDT"]["asks"][0][0]
    assert len(ids) == 69
    assert len(depths) > 50
    assert all(later["U"] == before["u"] + 1 for before, later in itertools.pairwise(depths))
