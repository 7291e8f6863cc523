"""What is verified of each venue, on its own frames: recorded ones where there are some."""

import asyncio
import json

import ccxt
import pytest

from daedalus.ingestion.collectors.ccxt_sequence import (
    BACKWARD_MAX,
    REPEATED,
    BinanceCheck,
    BybitCheck,
    CoinbaseCheck,
    KrakenCheck,
    OkxCheck,
)
from daedalus.ingestion.collectors.ccxt_venues import OTHER, VENUES, integrity_page, venue_of
from daedalus.shared.events import BookDelta, BookSnapshot, Gap, Ticker, Trade, unpack_levels
from tests.conftest import ROOT
from tests.unit.ingestion.ccxt_offline import Offline
from tests.unit.ingestion.okx_server import of_kind, snapshot, update

CHECKS = (CoinbaseCheck, BinanceCheck, OkxCheck, BybitCheck, KrakenCheck)


def coinbase(sequence, channel="l2_data", *events):
    return json.dumps(
        {"channel": channel, "timestamp": "2026-08-12T19:27:48.123456789Z", "sequence_num": sequence, "events": events}
    )


def level2(sequence, *levels, kind="update", product="BTC-USD"):
    rows = [
        {"side": s, "price_level": p, "new_quantity": q, "event_time": "2026-08-12T19:27:48Z"} for s, p, q in levels
    ]
    return coinbase(sequence, "l2_data", {"type": kind, "product_id": product, "updates": rows})


def market_trades(sequence, ids, kind="update"):
    rows = [
        {
            "trade_id": str(i),
            "product_id": "BTC-USD",
            "price": "60000.5",
            "size": "0.1",
            "side": "BUY",
            "time": "2026-08-12T19:27:48.1Z",
        }
        for i in reversed(ids)
    ]
    return coinbase(sequence, "market_trades", {"type": kind, "trades": rows})


def depth(first, last, previous=None, **more):
    update = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": first, "u": last, "b": [], "a": [], **more}
    return json.dumps(update if previous is None else {**update, "pu": previous})


def bybit(u, kind="delta", **more):
    data = {"s": "BTCUSDT", "b": [["60000", "1"]], "a": [["60001", str(u)]], "u": u, "seq": u * 10, **more}
    return json.dumps({"topic": "orderbook.50.BTCUSDT", "ts": 1787612486096, "type": kind, "data": data})


# -- the numbering -----------------------------------------------------------------------------------------------------


def results(check, frames):
    return [check.feed(frame) for frame in frames]


def test_coinbase_counts_every_message_of_the_connection():
    check = CoinbaseCheck()
    none, same, hole, after = results(check, [coinbase(0), coinbase(0), coinbase(4, "heartbeats"), coinbase(5)])
    assert (none, same, after) == (None, REPEATED, None)
    assert (hole.market, hole.missed, hole.detail) == ("", 3, "sequence_num 4 where 1 was due")
    assert set(hole.channels) == {"orderbook", "trades", "ticker"} and check.nonce == 5


def test_coinbase_numbering_that_began_anew_is_a_hole_in_the_end():
    check = CoinbaseCheck()
    check.feed(coinbase(0)), check.feed(coinbase(1000))
    got = results(check, [coinbase(n) for n in range(BACKWARD_MAX + 2)])
    assert set(got[:BACKWARD_MAX]) == {REPEATED} and got[-1] is None
    assert got[BACKWARD_MAX].missed is None


def test_binance_spot_goes_on_from_the_last_number():
    check = BinanceCheck()
    got = results(check, [depth(1, 5), depth(6, 9), depth(6, 9), depth(12, 13), depth(14, 14, s="ETHUSDT")])
    assert got[:3] == [None] * 3 and got[4] is None
    assert (got[3].market, got[3].missed, got[3].channels) == ("BTCUSDT", 2, ("orderbook",))


def test_binance_futures_name_the_number_before():
    got = results(BinanceCheck(), [depth(1, 5, 0), depth(9, 12, 5), depth(20, 22, 19)])
    assert got[:2] == [None, None] and (got[2].missed, got[2].detail) == (None, "pu 19 where 12 was due")


def test_binance_wrapped_in_a_stream_is_the_same():
    check = BinanceCheck()
    frames = [json.dumps({"stream": "btcusdt@depth", "data": json.loads(depth(*ids))}) for ids in ((1, 5), (8, 9))]
    assert check.feed(frames[0]) is None and check.feed(frames[1]).missed == 2


def test_okx_names_the_forerunner():
    frames = [snapshot("BTC-USDT", 7), update("BTC-USDT", 9, previous=7), update("BTC-USDT", 9, previous=7)]
    frames += [update("BTC-USDT", 9, previous=9), update("BTC-USDT", 15, previous=12), snapshot("BTC-USDT", 3)]
    got = results(OkxCheck(), frames)
    assert got[:4] == [None, None, REPEATED, None] and got[5] is None
    assert (got[4].market, got[4].missed) == ("BTC-USDT", None)


