"""Binance in the sandbox: the conversation alone, the real ccxt client, and real recordings through it."""

import asyncio
import gzip
import itertools
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import msgspec
import pytest

from daedalus.sandbox.base import OutFrame
from daedalus.sandbox.binance import PING_S, BinanceProtocol
from daedalus.sandbox.capture import CaptureSource
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.sandbox.updates import BookSnapshot, LevelChanges, TickerTick, TradeTick, Update
from daedalus.sandbox.view import FIRST_ID, MarketView
from tests.unit.sandbox.ccxt_client import all_kinds, ccxt_client, watch_to_the_end, within

T0 = 1_700_000_000_000_000
SPOT = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")
FUTURES = {
    "usdm": ("dev/binance_usdm_btcusdt_20240808", ("usdm_btcusdt_20240808.gz",), "fapi", "BTCUSDT"),
    "coinm": (
        "dev/binance_cm_btcusd_perp_20240808",
        ("cm_btcusd_perp_20240808.gz", "cm_btcusd_perp_20240809.gz"),
        "dapi",
        "BTCUSD_PERP",
    ),
}


def decode(frames: Iterable[OutFrame]) -> list[Any]:
    return [json.loads(frame.data) for frame in frames]


class Talk:
    """A session over a small market, and what it said."""

    def __init__(self, path: str = "/ws/0") -> None:
        self.view = MarketView(["X-USD", "Y-USD"])
        self.view.apply(BookSnapshot("X-USD", None, [("99.9", "1"), ("99", "2")], [("100.1", "0.5")]))
        self.session = BinanceProtocol().session(path, self.view, T0)

    def say(self, method: str, *params: Any, ident: int = 1) -> Any:
        (answer,) = decode(self.session.receive(json.dumps({"method": method, "params": params, "id": ident})))
        return answer

    def happen(self, *updates: Update) -> list[Any]:
        frames: list[Any] = []
        for update in updates:
            self.view.apply(update)
            frames += decode(self.session.publish(update))
        return frames


def changes(time_us: int, *rows: Any) -> LevelChanges:
    return LevelChanges("X-USD", time_us, rows or [("bid", "99", "3")])


# The conversation


def test_subscribing_is_answered_by_its_id_and_by_nothing_else() -> None:
    talk = Talk()
    assert talk.say("SUBSCRIBE", "xusd@depth@100ms", "xusd@trade", ident=7) == {"result": None, "id": 7}
    assert talk.session.kinds == {"book", "trades"}
    assert talk.say("LIST_SUBSCRIPTIONS") == {"result": ["xusd@depth@100ms", "xusd@trade"], "id": 1}
    talk.say("UNSUBSCRIBE", "xusd@trade")
    assert talk.session.kinds == {"book"}


def test_depth_is_told_in_windows_that_go_on_from_each_other() -> None:
    talk = Talk()
    talk.say("SUBSCRIBE", "xusd@depth@100ms")
    assert talk.happen(changes(T0 + 1), changes(T0 + 99_999, ("ask", "100.1", "0"), ("bid", "99", "4"))) == []
    (first,) = talk.happen(changes(T0 + 100_000))
    (second,) = decode(talk.session.advance(T0 + 200_000))
    assert first == {
        "e": "depthUpdate",
        "E": (T0 + 100_000) // 1000,
        "s": "XUSD",
        "U": FIRST_ID + 2,
        "u": FIRST_ID + 3,
        "b": [["99.00000000", "4.00000000"]],
        "a": [["100.10000000", "0.00000000"]],
    }
    assert (second["U"], second["u"]) == (FIRST_ID + 4, FIRST_ID + 4)
    assert decode(talk.session.finish()) == []


def test_a_new_book_in_mid_stream_breaks_the_numbering() -> None:
    talk = Talk()
    talk.say("SUBSCRIBE", "xusd@depth@100ms")
    talk.happen(changes(T0 + 1))
    (first,) = talk.happen(BookSnapshot("X-USD", T0 + 100_000, [("98", "1")], [("99", "1")]))
    talk.happen(changes(T0 + 100_001))
    (second,) = decode(talk.session.finish())
    assert second["U"] > first["u"] + 1


