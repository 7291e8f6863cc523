"""CCXT's exchange, with hooks where handlers store what they made: see `ccxt_client`. Imports CCXT (1-2 s, 100 MB)."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any

import ccxt.pro
from ccxt.async_support.base.ws.cache import BaseCache

from daedalus.ingestion.collectors.ccxt_client import LOADING, Hooks, Loading, TapClient
from daedalus.ingestion.collectors.ccxt_client_books import QuickSide, book_class
from daedalus.ingestion.collectors.ccxt_lookups import QuickLookups
from daedalus.ingestion.collectors.ccxt_settings import Settings
from daedalus.ingestion.collectors.ccxt_urls import moved
from daedalus.ingestion.collectors.websocket import BANS

#: The symbol whose book is being fetched by REST.
SNAPSHOT_OF: ContextVar[str | None] = ContextVar("snapshot_of", default=None)

_PRICES = ("bid", "ask", "high", "low", "open", "close", "last")
_NUMBERS = (
    "bidVolume",
    "askVolume",
    "vwap",
    "baseVolume",
    "quoteVolume",
    "change",
    "percentage",
    "average",
    "previousClose",
    "indexPrice",
    "markPrice",
)


class Trades(dict[str, Any]):
    """`exchange.trades`: hands on each trade that is appended to one of its caches, and keeps none."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take

    def __setitem__(self, symbol: str, cache: Any) -> None:
        """Tap a cache that a handler stores."""
        super().__setitem__(symbol, cache)
        if not isinstance(cache, BaseCache):
            for trade in cache or ():
                self._take(trade)
        elif "append" not in cache.__dict__:
            held = list(cache)
            cache.clear()
            cache.append = self._take
            for trade in held:
                self._take(trade)


class Tickers(dict[str, Any]):
    """`exchange.tickers` or `exchange.bidsasks`: hands on each ticker that a handler stores."""

    def __init__(self, take: Callable[[Any, str], None], kind: str) -> None:
        self._take, self._kind = take, kind

    def __setitem__(self, symbol: str, ticker: Any) -> None:
        """Take a ticker."""
        super().__setitem__(symbol, ticker)
        self._take(ticker, self._kind)


class _Spare:
    """Stands in for a client while one book is built, so that a failure closes this and not the socket."""

    def __init__(self, client: TapClient) -> None:
        self._client = client
        self.error: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def close(self, code: int = 1000) -> None:
        """Close nothing."""


class _NoHooks:
    """Stands in for the hooks while CCXT makes the exchange."""

    is_handling = False


NO_HOOKS = _NoHooks()


