"""Faults of one symbol and of one connection, as the real ccxt client meets them, where the sandbox answers REST."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ccxt.pro
import pytest

from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from tests.unit.sandbox.ccxt_client import ccxt_client, within

PROTOCOLS = ("binance", "kraken", "okx")
SYMBOLS = ("BTC/USD", "SOL/USD")


def sandbox(protocol: str, fault: str) -> SandboxServer:
    source = SyntheticSource([symbol.replace("/", "-") for symbol in SYMBOLS], seed=1, speed=20.0)
    return SandboxServer(protocol, source, faults=[fault])


async def books(exchange: Any, symbol: str, updates: int) -> None:
    for _ in range(updates):
        await within(exchange.watch_order_book(symbol))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (the statistics have no event)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_one_symbol_falls_silent_and_the_other_goes_on(protocol: str) -> None:
    async with sandbox(protocol, "silence@1/SOL-USD") as server, ccxt_client(protocol, server) as exchange:
        await asyncio.gather(*(books(exchange, symbol, 1) for symbol in SYMBOLS))
        await within(until(lambda: any(c.dropped.frames > 5 for c in server.stats().connections)))
        silent = asyncio.create_task(exchange.watch_order_book(SYMBOLS[1]))
        await books(exchange, SYMBOLS[0], 20)
        assert not silent.done()
        silent.cancel()
        with suppress(asyncio.CancelledError):
            await silent
        assert {f.product for c in server.stats().connections for f in c.faults} == {"SOL-USD"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_first_connection_is_cut_and_the_next_is_not(protocol: str) -> None:
    async with sandbox(protocol, "disconnect@50fx1") as server, ccxt_client(protocol, server) as exchange:
        while len(server.stats().connections) < 2:
            with suppress(ccxt.NetworkError):  # only a watch that waits at that moment is told
                await books(exchange, SYMBOLS[0], 1)
        await books(exchange, SYMBOLS[0], 60)
        first, second = server.stats().connections
        assert [f.name for f in first.faults] == ["disconnect"]
        assert second.faults == []
