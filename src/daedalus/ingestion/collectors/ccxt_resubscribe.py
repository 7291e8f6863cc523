"""How to say "unsubscribe" and "subscribe" in a venue's own words, for streams that are to be sent again.

CCXT's own unwatch and watch end and begin whole calls, may take another connection for it, and are missing for some.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daedalus.ingestion.collectors.ccxt_markets import Call

Message = dict[str, Any]
Markets = Sequence[Mapping[str, Any]]
Topics = Collection[str]
Resubscribe = Callable[["Call", Markets, "int | None", Topics], list[Message]]
#: Of messages that CCXT does not know of: their answers mean nothing to it.
BINANCE_ID = 2**31


def _both(make: Callable[[str], Message]) -> list[Message]:
    return [make("unsubscribe"), make("subscribe")]


def coinbase_again(call: Call, markets: Markets, depth: int | None, topics: Topics) -> list[Message]:
    """Name `level2`, `market_trades`, `ticker` or `ticker_batch`."""
    ticker = "ticker_batch" if call.is_bulk else "ticker"
    channel = {"orderbook": "level2", "trades": "market_trades"}.get(call.channel, ticker)
    products = [market["id"] for market in markets]
    return _both(lambda verb: {"type": verb, "product_ids": products, "channel": channel})


def binance_again(call: Call, markets: Markets, depth: int | None, topics: Topics) -> list[Message]:
    """Name the very streams that CCXT subscribed to: options choose among several of a kind."""
    kinds = {"orderbook": ("depth",), "trades": ("trade", "aggTrade"), "bidsasks": ("bookTicker",)}
    kind, ids = kinds.get(call.channel, ("ticker", "miniTicker")), {market["lowercaseId"] for market in markets}
    mine = [t for t in topics if t.split("@")[0] in ids and t.split("@")[1:2] and t.split("@")[1].startswith(kind)]
    return _both(lambda verb: {"method": verb.upper(), "params": sorted(mine), "id": BINANCE_ID}) if mine else []


def okx_again(call: Call, markets: Markets, depth: int | None, topics: Topics) -> list[Message]:
    """Name `books`, `trades` or `tickers`."""
    channel = {"orderbook": "books", "trades": "trades"}.get(call.channel, "tickers")
    return _both(lambda verb: {"op": verb, "args": [{"channel": channel, "instId": m["id"]} for m in markets]})


def kraken_again(call: Call, markets: Markets, depth: int | None, topics: Topics) -> list[Message]:
    """Name `book`, `trade` or `ticker`, of the second version."""
    channel = {"orderbook": "book", "trades": "trade"}.get(call.channel, "ticker")
    params: Message = {"channel": channel, "symbol": [market["symbol"] for market in markets]}
    # With the past trades come those that were missed.
    params |= {"depth": depth} if channel == "book" else {"snapshot": True}
    params |= {"event_trigger": "bbo"} if call.channel == "bidsasks" else {}
    return _both(lambda verb: {"method": verb, "params": params})


def bybit_again(call: Call, markets: Markets, depth: int | None, topics: Topics) -> list[Message]:
    """Name topics of the fifth version."""
    of = {"orderbook": f"orderbook.{depth}.", "trades": "publicTrade.", "bidsasks": "orderbook.1."}
    names = [f"{of.get(call.channel, 'tickers.')}{market['id']}" for market in markets]
    return _both(lambda verb: {"op": verb, "args": names})
