"""Parsers of recorded frames: what each venue says, what shows a loss, and what a bad frame costs."""

import json
from pathlib import Path

import pytest

from daedalus.ingestion.collectors.binance_parser import BinanceParser, market_type
from daedalus.ingestion.collectors.bitstamp_parser import BitstampLogParser, BitstampParser
from daedalus.ingestion.collectors.coinbase_exchange_parser import CoinbaseExchangeParser
from daedalus.ingestion.collectors.frame_parser import ParserSettings
from daedalus.ingestion.collectors.kraken_parser import KrakenParser
from daedalus.ingestion.collectors.okx_parser import OkxParser
from daedalus.ingestion.collectors.tardis_parser import TardisParser
from daedalus.recordings.cryptofeed import read_cryptofeed
from daedalus.recordings.tardis_csv import TardisLevels, TardisQuote, TardisTop, TardisTrade
from daedalus.shared.events import (
    BookDelta,
    BookSnapshot,
    Gap,
    Ticker,
    Trade,
    unpack_changes,
    unpack_levels,
)

T0 = 1_723_161_254_000_000_000
MS = T0 // 1_000_000


def parser(kind, **options):
    return kind(ParserSettings(**{"exchange": "x", **options}))


def kinds(events):
    return [type(event).__name__ for event in events]


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


# Binance


def diff(first, last, *, pu=None, bids=(), asks=(("101", "1"),), symbol="BTCUSDT"):
    data = {"e": "depthUpdate", "E": MS, "s": symbol, "U": first, "u": last, "b": bids, "a": asks}
    data |= {} if pu is None else {"pu": pu}
    return json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data})


def snapshot(number, **more):
    return json.dumps({"lastUpdateId": number, "bids": [["99", "5"]], "asks": [["101", "5"], ["102", "1"]], **more})


def trade(number, *, m=True, kind="trade", symbol="BTCUSDT"):
    ident = "t" if kind == "trade" else "a"
    data = {"e": kind, "E": MS, "s": symbol, ident: number, "p": "100.5", "q": "0.25", "T": MS - 1, "m": m, "M": True}
    return json.dumps({"stream": f"{symbol.lower()}@{kind}", "data": data})


def test_binance_joins_diffs_to_the_snapshot_by_the_rules():
    binance = parser(BinanceParser)
    assert binance.feed(diff(1, 5), T0) == []  # older than the snapshot
    assert binance.feed(diff(6, 12, bids=[("99", "0")], asks=[("101", "7")]), T0 + 1) == []
    whole, top = binance.answered("", snapshot(10), T0 + 2)
    assert isinstance(whole, BookDelta) and whole.is_snapshot and whole.nonce == 12
    assert unpack_changes(whole.changes) == [(MS * 1000, "ask", 101.0, 7.0), (MS * 1000, "ask", 102.0, 1.0)]
    assert isinstance(top, BookSnapshot) and unpack_levels(top.asks) == [(101.0, 7.0), (102.0, 1.0)]
    update, _ = binance.feed(diff(13, 13, bids=[("98", "2")], asks=[("103", "1")]), T0 + 3)
    assert not update.is_snapshot and [c[1] for c in unpack_changes(update.changes)] == ["ask", "bid"]
    assert binance.feed(diff(11, 13), T0 + 4) == []  # sent again
    assert binance.depth["BTCUSDT"].applied == 2


def test_binance_enters_a_jump_and_waits_for_the_next_snapshot():
    binance = parser(BinanceParser)
    binance.feed(diff(1, 10), T0)
    binance.answered("", snapshot(10), T0 + 1)
    binance.feed(diff(11, 11), T0 + 2)
    rows = binance.feed(diff(15, 16), T0 + 9)
    assert {(row.channel, row.reason, row.missed, row.started_at, row.ended_at) for row in rows} == {
        ("l2", "sequence_gap", 3, T0 + 2, None),
        ("orderbook", "sequence_gap", 3, T0 + 2, None),
    }
    assert rows[0].detail == "U 15 where 12 was due"
    assert binance.feed(diff(17, 18), T0 + 10) == []
    again = binance.answered("", snapshot(16), T0 + 11)
    assert kinds(again) == ["Gap", "Gap", "BookDelta", "BookSnapshot"]
    assert {row.ended_at for row in of(again, Gap)} == {T0 + 11}