def test_bybit_grows_by_one_and_a_snapshot_starts_anew():
    got = results(BybitCheck(), [bybit(5, "snapshot"), bybit(6), bybit(6), bybit(9), bybit(1, "snapshot"), bybit(2)])
    assert [g for i, g in enumerate(got) if i not in (2, 3)] == [None] * 4
    assert got[2] is REPEATED and (got[3].missed, got[3].market) == (2, "BTCUSDT")


@pytest.mark.parametrize("make", CHECKS)
def test_no_frame_upsets_a_check(make):
    check = make()
    texts = [
        '{"e":"depthUpdate","U":"x"}',
        '{"arg":{"channel":"books"},"data":[{"seqId":"a"}]}',
        '{"topic":"orderbook.1.X"}',
    ]
    for text in ["", "pong", "{", "[]", "null", '{"sequence_num":"1"}', '{"channel":"book","data":[{}]}', *texts]:
        assert check.feed(text) is None
        assert check.verify({"symbol": "X", "bids": [], "asks": []}) is None


# -- recorded frames ---------------------------------------------------------------------------------------------------


async def test_kraken_checksums_of_a_recorded_session_agree(recordings):
    data = json.loads((recordings / "kraken_book/orderbook-v2.json").read_text())
    frames = [json.dumps(message, separators=(",", ":")) for message in [data["init"], *data["updates"]]]
    of = Offline("kraken", {"BTC/USD": "XXBTZUSD"}, {"watchOrderBook": ["BTC/USD"]}, max_orderbook_depth=10)
    events = of.feed(*frames)
    assert (
        len(of_kind(events, BookSnapshot))
        == 510
        == json.loads((recordings / "GOLDEN.json").read_text())["dev/kraken_v2"]["checksum_ok"]
    )
    assert not of_kind(events, Gap) and of.collector.counters.checksums_failed == 0


async def test_a_lost_kraken_frame_fails_the_checksum_and_the_book_comes_back_with_its_snapshot(recordings):
    data = json.loads((recordings / "kraken_book/orderbook-v2.json").read_text())
    first, *rest = [json.dumps(message, separators=(",", ":")) for message in [data["init"], *data["updates"]]]
    of = Offline("kraken", {"BTC/USD": "XXBTZUSD"}, {"watchOrderBook": ["BTC/USD"]}, max_orderbook_depth=10)
    events = of.feed(first, *rest[:50], *rest[51:100])
    opened = {(g.symbol, g.channel, g.reason, g.ended_at) for g in of_kind(events, Gap)}
    assert opened == {("BTC/USD", c, "checksum", None) for c in ("orderbook", "l2")}
    assert of.collector.counters.checksums_failed == 1 and "BTC/USD" in of.session.tap.resync
    again = of.feed(first)
    assert of_kind(again, Gap)[0].ended_at and of_kind(again, BookDelta)[0].is_snapshot


async def test_bybit_frames_are_recorded_and_checked(recordings):
    frames = (recordings / "bybit_v5/bybit_orderbook.jsonl").read_text().splitlines()
    of = Offline("bybit", {"BTC/USDT": "BTCUSDT"}, {"watchOrderBook": ["BTC/USDT"]}, max_orderbook_depth=50)
    events = of.feed(*frames)
    books = of_kind(events, BookSnapshot)
    assert len(books) == sum('"topic":"orderbook' in frame for frame in frames) and not of_kind(events, Gap)
    assert books[0].nonce == json.loads(frames[1])["data"]["u"] and books[0].timestamp == 1787612486096000
    of.feed(bybit(books[-1].nonce + 3, s="BTCUSDT"))
    assert of.collector.counters.sequence_gaps == 1 and "BTC/USDT" in of.session.tap.resync
    assert of_kind(of.feed(bybit(books[-1].nonce + 4)), BookSnapshot) == [], "deltas do not make it whole"
    assert len(of_kind(of.feed(bybit(1, "snapshot")), BookSnapshot)) == 1


async def test_coinbase_through_ccxt_checks_its_numbers_and_keeps_the_aggressors_side():
    channels = {"watchOrderBook": ["BTC/USD"], "watchTrades": ["BTC/USD"]}
    of = Offline("coinbase", {"BTC/USD": "BTC-USD"}, channels)
    events = of.feed(
        level2(0, ("bid", "59999", "1"), ("offer", "60001", "2"), kind="snapshot"),
        market_trades(1, [1, 2, 3], kind="snapshot"),
        market_trades(2, [4, 5]),
        level2(3, ("bid", "59999", "3")),
    )
    assert [(t.trade_id, t.side) for t in of_kind(events, Trade)] == [("4", "sell"), ("5", "sell")]
    assert json.loads(of_kind(events, Trade)[0].info_json) == {"side": "BUY"}
    assert [b.nonce for b in of_kind(events, BookSnapshot)] == [0, 3] and not of_kind(events, Gap)
    lost = of.feed(market_trades(7, [9]), level2(8, ("bid", "59999", "9")))
    rows = {(g.channel, g.reason, g.missed, g.ended_at is None) for g in of_kind(lost, Gap)}
    assert rows == {
        ("orderbook", "sequence_gap", 3, True),
        ("l2", "sequence_gap", 3, True),
        ("trades", "sequence_gap", 3, False),
    }
    assert not of_kind(lost, BookSnapshot) and [t.trade_id for t in of_kind(lost, Trade)] == ["9"]
    fresh = of.feed(level2(9, ("bid", "59990", "1"), kind="snapshot"))
    assert unpack_levels(of_kind(fresh, BookSnapshot)[0].bids) == [(59990.0, 1.0)]


