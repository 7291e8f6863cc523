"""From the configuration to calls: bulk where it is there, batches, patterns, and what cannot be had is named."""

from daedalus.ingestion.collectors.ccxt_markets import Call, plan_calls
from daedalus.ingestion.collectors.ccxt_names import MarketNames, channels_of
from daedalus.ingestion.collectors.ccxt_trades import TRADE_IDS_MAX, TradeMemory
from daedalus.ingestion.collectors.ccxt_urls import first_socket, moved
from daedalus.ingestion.collectors.ccxt_venues import OTHER, Venue, venue_of

BULK = {"watchTrades": True, "watchTradesForSymbols": True, "watchOrderBook": True, "watchTicker": True}
BULK |= {"watchTickers": True, "watchBidsAsks": True, "watchOrderBookForSymbols": None}


def markets(*symbols, **more):
    kinds = {symbol: "swap" if ":" in symbol else "spot" for symbol in symbols}
    ids = {symbol: symbol.replace("/", "-").replace(":", "-") for symbol in symbols}
    return {s: {"id": ids[s], "symbol": s, "type": kinds[s], "active": True, "info": {}, **more} for s in symbols}


def calls(channels, has=BULK, known=None, venue=OTHER):
    return plan_calls(channels, has, known or markets("A/USD", "B/USD", "C/EUR", "A/USD:USD"), venue)


def test_bulk_methods_are_used_where_they_are_and_batched():
    many = [f"{n:03}/USD" for n in range(45)]
    plan = calls({"watchTrades": many, "watchOrderBook": many[:2]}, known=markets(*many))
    assert [(c.method, len(c.symbols), c.is_bulk) for c in plan.calls] == [
        ("watchTradesForSymbols", 20, True),
        ("watchTradesForSymbols", 20, True),
        ("watchTradesForSymbols", 5, True),
        ("watchOrderBook", 1, False),
        ("watchOrderBook", 1, False),
    ]
    assert plan.symbols("trades") == set(many) and plan.calls[0].function == "watch_trades_for_symbols"


def test_one_symbol_takes_the_plain_method_and_the_other_way_round_where_it_must():
    assert calls({"watchTickers": ["A/USD"]}).calls == [Call("watchTicker", "ticker", ("A/USD",), False)]
    has = {**BULK, "watchTicker": False}
    assert calls({"watchTicker": ["A/USD"]}, has).calls == [Call("watchTickers", "ticker", ("A/USD",), True)]
    assert calls({"watchBidsAsks": ["A/USD"]}).calls == [Call("watchBidsAsks", "bidsasks", ("A/USD",), True)]


def test_a_venue_whose_bulk_ticker_is_another_feed_keeps_them_apart():
    coinbase = venue_of("coinbase")
    assert [c.method for c in calls({"watchTicker": ["A/USD", "B/USD"]}, venue=coinbase).calls] == ["watchTicker"] * 2
    assert [c.method for c in calls({"watchTickers": ["A/USD", "B/USD"]}, venue=coinbase).calls] == ["watchTickers"]


def test_patterns_pick_from_the_active_markets():
    known = markets("A/USD", "B/USD", "C/EUR", "A/USD:USD")
    known["B/USD"]["active"] = False
    assert calls({"watchTrades": ["*/USD"]}, known=known).symbols("trades") == {"A/USD"}
    assert calls({"watchTrades": ["*"]}, known=known).symbols("trades") == {"A/USD", "C/EUR", "A/USD:USD"}
    assert calls({"watchTrades": ["B/USD", "?/EUR", "B/USD"]}, known=known).symbols("trades") == {"B/USD", "C/EUR"}


def test_types_of_markets_are_not_mixed():
    plan = calls({"watchTrades": ["*"]})
    assert [(c.symbols, c.market_type) for c in plan.calls] == [
        (("A/USD", "B/USD", "C/EUR"), "spot"),
        (("A/USD:USD",), "swap"),
    ]


def test_what_cannot_be_had_is_named_and_the_rest_stays():
    plan = calls({"watchTrades": ["A-USD", "A/UDS", "zzz", "B/USD", "*/JPY"]})
    assert plan.unknown == [
        ("watchTrades", "A-USD", "A/USD"),
        ("watchTrades", "A/UDS", "A/USD"),
        ("watchTrades", "zzz", ""),
        ("watchTrades", "*/JPY", ""),
    ]
    assert plan.symbols("trades") == {"B/USD"}
    assert calls({"watchOrderBook": ["A/USD"]}, {**BULK, "watchOrderBook": False}).unsupported == ["watchOrderBook"]