@pytest.mark.parametrize("late", [diff(8, 12, pu=7), diff(11, 12, pu=10)])
def test_binance_futures_follow_pu(late):
    binance = parser(BinanceParser)
    binance.answered("", snapshot(10, E=MS, T=MS), T0)  # before any diff: it waits for its market
    assert kinds(binance.feed(late, T0 + 1)) == ["BookDelta", "BookSnapshot"]
    assert kinds(binance.feed(diff(20, 25, pu=12), T0 + 2)) == ["BookDelta", "BookSnapshot"]
    (row, _) = binance.feed(diff(40, 41, pu=30), T0 + 3)
    assert (row.reason, row.missed, row.detail) == ("sequence_gap", None, "pu 30 where 25 was due")


def test_binance_finds_the_market_of_a_snapshot_without_a_name():
    binance = parser(BinanceParser)
    for symbol, base in (("AAA", 100), ("BBB", 9000)):
        binance.feed(diff(base, base + 5, symbol=symbol), T0)
    (whole, _) = binance.answered("", snapshot(9003), T0 + 1)
    assert whole.symbol == "BBB"
    (whole, _) = binance.answered("https://api/depth?symbol=AAA&limit=5", snapshot(101), T0 + 2)
    assert whole.symbol == "AAA"


def test_binance_without_a_snapshot_publishes_no_depth_and_says_so():
    binance = parser(BinanceParser)
    for number in range(1, 30):
        assert binance.feed(diff(number, number), T0 + number) == []
    rows = binance.finish(T0 + 99, "the recording ends")
    assert "no snapshot" in binance.notes[0]
    assert {(r.channel, r.started_at, r.ended_at) for r in rows if r.ended_at} == {
        ("l2", T0 + 1, T0 + 29),
        ("orderbook", T0 + 1, T0 + 29),
    }


def test_binance_trades_once_with_the_aggressor_and_the_jumps():
    binance = parser(BinanceParser)
    (sold,) = binance.feed(trade(7), T0)
    (bought,) = binance.feed(trade(8, m=False), T0 + 1)
    assert (sold.side, bought.side, sold.trade_id, sold.timestamp) == ("sell", "buy", "7", (MS - 1) * 1000)
    assert (sold.price, sold.amount, sold.cost, sold.info_json) == (100.5, 0.25, None, f'{{"E":{MS}}}')
    assert binance.feed(trade(8), T0 + 2) == []
    gap, _ = binance.feed(trade(12), T0 + 3)
    assert (gap.missed, gap.started_at, gap.ended_at, gap.detail) == (3, T0 + 1, T0 + 3, "trade ids jump by 4")
    assert binance.feed(trade(900, kind="aggTrade"), T0 + 4) == []  # the same executions again, told otherwise


def test_binance_says_which_market_a_frame_is_of():
    assert market_type(trade(1)) == "spot"
    assert market_type(trade(1).replace(', "M": true', "")) == "usdm"
    assert market_type(diff(1, 2).replace(" ", "")) == "spot"
    assert market_type(diff(1, 2, pu=0).replace(" ", "")) == "usdm"
    assert market_type('{"stream":"btcusd_perp@bookTicker","data":{"u":1,"e":"bookTicker"}}') == "coinm"
    assert market_type('{"stream":"btcusdt_240927@bookTicker","data":{"u":1,"e":"bookTicker"}}') == "usdm"
    assert market_type('{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT"}}') == "spot"


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "nonsense",
        '{"stream":"btcusdt@trade","data":{"s":"BTCUSDT"}}',
        trade(3).replace("100.5", "NaN"),
        trade(3).replace("100.5", "1e400"),
        diff(14, 14, asks=[("-1", "1")]),
        diff(14, 14).replace('"U": 14', '"U": "x"'),
        "\udcff",
    ],
)
def test_a_bad_frame_costs_itself_and_a_row(bad):
    binance = parser(BinanceParser)
    (row,) = binance.feed(bad, T0)
    assert (row.reason, row.symbol, row.channel, row.missed) == ("parse_error", "ALL", "ALL", 1)
    assert row.detail.encode()
    assert kinds(binance.feed(trade(4), T0 + 1)) == ["Trade"]


def test_many_bad_frames_share_rows():
    binance = parser(BinanceParser)
    rows = [row for n in range(1000) for row in binance.feed("{", T0 + n * 1_000_000)]
    rows += binance.finish(T0 + 2_000_000_000, "")
    assert sum(row.missed for row in rows) == 1000 and len(rows) <= 4


# Checksums of real captures


def capture(recordings, name):
    return [
        (c.text, c.received_ns) for c in read_cryptofeed(recordings / "cryptofeed_ws" / name) if c.kind == "received"
    ]


