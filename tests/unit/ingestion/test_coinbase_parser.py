"""Coinbase frames to events: recorded frames, and what exchanges do wrong."""

import json

import pytest

from daedalus.ingestion.collectors.base import OpenGaps
from daedalus.ingestion.collectors.coinbase_parser import BACKWARD_MAX, CoinbaseParser
from daedalus.ingestion.collectors.coinbase_settings import Carried
from daedalus.ingestion.collectors.seen_trades import SeenTrades
from daedalus.ingestion.collectors.watchdog import Watchdog
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import BookDelta, BookSnapshot, Gap, Ticker, Trade, unpack_changes, unpack_levels

NOW = 1_787_610_853_000_000_000
ALL_CHANNELS = ("trades", "ticker", "l2", "orderbook")


def make(channels=ALL_CHANNELS, depth=5, interval_ms=0, gaps=None, seen=None, watchdog=None, symbols=("BTC-USD",)):
    return CoinbaseParser(
        exchange="coinbase",
        symbols=symbols,
        channels=channels,
        depth=depth,
        interval_ms=interval_ms,
        carried=Carried(
            gaps if gaps is not None else OpenGaps("coinbase"), seen or SeenTrades(), watchdog=watchdog or Watchdog({})
        ),
    )


def level2(seq, kind, *updates, product="BTC-USD"):
    rows = [
        {"side": side, "price_level": p, "new_quantity": q, "event_time": "2026-08-24T22:34:13.5Z"}
        for side, p, q in updates
    ]
    return json.dumps(
        {
            "channel": "l2_data",
            "timestamp": "2026-08-24T22:34:13.793075885Z",
            "sequence_num": seq,
            "events": [{"type": kind, "product_id": product, "updates": rows}],
        }
    )


def trades(seq, kind, *ids, product="BTC-USD", side="BUY"):
    rows = [
        {
            "product_id": product,
            "trade_id": str(i),
            "price": "10.5",
            "size": "1",
            "time": "2026-08-24T22:34:13Z",
            "side": side,
        }
        for i in ids
    ]
    return json.dumps({"channel": "market_trades", "sequence_num": seq, "events": [{"type": kind, "trades": rows}]})


def feed(parser, *frames, now=NOW):
    return [event for n, text in enumerate(frames) for event in parser.feed(text, now + n)]


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def recorded(recordings, name):
    return (recordings / "coinbase_advanced" / name).read_text().splitlines()


def test_recorded_level2(recordings):
    parser = make(depth=20)
    frames = recorded(recordings, "tickvault_coinbase_l2.jsonl")
    events = feed(parser, *frames)
    sent = [u for f in frames for e in json.loads(f)["events"] for u in e.get("updates", [])]
    got = [row for delta in of(BookDelta, events) for row in unpack_changes(delta.changes)]
    assert [(s, p, q) for _, s, p, q in got] == [
        ({"bid": "bid", "offer": "ask"}[u["side"]], float(u["price_level"]), float(u["new_quantity"])) for u in sent
    ]
    assert of(BookDelta, events)[0].is_snapshot and not of(BookDelta, events)[1].is_snapshot
    for book in of(BookSnapshot, events):
        bids, asks = unpack_levels(book.bids), unpack_levels(book.asks)
        assert bids == sorted(bids, reverse=True) and asks == sorted(asks)
    assert of(Gap, events) == []


def test_recorded_trades(recordings):
    parser = make()
    events = feed(parser, *recorded(recordings, "ccxt_coinbase_market_trades.jsonl"))
    live = of(Trade, events)
    assert [t.trade_id for t in live] == ["1069726292", "1069726293"]  # past trades left out, oldest first
    assert {t.side for t in live} == {"sell"}  # BUY is the maker's
    assert json.loads(live[0].info_json) == {"side": "BUY"}
    assert live[1].timestamp == 1786562868298771 and live[1].price == 63310.25 and live[1].cost is None
    assert parser.subscribed == {"market_trades": {"BTC-USD"}}


def test_recorded_ticker(recordings):
    events = feed(make(), *recorded(recordings, "ccxt_coinbase_ticker.jsonl"))
    first = of(Ticker, events)[0]
    assert (first.last, first.bid, first.ask) == (63320.73, 63320.73, 63320.74)
    assert (first.bid_volume, first.high, first.base_volume) == (0.12636254, 64416.3, 6629.927726)
    assert first.vwap is None and first.open is None
    assert json.loads(first.info_json) == {"low_52_w": "57717.55", "high_52_w": "126296"}


def test_a_jump_in_the_sequence_is_a_gap_and_no_book_is_published_until_the_snapshot():
    parser = make()
    feed(parser, level2(0, "snapshot", ("bid", "10", "1"), ("offer", "11", "1")))
    events = feed(parser, level2(4, "update", ("bid", "10", "2")), now=NOW + 10)
    gaps = of(Gap, events)
    assert {(g.channel, g.ended_at is None, g.missed) for g in gaps} == {
        ("trades", False, 3),
        ("ticker", False, 3),
        ("l2", True, 3),
        ("orderbook", True, 3),
    }
    assert {g.started_at for g in gaps} == {NOW} and {g.reason for g in gaps} == {"sequence_gap"}
    assert of(BookSnapshot, events) == [] and len(of(BookDelta, events)) == 1
    assert parser.resync == {"BTC-USD"}
    events = feed(parser, level2(5, "snapshot", ("bid", "10", "2"), ("offer", "11", "1")), now=NOW + 20)
    assert {(g.channel, g.started_at, g.ended_at) for g in of(Gap, events)} == {
        ("l2", NOW, NOW + 20),
        ("orderbook", NOW, NOW + 20),
    }
    assert len(of(BookSnapshot, events)) == 1 and parser.resync == set()


