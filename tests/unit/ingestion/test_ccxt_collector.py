"""Recording through the real CCXT client: nothing between two watches is lost, faults cost no more than they must."""

import asyncio
import itertools
import json

import pytest
from structlog.testing import capture_logs

from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.ingestion.collectors.ccxt_opening import read_opening
from daedalus.shared.errors import TransientCollectorError
from daedalus.shared.events import BookDelta, BookSnapshot, Frame, Gap, Ticker, Trade, unpack_changes, unpack_levels
from tests.unit.ingestion.okx_server import (
    OkxServer,
    book,
    collector,
    of_kind,
    record,
    snapshot,
    trades,
    update,
)

BTC = {"watchOrderBook": ["BTC/USDT"]}
BOTH = {"watchOrderBook": ["BTC/USDT", "ETH/USDT"]}


def script_of(*frames):
    """Send these frames to whoever subscribes to the first."""

    async def script(ws, arg):
        if arg["instId"] == "BTC-USDT":
            for frame in frames:
                await ws.send_str(frame)

    return script


# -- nothing is lost ---------------------------------------------------------------------------------------------------


async def test_a_burst_of_5000_trades_arrives_whole():
    async with OkxServer(
        script_of(*(trades("BTC-USDT", range(i, i + 50)) for i in range(0, 5000, 50)))
    ).running() as server:
        events = await record(
            collector(server, channels={"watchTrades": ["BTC/USDT"]}), lambda e: len(of_kind(e, Trade)) >= 5000
        )
    assert [int(t.trade_id) for t in of_kind(events, Trade)] == list(range(5000))
    assert not of_kind(events, Gap)


async def test_5000_trades_in_one_message_arrive_whole():
    async with OkxServer(script_of(trades("BTC-USDT", range(5000)))).running() as server:
        channels = {"watchTrades": ["BTC/USDT"]}
        events = await record(collector(server, channels=channels), lambda e: len(of_kind(e, Trade)) >= 5000)
    first = of_kind(events, Trade)[0]
    assert [int(t.trade_id) for t in of_kind(events, Trade)] == list(range(5000))
    assert (first.symbol, first.side, first.price, first.amount, first.cost) == ("BTC/USDT", "buy", 1000.1, 0.25, None)
    assert first.info_json == '{"count":"1"}'


async def test_30000_book_frames_give_30000_rows_of_their_own():
    count = 30_000
    async with OkxServer(
        script_of(snapshot("BTC-USDT"), *(update("BTC-USDT", n) for n in range(2, count + 1)))
    ).running() as server:
        events = await record(collector(server, channels=BTC, max_orderbook_depth=1), lambda e: len(e) >= count)
    books = of_kind(events, BookSnapshot)
    assert [b.nonce for b in books] == list(range(1, count + 1))
    # Each row holds the book as it was then, not as it is now.
    assert [unpack_levels(b.asks) for b in books[1:]] == [[(1000.1, n + 0.5)] for n in range(2, count + 1)]


async def test_l2_rebuilds_every_snapshot():
    from daedalus.shared.book import OrderBook

    changes = [[f"{1000 + i / 10:.1f}", str(i % 7), "0", "1"] for i in range(1, 40)]
    frames = [update("BTC-USDT", n, asks=changes[n : n + 5]) for n in range(2, 35)]
    async with OkxServer(script_of(snapshot("BTC-USDT"), *frames)).running() as server:
        events = await record(
            collector(server, channels=BTC, record=("l2", "orderbook")), lambda e: len(of_kind(e, BookSnapshot)) >= 34
        )
    rebuilt = OrderBook()
    for delta, row in zip(of_kind(events, BookDelta), of_kind(events, BookSnapshot), strict=True):
        rebuilt.apply(delta.changes, delta.is_snapshot)
        assert rebuilt.top(20) == (row.bids, row.asks)
    assert [d.is_snapshot for d in of_kind(events, BookDelta)] == [True] + [False] * 33
    assert unpack_changes(of_kind(events, BookDelta)[1].changes)[0][1:] == ("ask", 1000.3, 3.0)