def test_trades_tell_whether_the_buyer_is_the_maker() -> None:
    talk = Talk()
    talk.say("SUBSCRIBE", "xusd@trade", "xusd@aggTrade")
    trade, aggregate = talk.happen(TradeTick("X-USD", T0, "41", "99.9", "0.25", "buy"))
    priced = {"e": "trade", "E": T0 // 1000, "s": "XUSD", "t": 41, "p": "99.90000000", "q": "0.25000000"}
    assert trade == {**priced, "T": T0 // 1000, "m": True, "M": True}
    assert (aggregate["e"], aggregate["a"], aggregate["f"], aggregate["l"]) == ("aggTrade", 41, 41, 41)


def test_tickers_come_once_a_second_and_quotes_when_they_change() -> None:
    talk = Talk("/stream?streams=xusd@ticker/xusd@bookTicker/!miniTicker@arr")
    tick = TickerTick(product="X-USD", time_us=T0, price="99", change_pct_24h="10", best_bid="99.9", high_24h="101")
    quotes = talk.happen(tick, changes(T0, ("bid", "99.9", "2")), changes(T0, ("bid", "99", "7")))
    assert [(q["stream"], q["data"]["B"], q["data"]["u"]) for q in quotes] == [
        ("xusd@bookTicker", "2.00000000", FIRST_ID + 2)
    ]
    assert decode(talk.session.advance(T0 + 999_999)) == []
    day, mini = decode(talk.session.advance(T0 + 1_000_000))
    data = day["data"]
    assert (data["e"], data["c"], data["o"], data["p"], data["P"]) == (
        *("24hrTicker", "99.00000000", "90.00000000", "9.00000000", "10.000"),
    )
    assert (mini["stream"], mini["data"][0]["e"], mini["data"][0]["h"]) == (
        *("!miniTicker@arr", "24hrMiniTicker", "101.00000000"),
    )


@pytest.mark.parametrize(
    ("path", "greets", "wrapped"),
    [
        ("/ws/0", False, False),
        ("/stream", False, True),
        ("/stream/ws/3", False, False),
        ("/ws/xusd@trade", True, False),
        ("/stream?streams=xusd@trade", True, True),
    ],
)
def test_the_address_tells_the_form_of_the_data(path: str, greets: bool, wrapped: bool) -> None:
    talk = Talk(path)
    assert BinanceProtocol().greets(path) is greets
    talk.say("SUBSCRIBE", "xusd@trade")
    (frame,) = talk.happen(TradeTick("X-USD", T0, "41", "99.9", "0.25", "buy"))
    assert ("stream" in frame) is wrapped
    talk.say("SET_PROPERTY", "combined", not wrapped)
    (frame,) = talk.happen(TradeTick("X-USD", T0, "42", "99.9", "0.25", "buy"))
    assert ("stream" in frame) is not wrapped


def test_what_cannot_be_done_is_refused_and_what_does_not_trade_stays_silent() -> None:
    talk = Talk()
    assert talk.say("SUBSCRIBE", "xusd", ident=3) == {
        "error": {"code": 2, "msg": "Invalid request: invalid stream"},
        "id": 3,
    }
    assert "unknown method" in talk.say("DESCRIBE", "xusd@trade")["error"]["msg"]
    (error,) = decode(talk.session.receive("{"))
    assert error["error"]["code"] == 3
    assert talk.session.kinds == frozenset()
    assert talk.say("SUBSCRIBE", "nope@trade", ident=4) == {"result": None, "id": 4}
    assert talk.happen(TradeTick("X-USD", T0, "41", "99.9", "0.25", "buy")) == []


def test_the_server_pings_every_three_minutes() -> None:
    talk = Talk()
    pings = [frame.kind for _ in range(2 * PING_S) for frame in talk.session.pulse()]
    assert pings == ["ping", "ping"]


# Over sockets


def market(speed: float = 50.0) -> SyntheticSource:
    return SyntheticSource(["BTC-USD", "SOL-USD"], seed=1, speed=speed)


async def get(server: SandboxServer, path: str) -> tuple[int, Any]:
    url = server.url.replace("ws://", "http://") + path
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, json.loads(await response.read())


async def test_rest_calls() -> None:
    async with SandboxServer("binance", market()) as server:
        assert await get(server, "/api/v3/ping") == (200, {})
        assert (await get(server, "/api/v3/time"))[1]["serverTime"] > 1_700_000_000_000
        status, info = await get(server, "/api/v3/exchangeInfo")
        assert [s["symbol"] for s in info["symbols"]] == ["BTCUSD", "SOLUSD"]
        assert (await get(server, "/fapi/v1/exchangeInfo"))[1]["symbols"] == []
        _, book = await get(server, "/api/v3/depth?symbol=SOLUSD&limit=5")
        assert [len(book["bids"]), len(book["asks"])] == [5, 5]
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])
        assert await get(server, "/api/v3/depth?symbol=NOPE") == (400, {"code": -1121, "msg": "Invalid symbol."})
        status, problem = await get(server, "/api/v3/depth")
        assert (status, problem["code"]) == (400, -1102)
        assert (await get(server, "/api/v3/depth?symbol=SOLUSD&limit=x"))[0] == 400