class TapExchange(QuickLookups):
    """What is put before an exchange's class of CCXT."""

    hooks: Any = NO_HOOKS
    plain_deltas = False
    client_class: type[TapClient] = TapClient
    told_to_wait: Mapping[str, str] | None = None

    def take_up(self, hooks: Hooks, plain_deltas: bool) -> None:
        """Take up the hooks."""
        self.hooks, self.plain_deltas = hooks, plain_deltas
        self.trades = Trades(hooks.on_trade)
        self.tickers = Tickers(hooks.on_ticker, "ticker")
        self.bidsasks = Tickers(hooks.on_ticker, "bidsasks")

    def client(self, url: str) -> Any:
        """Return the client of an address, with hooks."""
        client = super().client(url)  # type: ignore[misc]
        if not isinstance(client, TapClient):
            client.__class__ = self.client_class
            client.prepare(self.hooks)
        return client

    def on_connected(self, client: Any, message: Any = None) -> None:
        """Tell the hooks."""
        super().on_connected(client, message)  # type: ignore[misc]
        self.hooks.on_connected(client)

    def is_spot_url(self, client: Any) -> bool:
        """Tell whether a connection carries spot markets; CCXT looks at the address, which may be another one."""
        for call in client.calls.values():
            return bool(call.market_type == "spot")
        return bool(super().is_spot_url(client))  # type: ignore[misc]

    def clean_unsubscription(self, client: Any, sub_hash: Any, unsub_hash: Any, *args: Any, **kwargs: Any) -> None:
        """Forget a subscription, unless it was ended to be begun anew: handlers pass over what is not subscribed to."""
        if sub_hash in client.renewed:
            client.renewed.discard(sub_hash)
        else:
            super().clean_unsubscription(client, sub_hash, unsub_hash, *args, **kwargs)  # type: ignore[misc]

    # Books made of a snapshot by REST: CCXT applies what came meanwhile all at once, and tells of the end alone.

    async def load_order_book(self, client: Any, message_hash: str, *args: Any, **kwargs: Any) -> Any:
        """Make a book; a failure costs this book, not the connection."""
        LOADING.set(Loading(client, message_hash))
        try:
            return await super().load_order_book(_Spare(client), message_hash, *args, **kwargs)  # type: ignore[misc]
        finally:
            LOADING.set(None)

    async def fetch_order_book_snapshot(self, client: Any, message: Any, subscription: Any) -> Any:
        """Make a book, in the way of Binance."""
        LOADING.set(Loading(client, f"snapshot::{subscription.get('symbol')}"))
        try:
            return await super().fetch_order_book_snapshot(client, message, subscription)  # type: ignore[misc]
        finally:
            LOADING.set(None)

    def handle_book_deltas(self, orderbook: Any, deltas: Any) -> None:
        """Apply messages to a book, and tell of each."""
        for delta in deltas:
            super().handle_book_deltas(orderbook, [delta])  # type: ignore[misc]
            self._tell(orderbook)

    def handle_order_book_message(self, client: Any, message: Any, *args: Any) -> Any:
        """Apply a message to a book, and tell of it."""
        result = super().handle_order_book_message(client, message, *args)  # type: ignore[misc]
        if args and LOADING.get() is not None:
            self._tell(args[0])
        return result

    def _tell(self, orderbook: Any) -> None:
        loading = LOADING.get()
        if loading is not None:
            self.hooks.on_book(loading.client, orderbook, loading.message_hash)
            loading.is_told = True

    async def fetch_rest_order_book_safe(self, symbol: str, *args: Any, **kwargs: Any) -> Any:
        """Fetch a book's snapshot, and let the hooks see its text."""
        SNAPSHOT_OF.set(symbol)
        try:
            return await super().fetch_rest_order_book_safe(symbol, *args, **kwargs)  # type: ignore[misc]
        finally:
            SNAPSHOT_OF.set(None)

    def on_rest_response(self, *args: Any) -> str:
        """Return the text of an answer."""
        text: str = super().on_rest_response(*args)  # type: ignore[misc]
        self.note_wait(*args)
        symbol = SNAPSHOT_OF.get()
        if symbol is not None:
            self.hooks.on_snapshot(symbol, text)
        return text

    def note_wait(self, code: int, reason: str, url: str, method: str, headers: Mapping[str, str], *rest: Any) -> None:
        """Keep the headers of an answer that asks to wait: by the time of the error another answer may be the last."""
        if code in BANS:
            self.told_to_wait = {name.title(): value for name, value in headers.items()}

    def take_wait(self) -> Mapping[str, str] | None:
        """Return the headers of the answer that asked to wait, once."""
        headers, self.told_to_wait = self.told_to_wait, None
        return headers

    # Books that know whether they were filled anew.

    def order_book(self, snapshot: Any = None, depth: Any = None) -> Any:
        """Make a book."""
        return book_class("plain", self.hooks.has_l2)(snapshot or {}, depth)

    def indexed_order_book(self, snapshot: Any = None, depth: Any = None) -> Any:
        """Make a book of orders."""
        return book_class("indexed", self.hooks.has_l2)(snapshot or {}, depth)

    def counted_order_book(self, snapshot: Any = None, depth: Any = None) -> Any:
        """Make a book whose levels count orders."""
        return book_class("counted", self.hooks.has_l2)(snapshot or {}, depth)

    def handle_deltas(self, bookside: Any, deltas: Any) -> None:
        """Apply the changes of a message: at once where CCXT would take price and size of each, one by one."""
        if self.plain_deltas and isinstance(bookside, QuickSide):
            bookside.store_all(deltas)
        else:
            super().handle_deltas(bookside, deltas)  # type: ignore[misc]

    def iso8601(self, timestamp: Any = None) -> str | None:
        """Return a time as text, but not to handlers: they store it beside the number, where nobody reads it."""
        return None if self.hooks.is_handling else super().iso8601(timestamp)  # type: ignore[misc]

    # CCXT fills what an exchange does not send by computing it. Nothing is invented here.

    def safe_trade(self, trade: dict[str, Any], market: Any = None) -> dict[str, Any]:
        """Make numbers of price and amount."""
        parse = self.parse_number  # type: ignore[attr-defined]
        trade["amount"], trade["price"] = parse(trade.get("amount")), parse(trade.get("price"))
        trade["cost"], trade["fees"] = parse(trade.get("cost")), []
        return trade

    def safe_ticker(self, ticker: dict[str, Any], market: Any = None) -> dict[str, Any]:
        """Make numbers of the fields that were sent; a price of 0 is none."""
        parse = self.parse_number  # type: ignore[attr-defined]
        made = dict(ticker)
        for name in _PRICES:
            made[name] = parse(ticker.get(name)) or None
        for name in _NUMBERS:
            made[name] = parse(ticker.get(name))
        if made["last"] is None:
            made["last"] = made["close"]
        return made


@cache
def _class_of(exchange_id: str, tap: Any) -> Any:
    base = getattr(ccxt.pro, exchange_id)
    return type(base.__name__, (tap, base), {})


def make_exchange(
    settings: Settings, hooks: Hooks, plain_deltas: bool = False, tap: type[TapExchange] = TapExchange
) -> Any:
    """Return an exchange of CCXT with hooks; `ws_url` and `rest_url` take the place of its own schemes and hosts."""
    made: Any = tap  # A class: mypy takes it for unhashable.
    exchange = _class_of(settings.exchange_id, made)(dict(settings.config))
    exchange.take_up(hooks, plain_deltas)
    exchange.urls["api"] = moved(exchange.urls["api"], settings.ws_url, settings.rest_url)
    return exchange
