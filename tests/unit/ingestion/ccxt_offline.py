"""A session of CCXT without sockets, within a running loop: frames are fed to it as if they had come."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from daedalus.ingestion.collectors.ccxt_client import CALL
from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.ingestion.collectors.ccxt_markets import plan_calls
from daedalus.ingestion.collectors.ccxt_names import MarketNames
from daedalus.ingestion.collectors.ccxt_session import Session
from daedalus.shared.events import Event

HASHES = {
    "coinbase": {"orderbook": "level2::{}", "trades": "market_trades::{}", "ticker": "ticker::{}"},
    "bybit": {"orderbook": "orderbook:{}", "trades": "trade:{}"},
    "bitstamp": {"orderbook": "orderbook:{}"},
    "kraken": {"orderbook": "orderbook@{}", "trades": "trade@{}"},
}


class Offline:
    """One exchange with the given markets (symbol to id), watched through these channels."""

    def __init__(
        self, exchange_id: str, markets: Mapping[str, str], channels: Mapping[str, Sequence[str]], **settings: Any
    ) -> None:
        given = {"record": ("ticker", "trades", "orderbook", "l2"), "orderbook_interval_ms": 0, **settings}
        self.collector = CcxtCollector(exchange_id, channels=channels, **given)
        of = self.collector
        self.session = Session(of._settings, of._carried, of._clock, of._pace)
        exchange = self.exchange = self.session.exchange
        exchange.set_markets([self._market(symbol, market_id) for symbol, market_id in markets.items()])
        plan = plan_calls(channels, exchange.has, exchange.markets, self.session._venue)
        self.session.tap.wanted = {c: plan.symbols(c) for c in ("trades", "orderbook", "ticker", "bidsasks")}
        names = MarketNames({symbol: exchange.markets[symbol] for symbol in markets})
        self.session._names = self.session.react.names = names
        exchange.open, exchange.asyncio_loop = lambda *_: None, asyncio.get_running_loop()
        self.client = exchange.client("wss://x/spot")
        for call in plan.calls:
            CALL.set(call)
            for symbol in call.symbols:
                message_hash = HASHES[exchange_id][call.channel].format(symbol)
                self.client.future(message_hash)
                self.client.subscriptions[message_hash] = True
            CALL.set(None)

    def _market(self, symbol: str, market_id: str) -> Any:
        base, quote = symbol.split("/")
        names = {"id": market_id, "symbol": symbol, "base": base, "quote": quote, "baseId": base, "quoteId": quote}
        return self.exchange.safe_market_structure({**names, "type": "spot", "spot": True, "active": True, "info": {}})

    def feed(self, *frames: str) -> list[Event]:
        """Return the events of these frames."""
        for frame in frames:
            self.session.on_frame(self.client, frame)
        return list(self.session.buffer.take(1_000_000))
