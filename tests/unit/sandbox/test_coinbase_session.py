"""The Coinbase conversation, without a socket: what is said, in what order, and how it is numbered."""

import json
from typing import Any

import pytest

from daedalus.sandbox.base import OutFrame, Session
from daedalus.sandbox.coinbase import EMPTY_EVERY
from daedalus.sandbox.registry import PROTOCOLS, protocol
from daedalus.sandbox.updates import BookSnapshot, LevelChanges, TickerTick, TradeTick, Update
from daedalus.sandbox.view import MarketView
from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.errors import ConfigError

T0 = 1_700_000_000_000_000
BOOK = BookSnapshot("X-USD", None, [("99.90", "1"), ("99", "2")], [("100.1", "0.5")])


def trade(number: int, time_us: int, product: str = "X-USD") -> TradeTick:
    return TradeTick(product, time_us, str(number), "100.1", "0.00000043", "sell")


class Talk:
    """A session over a small market, and what it said."""

    def __init__(self) -> None:
        self.view = MarketView(["X-USD", "Y-USD"])
        self.view.apply(BOOK)
        self.view.apply(trade(1, T0 - 2))
        self.view.apply(trade(2, T0 - 1))
        self.view.apply(TickerTick(product="X-USD", time_us=T0, price="100.1", best_bid="99.90"))
        self.session: Session = protocol("coinbase").session("/", self.view, T0)

    def say(self, channel: Any, products: Any = ("X-USD",), verb: Any = "subscribe") -> list[dict[str, Any]]:
        text = {"type": verb, "channel": channel, "product_ids": products, "jwt": "anything"}
        return decode(self.session.receive(json.dumps(text)))

    def happen(self, update: Update) -> list[dict[str, Any]]:
        self.view.apply(update)
        return decode(self.session.publish(update))


def decode(frames: Any) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in frames]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_level2_answers_with_the_book_then_the_list(talk: Talk) -> None:
    book, listed = talk.say("level2")
    event = book["events"][0]
    assert (book["channel"], book["sequence_num"], event["type"]) == ("l2_data", 0, "snapshot")
    assert [(u["side"], u["price_level"], u["new_quantity"]) for u in event["updates"]] == [
        ("bid", "99.90", "1"),
        ("bid", "99", "2"),
        ("offer", "100.1", "0.5"),
    ]
    assert {u["event_time"] for u in event["updates"]} == {"1970-01-01T00:00:00Z"}
    assert list(book) == ["channel", "timestamp", "sequence_num", "events"]
    assert (listed["channel"], listed["sequence_num"]) == ("subscriptions", 1)
    assert listed["events"] == [{"subscriptions": {"level2": ["X-USD"]}}]


def test_changes_keep_their_text_and_time(talk: Talk) -> None:
    talk.say("level2")
    (frame,) = talk.happen(LevelChanges("X-USD", T0 + 5, [("bid", "99.90000000", "0"), ("ask", "100.2", "3")]))
    assert [(u["side"], u["price_level"], u["new_quantity"]) for u in frame["events"][0]["updates"]] == [
        ("bid", "99.90000000", "0"),
        ("offer", "100.2", "3"),
    ]
    assert parse_rfc3339_us(frame["events"][0]["updates"][0]["event_time"]) == T0 + 5
    assert parse_rfc3339_us(frame["timestamp"]) == T0 + 5


def test_subscribing_again_gives_the_book_as_it_now_is(talk: Talk) -> None:
    talk.say("level2")
    talk.happen(LevelChanges("X-USD", T0 + 5, [("bid", "99.90000000", "0"), ("ask", "100.100", "7")]))
    book, _ = talk.say("level2")
    assert [(u["price_level"], u["new_quantity"]) for u in book["events"][0]["updates"]] == [
        ("99", "2"),
        ("100.100", "7"),
    ]


def test_some_updates_are_empty_and_carry_no_data(talk: Talk) -> None:
    talk.say("level2")
    frames: list[OutFrame] = []
    for number in range(EMPTY_EVERY):
        frames += talk.session.publish(LevelChanges("X-USD", T0 + number, [("bid", "99", "1")]))
    assert [frame.items for frame in frames] == [1] * EMPTY_EVERY + [0]
    assert not frames[-1].is_flow
    assert frames[0].is_flow


def test_trades_tell_the_past_first_newest_first(talk: Talk) -> None:
    past, _ = talk.say("market_trades")
    assert past["events"][0]["type"] == "snapshot"
    assert [t["trade_id"] for t in past["events"][0]["trades"]] == ["2", "1"]


def test_trades_are_told_by_windows_of_market_time(talk: Talk) -> None:
    talk.say("market_trades")
    assert talk.happen(trade(3, T0 + 10)) == []
    assert talk.happen(trade(4, T0 + 249_999)) == []
    (window,) = talk.happen(trade(5, T0 + 250_000))
    assert [t["trade_id"] for t in window["events"][0]["trades"]] == ["4", "3"]
    assert window["events"][0]["type"] == "update"
    assert window["events"][0]["trades"][0]["side"] == "SELL"
    assert decode(talk.session.advance(T0 + 499_999)) == []
    (window,) = decode(talk.session.advance(T0 + 500_000))
    assert [t["trade_id"] for t in window["events"][0]["trades"]] == ["5"]
    talk.happen(trade(6, T0 + 500_001))
    (window,) = decode(talk.session.finish())
    assert [t["trade_id"] for t in window["events"][0]["trades"]] == ["6"]


