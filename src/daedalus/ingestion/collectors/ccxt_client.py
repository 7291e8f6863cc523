"""CCXT's client of a websocket, with hooks. Imports CCXT: import this module only where it is needed.

CCXT resolves a future when something changed, and whoever awaits it sees what the cache has become by then: updates in
between are gone. So nothing is taken from what a watch method returns. `TapClient` sees every frame before its handler
does and every book at the moment it is resolved; `ccxt_exchange` sees what handlers store. The futures of the watch
methods are left pending: they subscribe, and cost nothing afterwards.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import WSMsgType
from ccxt.async_support.base.ws.cache import BaseCache
from ccxt.async_support.base.ws.client import Client, json_parser
from ccxt.async_support.base.ws.order_book import OrderBook
from ccxt.base.errors import NetworkError, UnsubscribeError

from daedalus.ingestion.collectors.ccxt_buffer import EventBuffer
from daedalus.ingestion.collectors.ccxt_markets import Call
from daedalus.shared.tasks import end_tasks

#: The watch call on whose behalf code runs: message hashes that it creates belong to it.
CALL: ContextVar[Call | None] = ContextVar("call", default=None)


@dataclass
class Loading:
    """A book that is being made of a snapshot by REST and of the changes that came meanwhile.

    Attributes
    ----------
    is_told
        Whether the hooks have seen it after each change, so that its end is no news.
    came_ns
        Receive clock of the snapshot; None before it is here.
    """

    client: Any
    message_hash: str
    is_told: bool = False
    came_ns: int | None = None


#: What the running task is making.
LOADING: ContextVar[Loading | None] = ContextVar("loading", default=None)

_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class ConnectionOverError(NetworkError):  # type: ignore[misc]
    """A connection has ended; the text says why, for users."""


class Hooks(Protocol):
    """Who is told what happens."""

    max_frame_bytes: int
    has_l2: bool
    is_handling: bool
    buffer: EventBuffer

    def on_client(self, client: "TapClient") -> None:
        """Meet a connection that is about to be made."""

    def on_connected(self, client: "TapClient") -> None:
        """Hear that it is made."""

    def on_frame(self, client: "TapClient", data: str | bytes) -> None:
        """Take a frame. Never raises."""

    def on_sending(self, client: "TapClient", message: Any) -> None:
        """See a message before it is sent."""

    def on_book(self, client: "TapClient", book: Any, message_hash: str) -> None:
        """Take a book that has changed."""

    def on_trade(self, trade: Any) -> None:
        """Take a trade."""

    def on_ticker(self, ticker: Any, kind: str) -> None:
        """Take a ticker."""

    def on_rejected(self, client: "TapClient", call: Call, message_hash: str, error: BaseException) -> None:
        """Hear that a subscription of a call was refused, or that its book cannot go on."""

    def on_complaint(self, client: "TapClient", error: BaseException) -> None:
        """Hear a complaint of the exchange that is not about one subscription."""

    def on_snapshot(self, symbol: str, text: str) -> None:
        """Take the text of a book's snapshot that came by REST."""

    def on_end(self, client: "TapClient", error: BaseException) -> None:
        """Hear that the connection is over."""