async def test_books_come_at_the_interval_and_once_more_when_the_market_is_quiet():
    async with OkxServer(
        script_of(snapshot("BTC-USDT"), *(update("BTC-USDT", n) for n in range(2, 500)))
    ).running() as server:
        events = await record(
            collector(server, channels=BTC, orderbook_interval_ms=300), lambda e: e and e[-1].nonce == 499
        )
    assert 2 <= len(events) < 20
    gaps = [b.collected_at - a.collected_at for a, b in itertools.pairwise(events)]
    assert min(gaps) >= 300_000_000


async def test_frames_are_verbatim_and_alone_they_cost_no_handler():
    frames = [snapshot("BTC-USDT"), *(update("BTC-USDT", n) for n in range(2, 100))]
    async with OkxServer(script_of(*frames)).running() as server:
        of = collector(server, channels=BTC, record=("frames",))
        events = await record(of, lambda e: len(e) >= 102)
    assert {type(e) for e in events} == {Frame}
    assert [e.frame for e in events if e.direction == "in"][1:] == frames
    opening, asked = [e for e in events if e.direction == "out"]
    assert json.loads(asked.frame)["op"] == "subscribe"
    assert read_opening(opening.frame).calls[0].symbols == ("BTC/USDT",)
    assert {e.symbol for e in events} == {"ALL"} and len({e.connection_id for e in events}) == 2


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_an_error_frame_costs_one_frame_and_no_row():
    error = json.dumps({"event": "error", "code": "50026", "msg": "System error"})
    frames = [snapshot("BTC-USDT"), update("BTC-USDT", 2), error, update("BTC-USDT", 3), update("BTC-USDT", 4)]
    with capture_logs() as logs:
        async with OkxServer(script_of(*frames)).running() as server:
            of = collector(server, channels=BTC)
            events = await record(of, lambda e: len(of_kind(e, BookSnapshot)) >= 4)
    assert [b.nonce for b in events] == [1, 2, 3, 4] and of.counters.complaints == 1
    assert [e["event"] for e in logs if e["log_level"] == "warning"] == ["exchange_complained"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(update("BTC-USDT", 3)[:90], id="cut in half"),
        pytest.param(update("BTC-USDT", 3, asks=[["NaN", "1", "0", "1"]]), id="NaN"),
        pytest.param(update("BTC-USDT", 3, asks=[["1000.1", "1e400", "0", "1"]]), id="1e400"),
        pytest.param(update("BTC-USDT", 3, asks=[["1000.1"]]), id="no size"),
    ],
)
async def test_a_book_frame_that_cannot_be_read_costs_that_book_until_its_next_snapshot(fault):
    times = 0

    async def script(ws, arg):
        nonlocal times
        await ws.send_str(snapshot(arg["instId"], 2))
        if arg["instId"] == "ETH-USDT":
            for n in range(3, 12):
                await ws.send_str(update("ETH-USDT", n))
            return
        times += 1
        if times == 1:
            await ws.send_str(fault)
            for n in (4, 5):
                await ws.send_str(update("BTC-USDT", n))

    async with OkxServer(script).running() as server:
        of = collector(server, channels=BOTH)
        events = await record(of, lambda e: any(g.ended_at for g in of_kind(e, Gap) if g.symbol == "BTC/USDT"))
    gaps = [g for g in of_kind(events, Gap) if g.symbol != "ALL"]
    assert {(g.symbol, g.channel, g.reason) for g in gaps} == {("BTC/USDT", "orderbook", "parse_error")}
    opened, closed = gaps
    rows = [b for b in of_kind(events, BookSnapshot) if b.symbol == "BTC/USDT"]
    assert not [b for b in rows if opened.collected_at < b.collected_at < closed.ended_at]
    assert opened.ended_at is None and rows[0].collected_at == opened.started_at
    assert len([b for b in of_kind(events, BookSnapshot) if b.symbol == "ETH/USDT"]) == 10
    assert len(server.sockets) == 1