@pytest.mark.parametrize("name", ["binance", "binanceus"])
async def test_ccxt_loads_markets_and_watches_everything(name: str) -> None:
    async with SandboxServer("binance", market()) as server, ccxt_client(name, server) as exchange:
        assert exchange.market("BTC/USD")["precision"]["price"] == 0.01
        trades, book, ticker, quotes = await all_kinds(exchange, "BTC/USD")
        assert trades[0]["side"] in ("buy", "sell")
        assert book["bids"][0][0] < book["asks"][0][0]
        assert ticker["last"] > 0
        assert quotes["BTC/USD"]["bid"] > 0
        for _ in range(30):
            book = await within(exchange.watch_order_book("BTC/USD"))
            assert book["bids"][0][0] < book["asks"][0][0]


async def test_ccxt_notices_a_skipped_update_and_syncs_again() -> None:
    faults = ["skip_sequence@20f"]
    async with SandboxServer("binance", market(), faults=faults) as server, ccxt_client("binance", server) as exchange:
        lost = []
        for _ in range(60):
            try:
                book = await within(exchange.watch_order_book("BTC/USD"))
                assert book["bids"][0][0] < book["asks"][0][0]
            except ccxt.ChecksumError as error:
                lost.append(error)
        assert lost  # ccxt may tell of one loss again and again
        (connection,) = server.stats().connections
        assert connection.dropped.updates == connection.dropped.frames == 1


# Recordings


@pytest.fixture(scope="module")
def spot(recordings: Path) -> CaptureSource:
    return CaptureSource([recordings / "binance_raw" / name for name in SPOT], "binance-raw", "binance")


async def test_the_spot_session_through_ccxt(spot: CaptureSource, recordings: Path) -> None:
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/binance_spot_btcusdt_20240808"]
    async with (
        SandboxServer("binance", spot, close_at_end=True) as server,
        ccxt_client("binanceus", server) as exchange,
    ):
        trades, watch = exchange.watch_trades, exchange.watch_order_book
        await watch_to_the_end(server, lambda: trades("BTC/USDT"), lambda: watch("BTC/USDT"))
        book = exchange.orderbooks["BTC/USDT"]
        messages = [m for m in exchange.messages if isinstance(m, dict)]
    assert [[Decimal(p), Decimal(s)] for p, s in golden["final_best_bids"]] == exact(book["bids"][:5])
    assert [[Decimal(p), Decimal(s)] for p, s in golden["final_best_asks"]] == exact(book["asks"][:5])
    check_trades([m for m in messages if m.get("e") == "trade"], golden)
    assert sum(m.get("e") == "depthUpdate" for m in messages) == golden["by_type"]["depthUpdate"]
    products = [c.products["BTCUSDT"] for c in server.stats().connections]
    assert sum(p.trades for p in products) == golden["n_trades"]
    assert sum(p.updates for p in products) == golden["by_type"]["depthUpdate"]


def exact(levels: Any) -> list[list[Decimal]]:
    return [[Decimal(str(price)), Decimal(str(size))] for price, size in levels]


def check_trades(trades: list[Any], golden: dict[str, Any]) -> None:
    """Every id once, in order, and the exact quantities by the taker's side."""
    ids = [trade["t"] for trade in trades]
    assert ids == list(range(golden["first_trade_id"], golden["last_trade_id"] + 1))
    assert len(ids) == golden["n_trades"]
    for is_buy, key in ((True, "taker_buy_qty"), (False, "taker_sell_qty")):
        assert sum(Decimal(t["q"]) for t in trades if t["m"] is not is_buy) == Decimal(golden[key])


async def test_frames_of_the_spot_session_go_out_byte_for_byte(spot: CaptureSource, recordings: Path) -> None:
    """All streams at once on one connection, named by the address: what comes is the file, without its REST answer."""
    texts: list[str] = []
    async with SandboxServer("binance", spot, close_at_end=True) as server:
        url = f"{server.url}/stream?streams=btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            asked = asyncio.create_task(get(server, "/api/v3/depth?symbol=BTCUSDT&limit=1000"))
            async for message in socket:
                texts.append(message.data)
            _, answer = await asked
    lines = []
    for name in SPOT:
        with gzip.open(recordings / "binance_raw" / name, "rt") as file:
            lines += [line.rstrip("\n").partition(" ")[2] for line in file]
    recorded = [line for line in lines if line.startswith('{"lastUpdateId"')]
    assert [answer] == [json.loads(line) for line in recorded]
    assert texts == [line for line in lines if line not in recorded]