async def test_after_a_reconnect_the_missed_ones_of_past_trades_count():
    of = Offline("coinbase", {"BTC/USD": "BTC-USD"}, {"watchTrades": ["BTC/USD"]})
    of.feed(market_trades(0, [1, 2], kind="snapshot"), market_trades(1, [3]))
    of.collector.gaps.open([("BTC/USD", "trades")], since=1, now=2, reason="disconnect")
    of.client.check = CoinbaseCheck()
    events = of.feed(market_trades(0, [2, 3, 6, 7], kind="snapshot"))
    assert [t.trade_id for t in of_kind(events, Trade)] == ["6", "7"]
    (gap,) = of_kind(events, Gap)
    assert (gap.reason, gap.missed, gap.ended_at is not None) == ("disconnect", 2, True)


async def test_coinbase_tickers_are_what_was_sent(recordings):
    of = Offline("coinbase", {"BTC/USD": "BTC-USD", "ETH/USD": "ETH-USD"}, {"watchTicker": ["*"]})
    frames = (recordings / "coinbase_advanced/ccxt_coinbase_ticker.jsonl").read_text().splitlines()
    events = of_kind(of.feed(*frames), Ticker)
    raw = [t for f in frames for e in json.loads(f).get("events", ()) for t in e.get("tickers", ())]
    assert [(e.last, e.bid, e.high) for e in events] == [
        (float(t["price"]), float(t["best_bid"]), float(t["high_24_h"]))
        for t in raw
        if t["product_id"] in ("BTC-USD", "ETH-USD")
    ]
    assert {(e.open, e.close, e.change, e.vwap, e.quote_volume) for e in events} == {(None,) * 5}


def bitstamp(at, *bids):
    data = {"timestamp": "1700000000", "microtimestamp": str(at), "bids": bids, "asks": []}
    return json.dumps({"event": "data", "channel": "diff_order_book_btcusd", "data": data})


async def started_bitstamp(fetch):
    of = Offline("bitstamp", {"BTC/USD": "btcusd"}, {"watchOrderBook": ["BTC/USD"]})
    of.exchange.fetch_order_book = fetch
    started = {"event": "bts:subscription_succeeded", "channel": "diff_order_book_btcusd", "data": {}}
    of.exchange.orderbooks["BTC/USD"] = of.exchange.order_book()
    events = of.feed(json.dumps(started), *(bitstamp(n, [f"{n}", "1"]) for n in range(10, 20)))
    assert events == []
    await asyncio.sleep(0.05)
    return of, of.feed()


async def test_a_book_made_of_a_snapshot_and_what_came_meanwhile_has_a_row_for_each_change():
    async def fetch(symbol, *_):
        return {"bids": [[5.0, 1.0]], "asks": [[30.0, 1.0]], "nonce": 16, "timestamp": 1_700_000_000_000}

    of, events = await started_bitstamp(fetch)
    books = of_kind(events, BookSnapshot)
    assert [b.nonce for b in books] == [17, 18, 19] and not of_kind(events, Gap)
    assert unpack_levels(books[0].bids) == [(17.0, 1.0), (5.0, 1.0)] and len(unpack_levels(books[2].bids)) == 4
    assert [d.is_snapshot for d in of_kind(events, BookDelta)] == [True, False, False]
    assert [b.nonce for b in of_kind(of.feed(bitstamp(20, ["20", "1"])), BookSnapshot)] == [20]


async def test_a_snapshot_that_cannot_be_fetched_costs_that_book_and_not_the_connection():
    async def fetch(symbol, *_):
        raise ccxt.NetworkError("the snapshot does not come")

    of, events = await started_bitstamp(fetch)
    rows = {(g.symbol, g.channel, g.reason, g.ended_at) for g in of_kind(events, Gap)}
    assert rows == {("BTC/USD", c, "disconnect", None) for c in ("orderbook", "l2")}
    assert "BTC/USD" in of.session.tap.resync and not of.client.is_over and of.session.failure is None


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_page_is_made_from_the_table():
    page = ROOT / "docs" / "INTEGRITY.md"
    assert page.read_text() == integrity_page(), "write integrity_page() to it"


def test_every_id_of_the_table_is_one_of_ccxts():
    import ccxt.pro

    assert set(VENUES) <= set(ccxt.pro.exchanges)
    assert venue_of("gate") is OTHER


def test_the_depth_asked_for_holds_what_is_recorded():
    kraken = venue_of("kraken")
    assert [kraken.depth(n) for n in (5, 10, 11, 300, 5000)] == [10, 10, 25, 500, 1000]
    assert venue_of("okx").depth(20) is None