def test_a_resent_frame_counts_once():
    parser = make()
    frame = level2(0, "snapshot", ("bid", "10", "1"))
    assert len(of(BookDelta, feed(parser, frame, frame, frame))) == 1
    with pytest.raises(MalformedError, match="sequence_num stays below"):
        for _ in range(BACKWARD_MAX + 1):
            parser.feed(frame, NOW)


@pytest.mark.parametrize(
    "frame",
    [
        "not json",
        '{"channel": "l2_data", "sequence_num": 1, "events": [',
        "\x00\xff",
        "[]",
        '{"channel": "l2_data", "sequence_num": "one"}',
        level2(1, "update", ("bid", "NaN", "1")),
        level2(1, "update", ("bid", "1e400", "1")),
        level2(1, "update", ("bid", "-1", "1")),
        level2(1, "update", ("middle", "1", "1")),
        level2(1, "surprise", ("bid", "1", "1")),
        trades(1, "update", 7).replace("10.5", "Infinity"),
        trades(1, "update", 7).replace("trade_id", "id"),
        json.dumps({"channel": "ticker", "sequence_num": 1, "events": [{"tickers": [{"price": "x"}]}]}),
    ],
)
def test_garbage_costs_itself_alone_and_is_in_the_ledger(frame):
    parser = make()
    feed(parser, level2(0, "snapshot", ("bid", "10", "1")))
    events = feed(parser, frame, now=NOW + 5)
    assert next(g.reason for g in of(Gap, events)) == "parse_error"
    assert of(Trade, events) == of(BookDelta, events) == of(Ticker, events) == []
    later = feed(parser, level2(2, "snapshot", ("bid", "9", "1")), trades(3, "update", 8), now=NOW + 6)
    assert len(of(Trade, later)) == 1 and unpack_levels(of(BookSnapshot, later)[-1].bids) == [(9.0, 1.0)]
    assert parser.resync == set()


def test_unknown_messages_and_error_frames_are_passed_over():
    parser = make()
    events = feed(
        parser,
        '{"channel":"status","sequence_num":0,"events":[{"new":1}]}',
        '{"type":"error","message":"slow down"}',
        '{"channel":"heartbeats","sequence_num":1,"events":[{"heartbeat_counter":"3"}]}',
        '{"channel":"heartbeats","sequence_num":2,"events":[{"heartbeat_counter":4}]}',
        level2(3, "snapshot", ("bid", "10", "1")),
        level2(4, "update"),
        level2(5, "update", ("offer", "77", "0")),
    )
    assert of(Gap, events) == [] and parser.refusal == "slow down"
    assert len(of(BookDelta, events)) == 2


def test_trades_missed_while_disconnected_come_from_the_next_snapshot_once():
    gaps, seen = OpenGaps("coinbase"), SeenTrades()
    first = make(gaps=gaps, seen=seen)
    assert [t.trade_id for t in of(Trade, feed(first, trades(0, "snapshot", 2, 1), trades(1, "update", 3)))] == ["3"]
    second = make(gaps=gaps, seen=seen)
    events = feed(second, trades(0, "snapshot", 5, 4, 3, 2), trades(1, "update", 6, 5))
    assert [t.trade_id for t in of(Trade, events)] == ["4", "5", "6"]


def test_books_are_published_at_the_interval_and_by_a_heartbeat():
    parser = make(interval_ms=1000)
    first = parser.feed(level2(0, "snapshot", ("bid", "10", "1")), NOW)
    soon = parser.feed(level2(1, "update", ("bid", "10", "2")), NOW + 999_999_999)
    beat = parser.feed('{"channel":"heartbeats","sequence_num":2,"events":[]}', NOW + 1_000_000_000)
    idle = parser.feed('{"channel":"heartbeats","sequence_num":3,"events":[]}', NOW + 9_000_000_000)
    assert [len(of(BookSnapshot, e)) for e in (first, soon, beat, idle)] == [1, 0, 1, 0]
    book = of(BookSnapshot, beat)[0]
    assert unpack_levels(book.bids) == [(10.0, 2.0)] and book.timestamp == 1787610853500000 and book.nonce == 1


def test_times_that_were_not_sent_are_null():
    text = level2(0, "snapshot", ("bid", "10", "1")).replace("2026-08-24T22:34:13.5Z", "1970-01-01T00:00:00Z")
    events = feed(make(), text)
    assert unpack_changes(of(BookDelta, events)[0].changes)[0][0] is None
    # The message's own time stands in for the book's.
    assert of(BookSnapshot, events)[0].timestamp == 1787610853793075


def test_only_what_is_asked_for_is_recorded():
    frames = (level2(0, "snapshot", ("bid", "10", "1")), trades(1, "update", 3))
    assert {type(e) for e in feed(make(channels=("l2",)), *frames)} == {BookDelta}
    assert {type(e) for e in feed(make(channels=("trades",)), *frames)} == {Trade}
    assert {type(e) for e in feed(make(channels=("orderbook",)), *frames)} == {BookSnapshot}