async def test_a_hole_is_entered_and_only_that_book_is_had_anew():
    async def script(ws, arg):
        first = len([a for r in server.asked for a in r["args"] if a["instId"] == arg["instId"]]) == 1
        await ws.send_str(snapshot(arg["instId"], 10))
        if first:
            await ws.send_str(update(arg["instId"], 11))
            if arg["instId"] == "BTC-USDT":
                await ws.send_str(update("BTC-USDT", 14))
                await ws.send_str(update("BTC-USDT", 15))

    async with OkxServer(script).running() as server:
        of = collector(server, channels=BOTH)
        events = await record(of, lambda e: len(of_kind(e, Gap)) >= 2)
    opened, closed = of_kind(events, Gap)
    assert (opened.symbol, opened.reason, opened.detail) == (
        "BTC/USDT",
        "sequence_gap",
        "prevSeqId 13 where 11 was due",
    )
    assert closed.ended_at and [b.nonce for b in of_kind(events, BookSnapshot) if b.symbol == "BTC/USDT"] == [
        10,
        11,
        10,
    ]
    asked = [(r["op"], [a["instId"] for a in r["args"]]) for r in server.asked]
    assert asked == [
        ("subscribe", ["BTC-USDT", "ETH-USDT"]),
        ("unsubscribe", ["BTC-USDT"]),
        ("subscribe", ["BTC-USDT"]),
    ]


async def test_a_book_that_does_not_come_is_asked_for_again():
    asked = 0

    async def script(ws, arg):
        nonlocal asked
        asked += 1
        if asked != 2:
            await ws.send_str(snapshot("BTC-USDT", 1))
        if asked == 1:
            await ws.send_str(update("BTC-USDT", 9))

    async with OkxServer(script).running() as server:
        of = collector(server, channels=BTC, subscribe_timeout_seconds=0.3)
        events = await record(of, lambda e: len(of_kind(e, Gap)) >= 2)
    assert asked == 3 and of_kind(events, Gap)[1].ended_at


async def test_frames_sent_twice_are_taken_once():
    frames = [snapshot("BTC-USDT"), update("BTC-USDT", 2), update("BTC-USDT", 2), update("BTC-USDT", 3)]

    async def script(ws, arg):
        for frame in frames if arg["channel"] == "books" else [trades("BTC-USDT", [7, 8]), trades("BTC-USDT", [8, 9])]:
            await ws.send_str(frame)

    async with OkxServer(script).running() as server:
        of = collector(server, channels={**BTC, "watchTrades": ["BTC/USDT"]})
        events = await record(of, lambda e: len(e) >= 6)
    assert [b.nonce for b in of_kind(events, BookSnapshot)] == [1, 2, 3]
    assert [t.trade_id for t in of_kind(events, Trade)] == ["7", "8", "9"]
    assert (of.counters.repeated, of.counters.trades_resent) == (1, 1)


async def test_a_trade_without_a_number_costs_itself():
    frames = [trades("BTC-USDT", [1]), trades("BTC-USDT", [2], px="1e400"), trades("BTC-USDT", [3], ts="1700000000")]
    async with OkxServer(script_of(*frames)).running() as server:
        of = collector(server, channels={"watchTrades": ["BTC/USDT"]})
        events = await record(of, lambda e: len(of_kind(e, Trade)) >= 2)
    assert [(t.trade_id, t.timestamp is None) for t in of_kind(events, Trade)] == [("1", False), ("3", True)]
    assert {(g.symbol, g.channel, g.reason) for g in of_kind(events, Gap)} == {
        ("ALL", "ALL", "parse_error"),
        ("BTC/USDT", "trades", "parse_error"),
    }
    assert of.counters.times_refused == 1


async def test_faults_in_every_frame_share_their_ledger_rows():
    async with OkxServer(script_of(*["{broken"] * 500, trades("BTC-USDT", [1]))).running() as server:
        of = collector(server, channels={"watchTrades": ["BTC/USDT"]})
        events = await record(of, lambda e: sum(g.missed for g in of_kind(e, Gap)) >= 500)
    assert len(of_kind(events, Gap)) < 10 and len(of_kind(events, Trade)) == 1


# -- life --------------------------------------------------------------------------------------------------------------


async def test_a_connection_that_ends_raises_and_the_next_goes_on_where_it_was():
    async def script(ws, arg):
        await ws.send_str(trades("BTC-USDT", range(len(server.sockets) * 2)))
        if len(server.sockets) == 1:
            await ws.close(code=1001)

    async with OkxServer(script).running() as server:
        of = collector(server, channels={"watchTrades": ["BTC/USDT"]})
        with pytest.raises(
            TransientCollectorError, match=r"ws://127\.0\.0\.1.*closed the connection \(code 1001\)"
        ) as ended:
            await record(of, lambda e: False)
        rows = of.gaps.open(of.streams(), since=1, now=2, reason=ended.value.reason)
        first = of._session
        events = await record(of, lambda e: len(of_kind(e, Trade)) >= 2)
        assert first.exchange.ssl_context is of._session.exchange.ssl_context is not None
    assert [(g.symbol, g.channel) for g in rows] == [("BTC/USDT", "trades")]
    assert [t.trade_id for t in of_kind(events, Trade)] == ["2", "3"]
    assert of_kind(events, Gap)[0].ended_at is not None
    assert len([r for r in server.requests if "instType=SPOT" in r]) == 1, "markets are loaded once"