def test_refused_symbols_and_doubles_are_not_asked_for():
    left_out = {("A/USD", "trades")}
    plan = plan_calls(
        {"watchTrades": ["A/USD", "B/USD"], "watchTradesForSymbols": ["B/USD", "C/EUR"]},
        BULK,
        markets("A/USD", "B/USD", "C/EUR"),
        OTHER,
        left_out,
    )
    assert [c.symbols for c in plan.calls] == [("B/USD",), ("C/EUR",)]


def test_an_alias_is_recorded_under_the_name_that_the_exchange_sends():
    known = markets("A/USD", "A/USDC")
    known["A/USDC"]["info"] = {"alias": "A-USD"}
    plan = calls({"watchTrades": ["A/USDC"]}, known=known)
    assert plan.symbols("trades") == {"A/USD"} and plan.aliases == [("A/USDC", "A/USD")]


def test_quotes_that_would_spoil_a_book_are_left_out():
    plan = calls({"watchBidsAsks": ["A/USD", "B/USD"], "watchOrderBook": ["A/USD"]}, venue=venue_of("bybit"))
    assert plan.symbols("bidsasks") == {"B/USD"} and plan.conflicts == ["A/USD"]


def test_a_call_finds_the_symbol_in_a_hash():
    call = Call("watchTradesForSymbols", "trades", ("A/USD", "A/USDT", "A/USDT:USDT"), True)
    assert call.symbol_in("trade::A/USDT:USDT") == "A/USDT:USDT" and call.symbol_in("trade::A/USDT") == "A/USDT"
    assert call.symbol_in("trades") == "" and call.alone()[1].symbol_in("whatever") == "A/USDT"


def test_frames_name_markets_and_what_they_carry():
    names = MarketNames(markets("A/USD", "AB/USD"))
    assert names.named_in('{"s":"a-usd@trade"}') == {"A/USD"} and names.named_in('{"A-USDT"') == set()
    assert channels_of('{"e":"depthUpdate"', ()) == ["orderbook"]
    assert channels_of("{}", ()) == ["orderbook", "trades", "ticker"]


def test_only_data_of_markets_that_stand_is_passed_over():
    names = MarketNames(markets("A/USD", "B/USD"))
    data = '{"channel":"books","instId":"A-USD","action":"update"}'
    assert not names.is_done_with(data)
    names.done("A/USD")
    assert names.is_done_with(data) and names.is_done_with(data)
    assert not names.is_done_with('{"event":"subscribe","instId":"A-USD"}')
    assert not names.is_done_with('{"event":"error","msg":"A-USD"}') and not names.is_done_with('{"op":"ping"}')
    names.undone("A/USD")
    assert not names.is_done_with(data)


def test_trades_are_remembered_within_bounds():
    memory = TradeMemory()
    assert not memory.knows("A/USD")
    assert [memory.add("A/USD", i) for i in ("5", "6", "9", "7", "9", "x-1", "x-1")] == [0, 0, 2, 0, None, 0, None]
    for number in range(100, 100 + TRADE_IDS_MAX):
        memory.add("A/USD", str(number))
    assert memory.add("A/USD", "5") == 0, "the oldest are forgotten"
    assert memory.add("B/USD", "5") == 0 and memory.knows("B/USD")


def test_addresses_move_with_their_paths():
    urls = {
        "ws": {"spot": "wss://stream.x.com:9443/ws", "swap": "wss://fstream.x.com/ws"},
        "rest": "https://{hostname}/v3",
    }
    here = moved(urls, "ws://127.0.0.1:1", "http://127.0.0.1:1")
    assert here["ws"] == {"spot": "ws://127.0.0.1:1/stream/ws", "swap": "ws://127.0.0.1:1/fstream/ws"}
    assert here["rest"] == "http://127.0.0.1:1/v3"
    there = moved(urls, "wss://other.example.com", None)
    assert there["ws"]["spot"] == "wss://other.example.com/ws" and there["rest"] == urls["rest"]
    assert first_socket(urls) == "wss://stream.x.com:9443/ws" and first_socket({"rest": "https://x"}) == ""


def test_every_venue_says_what_it_checks():
    assert all(isinstance(venue, Venue) and venue.integrity.book for venue in (OTHER, venue_of("okx")))