class TapClient(Client):  # type: ignore[misc]
    """CCXT's client of one websocket, with hooks in the places that every frame passes.

    Attributes
    ----------
    calls
        The watch call that each message hash belongs to.
    topics
        Names that were subscribed to, where an exchange takes a list of them (`params`).
    renewed
        Message hashes whose next end of a subscription is half of a new beginning.
    check
        Of the venue's numbering; None where there is none.
    heard, heard_ns
        When the last message came: monotonic seconds, and the receive clock.
    """

    hooks: Hooks

    def prepare(self, hooks: Hooks) -> None:
        """Take up the hooks: CCXT made the client as one of its own class."""
        self.hooks = hooks
        self.calls: dict[str, Call] = {}
        self.topics: set[str] = set()
        self.renewed: set[str] = set()
        self.connection_id = ""
        self.check: Any = None
        self.heard, self.heard_ns = 0.0, 0
        self.is_over = False
        self._reader: asyncio.Task[None] | None = None
        hooks.on_client(self)

    def future(self, message_hash: str) -> Any:
        """Remember which call a hash belongs to."""
        call = CALL.get()
        if call is not None and not message_hash.startswith("unsubscribe"):
            self.calls[message_hash] = call
        self.rejections.pop(message_hash, None)
        return super().future(message_hash)

    # -- reading ------------------------------------------------------------------------------------------------------

    def receive_loop(self) -> None:
        """Read in one task, which pauses when there is no room, instead of a task for every frame."""
        self._reader = self.asyncio_loop.create_task(self._read())

    def stop(self) -> None:
        """Read no more."""
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self) -> None:
        CALL.set(None)
        hooks, buffer, connection = self.hooks, self.hooks.buffer, self.connection
        try:
            while True:
                if buffer.is_full:
                    await buffer.room()
                message = await connection.receive()
                if message.type is WSMsgType.TEXT:
                    hooks.on_frame(self, message.data)
                    continue
                if message.type is WSMsgType.BINARY:
                    self.handle_message(message)
                elif message.type in _ENDS:
                    self._over(message)
                    return
                else:
                    self.handle_message(message)
        except Exception as error:
            self.on_error(ConnectionOverError(f"{type(error).__name__}: {error}"))

    def _over(self, message: Any) -> None:
        if self.connection.close_code == 1009 and message.type is WSMsgType.ERROR:
            self.on_error(
                ConnectionOverError(
                    "the exchange sent a frame longer than max_frame_mb allows; raise it if it is a real book"
                )
            )
        elif message.type is WSMsgType.ERROR:
            self.on_error(ConnectionOverError(f"the connection broke: {self.connection.exception()}"))
        else:
            self.on_close(message.data or self.connection.close_code or 1006)

    def handle_text_or_binary_message(self, data: str | bytes) -> None:
        """Let the hooks see a frame first; they hand it on with `handle`."""
        self.hooks.on_frame(self, data)

    def handle(self, data: str | bytes) -> None:
        """Decode a frame and let CCXT's handler have it. Raises whatever the handler raises."""
        if isinstance(data, str) and len(data) > 1 and data[0] == "{":
            self.on_message_callback(self, json_parser.loads(data))  # As CCXT does, without its detours.
        else:
            super().handle_text_or_binary_message(data)

    def create_connection(self, session: Any) -> Any:
        """Connect as CCXT does, but for its fixed bound of a frame, which a full book exceeds."""
        for name, value in (self.options.get("cookies") or {}).items():
            session.cookie_jar.update_cookies({name: value})
        return session.ws_connect(
            self.url,
            autoping=False,
            autoclose=False,
            headers=self.options.get("headers"),
            compress=self.options.get("compress", 15),
            max_msg_size=self.hooks.max_frame_bytes,
            **({"proxy": self.proxy} if self.proxy else {}),
        ).__aenter__()

    async def send(self, message: Any) -> Any:
        """Send, and let the hooks see what."""
        names = message.get("params") if isinstance(message, dict) else None
        if isinstance(names, list):
            self.topics.update(name for name in names if isinstance(name, str))
        self.hooks.on_sending(self, message)
        return await super().send(message)

    # -- what handlers say --------------------------------------------------------------------------------------------

    def resolve(self, result: Any, message_hash: str) -> Any:
        """Take a book as it is now; leave the futures of market data pending."""
        if isinstance(result, OrderBook):
            loading = LOADING.get()
            if loading is not None and loading.is_told:
                return result
            self.hooks.on_book(self, result, message_hash)
            return result
        if isinstance(result, BaseCache) or _is_ticker(result):
            return result
        return super().resolve(result, message_hash)

    def reject(self, result: Any, message_hash: str | None = None) -> Any:
        """Hand an error to the hooks, with the call that it is about where it is about one."""
        if self.is_over or isinstance(result, UnsubscribeError):
            return result
        if message_hash is None:
            self.hooks.on_complaint(self, result)
        elif message_hash in self.calls:
            self.hooks.on_rejected(self, self.calls[message_hash], message_hash, result)
        elif message_hash in self.futures:
            super().reject(result, message_hash)
        else:
            self.hooks.on_complaint(self, result)
        return result

    # -- the end ------------------------------------------------------------------------------------------------------

    def reset(self, error: Any) -> None:
        """CCXT gives the connection up."""
        self._end(error if isinstance(error, BaseException) else ConnectionOverError(str(error)))

    def on_error(self, error: Any) -> None:
        """Tell the hooks: the connection broke, or was never made."""
        self._end(error)
        super().on_error(error)

    def on_close(self, code: Any) -> None:
        """Tell the hooks: the exchange closed the connection."""
        self._end(ConnectionOverError(f"the exchange closed the connection (code {code})"))
        super().on_close(code)

    async def close(self, code: int = 1000) -> None:
        """Close the connection: at the end, or because CCXT gives it up."""
        self._end(self.error or ConnectionOverError("CCXT closed the connection"))
        await super().close(code)

    def _end(self, error: BaseException) -> None:
        if not self.is_over:
            self.is_over = True
            self.hooks.on_end(self, error)


def _is_ticker(result: Any) -> bool:
    """Tell whether a result is a ticker or several."""
    if isinstance(result, list):
        result = result[0] if result else None
    if not isinstance(result, dict):
        return False
    if "bid" in result and "symbol" in result:
        return True
    first = next(iter(result.values()), None)
    return isinstance(first, dict) and "bid" in first and "symbol" in first


def text_of(data: bytes) -> str:
    """Return the text of a binary frame; what is no text is kept byte for byte in Latin 1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


async def close_all(clients: Sequence[TapClient], patience_s: float) -> None:
    """Close connections, orderly where that takes no longer than `patience_s`."""
    closing = [asyncio.create_task(client.close()) for client in clients]
    if closing and patience_s:
        await asyncio.wait(closing, timeout=patience_s)
    for client in clients:
        with suppress(AttributeError):
            client.connection._response.connection.transport.abort()
    if closing:
        await asyncio.wait(closing, timeout=patience_s)
    await end_tasks(closing)


def silent(clients: Sequence[TapClient], now: float, stall_s: float) -> list[TapClient]:
    """Return the connections on which nothing came for so long."""
    return [c for c in clients if c.isConnected and not c.is_over and now - c.heard > stall_s]