def test_subscribing_again_tells_no_trade_twice_as_new(talk: Talk) -> None:
    talk.say("market_trades")
    talk.happen(trade(3, T0 + 10))
    window, past, _ = talk.say("market_trades")
    assert window["events"][0]["type"] == "update"
    assert [t["trade_id"] for t in past["events"][0]["trades"]] == ["3", "2", "1"]
    assert decode(talk.session.finish()) == []


def test_ticker_has_the_real_fields_that_are_known(talk: Talk) -> None:
    first, _ = talk.say("ticker")
    assert first["events"][0]["type"] == "snapshot"
    assert first["events"][0]["tickers"] == [
        {"type": "ticker", "product_id": "X-USD", "price": "100.1", "best_bid": "99.90"}
    ]
    (frame,) = talk.happen(TickerTick(product="X-USD", time_us=T0, price="9", volume_24h="1", change_pct_24h="0.1"))
    assert frame["events"][0]["tickers"][0] == {
        "type": "ticker",
        "product_id": "X-USD",
        "price": "9",
        "volume_24_h": "1",
        "price_percent_chg_24_h": "0.1",
    }


def test_ticker_batch_comes_every_five_seconds_with_the_latest(talk: Talk) -> None:
    talk.say("ticker_batch", ["X-USD", "Y-USD"])
    for number, product in enumerate(["X-USD", "Y-USD", "X-USD"]):
        assert talk.happen(TickerTick(product=product, time_us=T0 + 1, price=str(number))) == []
    assert decode(talk.session.advance(T0 + 4_999_999)) == []
    (frame,) = decode(talk.session.advance(T0 + 5_000_000))
    assert frame["channel"] == "ticker_batch"
    assert {t["product_id"]: t["price"] for t in frame["events"][0]["tickers"]} == {"X-USD": "2", "Y-USD": "1"}
    assert decode(talk.session.advance(T0 + 10_000_000)) == []


def test_heartbeats_only_when_asked_for(talk: Talk) -> None:
    assert decode(talk.session.pulse()) == []
    (listed,) = talk.say("heartbeats", [])
    assert listed["events"][0]["subscriptions"] == {"heartbeats": ["heartbeats"]}
    first, second = decode(talk.session.pulse()) + decode(talk.session.pulse())
    assert [f["events"][0]["heartbeat_counter"] for f in (first, second)] == [1, 2]
    assert first["events"][0]["current_time"].startswith("2023-11-14 22:13:20.000000000 +0000 UTC")
    assert talk.session.kinds == frozenset()


def test_one_sequence_over_all_channels_but_errors(talk: Talk) -> None:
    frames = talk.say("level2") + talk.say("nothing") + talk.say("market_trades") + talk.say("heartbeats")
    frames += [*decode(talk.session.pulse()), json.loads(talk.session.unknown_frame().data)]
    assert [f.get("sequence_num") for f in frames] == [0, 1, None, 2, 3, 4, 5, 6]


def test_unsubscribing_ends_it(talk: Talk) -> None:
    talk.say("level2", ["X-USD", "Y-USD"])
    talk.say("market_trades")
    assert talk.session.kinds == {"book", "trades"}
    talk.happen(trade(3, T0 + 10))
    (listed,) = talk.say("market_trades", verb="unsubscribe")
    assert listed["events"][0]["subscriptions"] == {"level2": ["X-USD", "Y-USD"]}
    assert decode(talk.session.advance(T0 + 10**6)) == []
    (listed,) = talk.say("level2", verb="unsubscribe")
    assert listed["events"][0]["subscriptions"] == {"level2": ["Y-USD"]}
    assert talk.happen(LevelChanges("X-USD", T0, [("bid", "1", "1")])) == []
    assert talk.session.kinds == {"book"}


@pytest.mark.parametrize(
    ("channel", "products", "verb", "named"),
    [
        ("level2", ["X-USD", "NO-USD"], "subscribe", "NO-USD"),
        ("level3", ["X-USD"], "subscribe", "level3"),
        ("level2", [], "subscribe", "product_ids"),
        ("level2", None, "subscribe", "product_ids"),
        ("level2", ["X-USD"], "describe", "describe"),
        ("level2", "X-USD", "subscribe", "product_ids"),
        (None, ["X-USD"], "subscribe", "channel"),
        ("heartbeats", ["NO-USD"], "subscribe", "NO-USD"),
    ],
)
def test_a_wrong_message_is_refused_as_a_whole(talk: Talk, channel: Any, products: Any, verb: Any, named: str) -> None:
    (error,) = talk.say(channel, products, verb)
    assert set(error) == {"type", "message"}
    assert error["type"] == "error"
    assert named in error["message"]
    assert talk.session.kinds == frozenset()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"type":1}', '{"type":"subscribe"}'])
def test_nonsense_is_answered_by_an_error(talk: Talk, text: str) -> None:
    (error,) = decode(talk.session.receive(text))
    assert error["type"] == "error"


def test_a_snapshot_in_mid_stream_goes_out(talk: Talk) -> None:
    talk.say("level2")
    (frame,) = talk.happen(BookSnapshot("X-USD", T0 + 1, [("1", "1")], [("2", "2")]))
    assert frame["events"][0]["type"] == "snapshot"
    assert len(frame["events"][0]["updates"]) == 2


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_answers_nonsense_and_goes_on(name: str) -> None:
    view = MarketView(["X-USD"])
    session = PROTOCOLS[name]().session("/", view, T0)
    assert all(isinstance(frame, OutFrame) for frame in session.receive("\x00"))
    assert list(session.advance(T0 + 1)) == []
    assert json.loads(session.error_frame("x").data)
    assert json.loads(session.unknown_frame().data)


def test_an_unknown_protocol_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean coinbase"):
        protocol("coinbse")
