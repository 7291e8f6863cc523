"""Having streams of a live connection sent again: one market's at a time, while the others go on.

Imports CCXT: import this module only where it is needed.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import structlog

from daedalus.ingestion.collectors.base import TokenBucket
from daedalus.ingestion.collectors.ccxt_client import CALL, TapClient
from daedalus.ingestion.collectors.ccxt_markets import Call
from daedalus.ingestion.collectors.ccxt_venues import Venue

log = structlog.get_logger(__name__)

#: How long CCXT's unwatch may take.
UNWATCH_S = 10.0
#: CCXT's methods that end a watch, for one symbol and for many.
_UNWATCH = {
    "orderbook": (
        ("unWatchOrderBook", "un_watch_order_book"),
        ("unWatchOrderBookForSymbols", "un_watch_order_book_for_symbols"),
    ),
    "trades": (("unWatchTrades", "un_watch_trades"), ("unWatchTradesForSymbols", "un_watch_trades_for_symbols")),
    "ticker": (("unWatchTicker", "un_watch_ticker"), ("unWatchTickers", "un_watch_tickers")),
    "bidsasks": (("", ""), ("unWatchBidsAsks", "un_watch_bids_asks")),
}


class Asking:
    """Asks for streams anew, in the order in which that was wanted and at the exchange's pace.

    Parameters
    ----------
    exchange
        CCXT's.
    clients
        The connections, as they come to be.
    start
        Makes a watch call.
    on_book
        Called with the symbol of a book, just before CCXT begins it anew.
    depth
        Levels that books are subscribed to, None for CCXT's default.
    name
        The exchange's, for logs.
    describe
        Puts an error into words.

    Attributes
    ----------
    is_missing
        Tells whether a channel of a symbol is still to be had anew when its turn comes.
    """

    def __init__(
        self,
        *,
        exchange: Any,
        clients: Sequence[TapClient],
        start: Callable[[Call], None],
        is_missing: Callable[[str, str], bool],
        on_book: Callable[[str], None],
        venue: Venue,
        depth: int | None,
        pace: TokenBucket,
        name: str,
        describe: Callable[[BaseException], str],
    ) -> None:
        self._exchange, self._clients, self._start, self._venue = exchange, clients, start, venue
        self.is_missing, self._on_book, self._depth, self._pace = is_missing, on_book, depth, pace
        self._name, self._describe = name, describe
        self._wanted: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()

    def want(self, channel: str, symbol: str, is_silent: bool) -> None:
        """Have a stream sent again. One that is silent is subscribed to anew, whatever else would make it whole."""
        self._wanted.put_nowait((channel, symbol, is_silent))

    async def run(self) -> None:
        """Ask, until cancelled. Whoever gets no answer asks again later."""
        while True:
            first = await self._wanted.get()
            await self._pace.take()
            # What waits for the same by now goes with it, in one message.
            wanted = {first[1]} | set(self._like(first))
            await self.ask(first[0], sorted(wanted), first[2])

    def _like(self, first: tuple[str, str, bool]) -> Iterator[str]:
        """Take the others that are wanted in the same way out of the queue."""
        rest = [self._wanted.get_nowait() for _ in range(self._wanted.qsize())]
        for one in rest:
            if (one[0], one[2]) == (first[0], first[2]):
                yield one[1]
            else:
                self._wanted.put_nowait(one)

    async def ask(self, channel: str, symbols: list[str], is_silent: bool = False) -> None:
        """Ask for streams, and wait until they are had. A failure is logged."""
        try:
            await self._ask(channel, symbols, is_silent)
        except Exception as error:
            log.warning(
                "stream_not_asked_for",
                exchange=self._name,
                channel=channel,
                symbols=symbols,
                error=self._describe(error),
            )

    async def _ask(self, channel: str, symbols: list[str], is_silent: bool) -> None:
        is_book, fetches = channel == "orderbook", self._venue.resync == "rest"
        # What came while it waited for its turn stands: to throw it away would lose what comes until it is had anew.
        missing = [symbol for symbol in symbols if self.is_missing(channel, symbol)]
        places = [place for symbol in missing for place in self._places(channel, symbol)]
        if self._venue.resubscribe is not None and (is_silent or not (is_book and fetches)):
            await self._send_again(places)
        elif not (is_book and fetches):
            for client, message_hash, call, symbol in places:
                await self._watch_again(client, message_hash, call, symbol)
        if is_book and fetches:
            for client, message_hash, _, symbol in places:
                if self.is_missing(channel, symbol):
                    await self._fetch_again(client, message_hash, symbol)

    def _places(self, channel: str, symbol: str) -> Iterator[tuple[TapClient, str, Call, str]]:
        """Yield where a stream is watched."""
        for client in self._clients:
            for message_hash, call in list(client.calls.items()):
                is_it = call.channel == channel and symbol in call.symbols
                if is_it and not client.is_over and call.symbol_in(message_hash) == symbol:
                    yield client, message_hash, call, symbol

    async def _send_again(self, places: list[tuple[TapClient, str, Call, str]]) -> None:
        """Unsubscribe and subscribe in the exchange's own words, in one message for each connection and call."""
        groups: dict[tuple[TapClient, Call], dict[str, Any]] = {}
        for client, message_hash, call, symbol in places:
            client.renewed.add(message_hash)
            groups.setdefault((client, call), {})[symbol] = self._exchange.market(symbol)
        for (client, call), markets in groups.items():
            assert self._venue.resubscribe is not None
            for message in self._venue.resubscribe(call, list(markets.values()), self._depth, client.topics):
                await self._pace.take()
                await client.send(message)

    async def _fetch_again(self, client: TapClient, message_hash: str, symbol: str) -> None:
        """Begin the book anew: CCXT keeps the deltas while the snapshot is fetched, and applies them to it."""
        exchange, market = self._exchange, self._exchange.market(symbol)
        kind = market["type"]
        if market.get("contract") and kind != "option":
            kind = "linear" if market.get("linear") else "inverse"
        self._on_book(symbol)
        subscription = {"name": "depth", "symbol": symbol, "symbols": [symbol], "type": kind, "params": {}}
        exchange.orderbooks[symbol] = exchange.order_book({}, None)
        client.subscriptions[message_hash] = subscription
        await exchange.fetch_order_book_snapshot(client, None, subscription)

    async def _watch_again(self, client: TapClient, message_hash: str, call: Call, symbol: str) -> None:
        """Let CCXT unwatch, where it can, and watch."""
        exchange = self._exchange
        CALL.set(None)
        if call.channel == "orderbook":
            self._on_book(symbol)
        (one, end_one), (many, end_many) = _UNWATCH[call.channel]
        with suppress(TimeoutError):
            async with asyncio.timeout(UNWATCH_S):
                if exchange.has.get(one) is True:
                    await getattr(exchange, end_one)(symbol)
                elif exchange.has.get(many) is True:
                    await getattr(exchange, end_many)([symbol])
        client.subscriptions.pop(message_hash, None)
        self._start(next(alone for alone in call.alone() if alone.symbols == (symbol,)))