@pytest.mark.parametrize("name", FUTURES)
async def test_a_futures_session_synced_by_the_rules(recordings: Path, name: str) -> None:
    """A client that knows nothing but the documented rules gets every trade and the right book."""
    key, files, api, symbol = FUTURES[name]
    golden = json.loads((recordings / "GOLDEN.json").read_text())[key]
    source = CaptureSource([recordings / "binance_raw" / f for f in files], "binance-raw", "binance")
    trades: list[Any] = []
    depths: list[Any] = []
    async with SandboxServer("binance", source, close_at_end=True) as server:
        path = {"fapi": "/fstream", "dapi": "/dstream"}[api]
        url = f"{server.url}{path}/ws/{symbol.lower()}@depth@0ms/{symbol.lower()}@trade"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            asked = asyncio.create_task(get(server, f"/{api}/v1/depth?symbol={symbol}&limit=1000"))
            async for message in socket:
                frame = msgspec.json.decode(message.data)
                (trades if frame["e"] == "trade" else depths).append(frame)
            _, book = await asked
    check_trades(trades, golden)
    bids, asks, applied = synced(book, depths)
    assert applied == golden["depth_applied"]
    assert [len(bids), len(asks)] == golden["final_levels"]
    assert [[p, bids[p]] for p in sorted(bids, key=float, reverse=True)[:5]] == golden["final_best_bids"]
    assert [[p, asks[p]] for p in sorted(asks, key=float)[:5]] == golden["final_best_asks"]


def synced(book: Any, depths: list[Any]) -> tuple[dict[str, str], dict[str, str], int]:
    """Sync a futures book: drop what is older; the first one spans the answer; then each names the one before."""
    bids, asks = dict(book["bids"]), dict(book["asks"])
    kept = [d for d in depths if d["u"] >= book["lastUpdateId"]]
    assert kept[0]["U"] <= book["lastUpdateId"] <= kept[0]["u"]
    assert all(d["pu"] == before["u"] for before, d in itertools.pairwise(kept))
    for depth in kept:
        for side, levels in ((bids, depth["b"]), (asks, depth["a"])):
            for price, size in levels:
                if float(size):
                    side[price] = size
                else:
                    side.pop(price, None)
    return bids, asks, len(kept)


async def test_ccxt_syncs_again_in_the_middle_of_a_recording(spot: CaptureSource, recordings: Path) -> None:
    """After a lost update the REST answer is the book of that moment, not the one that was recorded at the start."""
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/binance_spot_btcusdt_20240808"]
    faults = ["skip_sequence@500f", "skip_sequence@3000f:5"]
    lost = []

    async def watch() -> None:
        try:
            await exchange.watch_order_book("BTC/USDT")
        except ccxt.ChecksumError as error:
            lost.append(error)
            await asyncio.sleep(0.01)  # ccxt tells of it again before it has done anything about it

    async with (
        SandboxServer("binance", spot, faults=faults, close_at_end=True) as server,
        ccxt_client("binanceus", server) as exchange,
    ):
        await watch_to_the_end(server, watch)
        book = exchange.orderbooks["BTC/USDT"]
    assert len(lost) >= 2
    assert [[Decimal(p), Decimal(s)] for p, s in golden["final_best_bids"]] == exact(book["bids"][:5])
    assert [[Decimal(p), Decimal(s)] for p, s in golden["final_best_asks"]] == exact(book["asks"][:5])


async def test_two_files_of_another_recorder(recordings: Path) -> None:
    """The answers are in a file of their own, beside the frames: merged by the clock, each synced to its symbol."""
    folder = recordings / "cryptofeed_ws"
    source = CaptureSource([folder / "BINANCE_US.ws.1.0", folder / "BINANCE_US.http.0.0"], "cryptofeed", "binance")
    assert set(source.answers) == {"COMPUSDT", "OMGBUSD", "CRVUSDT", "ZRXUSDT"}
    symbols = ["COMP/USDT", "OMG/BUSD", "CRV/USDT", "ZRX/USDT"]
    async with (
        SandboxServer("binance", source, close_at_end=True) as server,
        ccxt_client("binanceus", server) as exchange,
    ):
        await watch_to_the_end(server, lambda: exchange.watch_order_book_for_symbols(symbols))
        for symbol in symbols:
            book = exchange.orderbooks[symbol]
            assert book["bids"][0][0] < book["asks"][0][0]
        assert sum(m.get("e") == "depthUpdate" for m in exchange.messages) == 336


async def test_a_session_without_an_answer_says_so(recordings: Path) -> None:
    source = CaptureSource([recordings / "binance_raw" / SPOT[1]], "binance-raw", "binance")
    async with SandboxServer("binance", source) as server:
        status, problem = await get(server, "/api/v3/depth?symbol=BTCUSDT")
        assert (status, problem["code"]) == (503, -1000)
        assert "holds no answer" in problem["msg"]