@pytest.mark.parametrize(
    ("kind", "name", "checked"), [(OkxParser, "OKX.ws.1.0", 290), (KrakenParser, "KRAKEN.ws.50.0", 4279)]
)
def test_real_books_agree_with_every_checksum(recordings: Path, monkeypatch, kind, name, checked):
    import importlib

    module = importlib.import_module(kind.__module__)
    counted, real = [], module.checksum
    monkeypatch.setattr(module, "checksum", lambda *given: counted.append(1) or real(*given))
    made = parser(kind, channels=frozenset(["l2"]))
    events = [event for text, now in capture(recordings, name) for event in made.feed(text, now)]
    assert not of(events, Gap) and made.count.checksums_failed == made.count.malformed == 0
    assert len(of(events, BookDelta)) == checked and len(counted) >= checked - 10  # Kraken's snapshots have none


@pytest.mark.parametrize(("kind", "name"), [(OkxParser, "OKX.ws.1.0"), (KrakenParser, "KRAKEN.ws.50.0")])
def test_a_lost_update_shows_in_the_checksum(recordings: Path, kind, name):
    frames = capture(recordings, name)
    made, gaps = parser(kind), []
    updates = [
        i for i, (text, _) in enumerate(frames) if '"update"' in text or ('"a":[' in text and '"b":[' not in text)
    ]
    lost = set(updates[5:40])
    for number, (text, now) in enumerate(frames):
        if number not in lost:
            gaps += of(made.feed(text, now), Gap)
    assert gaps and {gap.reason for gap in gaps} == {"checksum"} and made.count.checksums_failed


def test_okx_follows_the_sequence():
    okx = parser(OkxParser)

    def book(action, last, now, **more):
        level = {"asks": [["101", "1", "0", "1"]], "bids": [["99", "1", "0", "1"]], "ts": str(MS), "checksum": 0}
        arg = {"channel": "books", "instId": "BTC-USDT"}
        data = [{**level, "seqId": now, "prevSeqId": last, **more}]
        return okx.feed(json.dumps({"arg": arg, "action": action, "data": data}), T0 + now)

    assert kinds(book("snapshot", -1, 10)) == ["BookDelta", "BookSnapshot"]
    assert kinds(book("update", 10, 15)) == ["BookDelta", "BookSnapshot"]
    assert kinds(book("update", 15, 15)) == ["BookDelta", "BookSnapshot"]
    rows = book("update", 17, 20)
    assert kinds(rows) == ["Gap", "Gap", "BookDelta"] and rows[0].detail == "prevSeqId 17 where 15 was due"
    assert kinds(book("snapshot", -1, 30)) == ["Gap", "Gap", "BookDelta", "BookSnapshot"]
    assert okx.feed("pong", T0) == []


def test_kraken_forgets_what_lies_beyond_the_depth():
    kraken = parser(KrakenParser)
    level = lambda price: [price, "1.0", "1723161254.0"]  # noqa: E731
    kraken.feed(json.dumps([1, {"as": [level("101"), level("102")], "bs": [level("99")]}, "book-2", "XBT/USD"]), T0)
    delta, _ = kraken.feed(json.dumps([1, {"a": [level("100.5")]}, "book-2", "XBT/USD"]), T0 + 1)
    assert [c[1:] for c in unpack_changes(delta.changes)] == [("ask", 100.5, 1.0), ("ask", 102.0, 0.0)]


# Bitstamp, the older Coinbase feed, Tardis


def test_bitstamp_joins_diffs_to_the_snapshot_by_time():
    bitstamp = parser(BitstampParser)

    def body(at, price="99"):
        return {"microtimestamp": str(at), "bids": [[price, "1"]], "asks": []}

    def feed(at, **more):
        data = body(at, **more)
        return bitstamp.feed(json.dumps({"event": "data", "channel": "diff_order_book_btcusd", "data": data}), T0 + at)

    assert feed(1) == [] and feed(5, price="98") == []
    url = "https://www.bitstamp.net/api/v2/order_book/btcusd"
    events = bitstamp.answered(url, json.dumps(body(3)), T0 + 6)
    assert kinds(events) == ["BookDelta", "BookDelta", "BookSnapshot"]
    assert unpack_levels(events[-1].bids) == [(99.0, 1.0), (98.0, 1.0)]
    assert kinds(feed(7)) == ["BookDelta", "BookSnapshot"]
    lost = bitstamp.feed("{", T0 + 8)
    assert {(g.channel, g.ended_at) for g in lost if g.symbol == "btcusd"} == {("l2", None), ("orderbook", None)}
    assert kinds(feed(9)) == ["BookDelta"]  # a diff may be missing, and no number would tell
    bitstamp.interrupted(T0 + 9, T0 + 10, "")
    assert feed(11) == []
    assert any("no snapshot" in note for note in bitstamp.notes) is False
    bitstamp.finish(T0 + 12, "")
    assert "no snapshot" in bitstamp.notes[0]


