"""The real ccxt client against the sandbox, in this process: it talks, and keeps every message."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import ccxt.pro

from daedalus.sandbox.server import SandboxServer

WAIT_S = 60.0


@asynccontextmanager
async def ccxt_client(name: str, server: SandboxServer, **options: Any) -> AsyncIterator[Any]:
    """Yield an exchange of ccxt that knows the sandbox's markets; `messages` are all that came, in order."""

    class Tapped(getattr(ccxt.pro, name)):  # type: ignore[misc]
        def handle_message(self, client: Any, message: Any) -> None:
            self.messages.append(message)
            super().handle_message(client, message)

    exchange = Tapped({"enableRateLimit": False, "options": options})
    exchange.messages = []
    exchange.urls["api"] = exchange.deep_extend(exchange.urls["api"], server.protocol.ccxt_urls(server.url))
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


async def within(awaitable: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(awaitable, WAIT_S)


async def all_kinds(exchange: Any, symbol: str) -> tuple[Any, Any, Any, Any]:
    """Watch trades, book, ticker and best quotes of a symbol once, all at the same time."""
    return await within(
        asyncio.gather(
            exchange.watch_trades(symbol),
            exchange.watch_order_book(symbol),
            exchange.watch_ticker(symbol),
            exchange.watch_bids_asks([symbol]),
        )
    )


async def watch_to_the_end(server: SandboxServer, *watches: Callable[[], Awaitable[Any]]) -> None:
    """Watch again and again until every connection's recording has ended and all of it has been taken in."""

    async def again(watch: Callable[[], Awaitable[Any]]) -> None:
        with suppress(ccxt.NetworkError):  # the end
            while True:
                await watch()

    tasks = [asyncio.create_task(again(watch)) for watch in watches]
    await within(asyncio.gather(*tasks))
    assert {c.market for c in server.stats().connections} == {"ended"}