async def test_silence_is_a_stall():
    async with OkxServer(script_of(snapshot("BTC-USDT"))).running() as server:
        with pytest.raises(TransientCollectorError, match="nothing came for 1 s") as ended:
            await record(collector(server, channels=BTC, stall_timeout_seconds=1), lambda e: False)
    assert ended.value.reason == "stall"


@pytest.mark.parametrize(("mb", "options"), [(3, {"max_frame_mb": 2}), (70, {})])
async def test_a_frame_that_is_too_long_says_so(mb, options):
    async with OkxServer(script_of(snapshot("BTC-USDT"), "x" * (mb << 20))).running() as server:
        with pytest.raises(TransientCollectorError, match="longer than max_frame_mb"):
            await record(collector(server, channels=BTC, **options), lambda e: False)


async def test_a_dead_exchange_is_transient():
    of = CcxtCollector("okx", channels=BTC, rest_url="http://127.0.0.1:9", ws_url="ws://127.0.0.1:9")
    with pytest.raises(TransientCollectorError, match="cannot connect"):
        await record(of, lambda e: False)
    assert list(of.streams()) == []


async def test_a_driver_that_does_not_keep_up_stops_the_reading(monkeypatch):
    from daedalus.ingestion.collectors import ccxt_buffer

    monkeypatch.setattr(ccxt_buffer.EventBuffer.__init__, "__defaults__", (100_000,))
    sent = 0

    async def script(ws, arg):
        nonlocal sent
        for n in range(0, 500_000, 100):
            await ws.send_str(trades("BTC-USDT", range(n, n + 100)))
            sent += 1

    async with OkxServer(script).running() as server:
        of = collector(server, channels={"watchTrades": ["BTC/USDT"]})
        stream = of.events()
        await anext(stream)
        await asyncio.sleep(1.0)
        assert sent < 4_500 and of._session is not None and of._session.buffer.nbytes < 500_000
        held = of.gaps.open(of.streams(), since=2**62, now=2**62, reason="shutdown")
        await stream.aclose()
    assert held[0].started_at < 2**61, "what was received and not handed on lies in the gap"


async def test_tickers_and_quotes_of_one_frame_are_one_row():
    row = {"instId": "BTC-USDT", "last": "1000", "askPx": "1000.1", "askSz": "2", "bidPx": "999.9", "bidSz": "3"}
    row |= {"open24h": "900", "high24h": "1100", "low24h": "0", "vol24h": "", "ts": "1700000000000", "lastSz": "1"}
    frame = json.dumps({"arg": {"channel": "tickers", "instId": "BTC-USDT"}, "data": [row]})
    async with OkxServer(script_of(frame)).running() as server:
        channels = {"watchTicker": ["BTC/USDT"], "watchBidsAsks": ["BTC/USDT"]}
        events = await record(collector(server, channels=channels, record=("ticker",)), lambda e: len(e) >= 1)
    ticker = of_kind(events, Ticker)[0]
    assert (ticker.last, ticker.bid, ticker.ask_volume, ticker.open, ticker.timestamp) == (
        *(1000.0, 999.9, 2.0, 900.0, 1_700_000_000_000_000),
    )
    # What the exchange did not send is null, though CCXT would compute it.
    assert (ticker.close, ticker.low, ticker.change, ticker.percentage, ticker.base_volume) == (None,) * 5
    assert ticker.info_json == '{"vol24h":"","lastSz":"1"}'


async def test_a_book_message_that_changes_nothing_is_a_row_too():
    frames = [snapshot("BTC-USDT"), book("BTC-USDT", "update", [], [], 1, 1), update("BTC-USDT", 2)]
    async with OkxServer(script_of(*frames)).running() as server:
        events = await record(collector(server, channels=BTC), lambda e: len(e) >= 3)
    assert [b.nonce for b in events] == [1, 1, 2]
