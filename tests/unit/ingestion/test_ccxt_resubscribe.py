"""Streams are had anew in each venue's own words, and nothing else is touched."""

import pytest

from daedalus.ingestion.collectors.ccxt_markets import Call
from daedalus.ingestion.collectors.ccxt_venues import STALL_TIMEOUTS, VENUES, venue_of

TOPICS = {"btcusdt@depth@100ms", "btcusdt@trade", "btcusdt@ticker", "btcusdt@bookTicker", "ethusdt@trade"}
MARKETS = {
    "binance": {"id": "BTCUSDT", "lowercaseId": "btcusdt", "symbol": "BTC/USDT"},
    "bybit": {"id": "BTCUSDT", "symbol": "BTC/USDT"},
    "coinbase": {"id": "BTC-USDT", "symbol": "BTC/USDT"},
    "kraken": {"id": "XBTUSDT", "symbol": "BTC/USDT"},
    "okx": {"id": "BTC-USDT", "symbol": "BTC/USDT"},
}


def again(name, channel, method="", is_bulk=False, depth=None):
    call = Call(method, channel, ("BTC/USDT",), is_bulk)
    return venue_of(name).resubscribe(call, [MARKETS[name]], depth, TOPICS)


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("channel", ["orderbook", "trades", "ticker", "bidsasks"])
def test_a_stream_is_ended_and_begun_of_that_market_alone(name, channel):
    ending, beginning = again(name, channel, depth=50)
    verbs = [str(m.get("op") or m.get("method") or m.get("type")).lower() for m in (ending, beginning)]
    assert verbs == ["unsubscribe", "subscribe"]
    assert "ethusdt" not in str(ending).lower() and any(MARKETS[name][key] in str(ending) for key in MARKETS[name])


def test_the_words_are_the_venues():
    assert again("binance", "trades")[1]["params"] == ["btcusdt@trade"]
    assert again("binance", "orderbook")[0]["params"] == ["btcusdt@depth@100ms"]
    assert again("okx", "ticker")[1]["args"] == [{"channel": "tickers", "instId": "BTC-USDT"}]
    assert again("kraken", "orderbook", depth=25)[1]["params"] == {
        "channel": "book",
        "symbol": ["BTC/USDT"],
        "depth": 25,
    }
    assert again("kraken", "trades")[1]["params"]["snapshot"] is True
    assert again("bybit", "orderbook", depth=200)[1]["args"] == ["orderbook.200.BTCUSDT"]
    assert again("coinbase", "trades")[1]["channel"] == "market_trades"
    assert [again("coinbase", "ticker", is_bulk=b)[1]["channel"] for b in (False, True)] == ["ticker", "ticker_batch"]


def test_what_ccxt_did_not_subscribe_to_is_not_asked_for():
    call = Call("watchTrades", "trades", ("BTC/USDT",), False)
    assert venue_of("binance").resubscribe(call, [MARKETS["binance"]], None, {"ethusdt@trade"}) == []


def test_every_venue_has_a_patience_for_each_channel():
    assert all(venue.stall_timeouts.keys() == STALL_TIMEOUTS.keys() for venue in VENUES.values())