def test_the_bitstamp_log_keeps_every_top_and_no_side():
    log = parser(BitstampLogParser, name=lambda _: "btcusd", interval_ms=10_000)
    book = 'order_book {"bids": [["236.4", "1.5"]], "asks": [["237", "2"]]}'
    for now in (T0, T0 + 1):
        (top,) = log.feed(book, now)
        assert (top.symbol, top.timestamp, unpack_levels(top.bids)) == ("btcusd", None, [(236.4, 1.5)])
    (trade,) = log.feed('trade {"price": 236.47, "amount": 0.2, "id": 8111041}', T0 + 2)
    assert (trade.side, trade.timestamp, trade.trade_id) == (None, None, "8111041")
    assert log.feed('order_created {"id": 1}', T0 + 3) == []
    assert {(gap.symbol, gap.channel) for gap in log.finish(T0 + 4, "")} == {
        ("btcusd", "trades"),
        ("btcusd", "orderbook"),
    }


def test_coinbase_exchange_matches_name_the_maker_and_past_ones_are_not_live():
    coinbase = parser(CoinbaseExchangeParser)

    def match(number, kind="match", side="sell"):
        row = {"type": kind, "trade_id": number, "side": side, "size": "1", "price": "2", "product_id": "A-B"}
        return coinbase.feed(json.dumps({**row, "time": "2021-04-17T16:43:30.244075Z"}), T0)

    assert match(4, "last_match") == []
    (taken,) = match(5)
    assert (taken.side, json.loads(taken.info_json)) == ("buy", {"side": "sell"})
    again = match(9, "last_match", "buy")  # after a reconnect: it was missed, and so were those before it
    assert [type(e) for e in again] == [Gap, Trade] and again[0].missed == 3
    snapshot = '{"type":"snapshot","product_id":"A-B","asks":[["3","1"]],"bids":[["1","1"]]}'
    assert kinds(coinbase.feed(snapshot, T0)) == ["BookDelta", "BookSnapshot"]
    rows = coinbase.feed('{"type":"l2update","product_id":"A-B","changes":[["buy","x","1"]]}', T0 + 1)
    assert {row.reason for row in rows} == {"parse_error"} and {row.channel for row in rows} == {
        "ALL",
        "l2",
        "orderbook",
    }
    update = '{"type":"l2update","product_id":"A-B","changes":[["buy","1","0"]]}'
    assert kinds(coinbase.feed(update, T0 + 2)) == ["BookDelta"]
    assert kinds(coinbase.feed(snapshot, T0 + 3)) == ["Gap", "Gap", "BookDelta", "BookSnapshot"]


def test_tardis_rows_of_all_layouts():
    tardis = parser(TardisParser)
    common = {"line": 1, "exchange": "deribit", "product": "BTC-PERPETUAL", "time_us": 5}
    one, two, three = (
        TardisLevels(**common, is_snapshot=s, changes=c)
        for s, c in (
            (True, (("bid", "99", "1"),)),
            (True, (("ask", "101", "2"),)),  # the same snapshot goes on
            (False, (("bid", "99", "0"),)),
        )
    )
    assert [e.is_snapshot for m in (one, two, three) for e in of(tardis.take(m, T0), BookDelta)] == [True, False, False]
    assert len(tardis.books.markets["BTC-PERPETUAL"].book) == 1
    assert [e.is_snapshot for e in of(tardis.take(one, T0), BookDelta)] == [True]
    (trade,) = tardis.take(TardisTrade(**common, trade_id=None, side=None, price="1", amount="2"), T0)
    assert (trade.side, trade.trade_id, trade.timestamp) == (None, None, 5)
    (quote,) = tardis.take(TardisQuote(**common, bid="1", bid_amount="2", ask=None, ask_amount=None), T0)
    assert isinstance(quote, Ticker) and (quote.bid, quote.bid_volume, quote.ask) == (1.0, 2.0, None)
    (top,) = tardis.take(TardisTop(**common, bids=(("1", "2"),), asks=()), T0)
    assert unpack_levels(top.bids) == [(1.0, 2.0)] and top.asks == b""
