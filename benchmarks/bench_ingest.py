"""CPU per frame of recording, beside bare reading, CCXT's handlers and `watch_order_book`, on the same frames.

Frames come over a local websocket from another process, as fast as the client reads; CPU is all that this process
takes. Our figures include reading the socket and end where the driver has the events: the journal comes on top for all
(`bronze`). CCXT is as it ships: its defaults, its JSON parser, its handlers, which run from memory with nothing to read
and nobody waiting for the book. So typed recording is set beside the handler alone and beside handler and read.

The machine may be busy and its speed may change, so everything runs once in each of many short rounds, in another order
each time, and a ratio is that of two figures of one round. Printed are medians, and of ratios the middle half of all
rounds too. BENCH_FRAMES and BENCH_ROUNDS change how many.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from statistics import median, quantiles
from typing import Any

from benchmarks.ingest_market import (
    COINBASE_ID,
    COINBASE_SYMBOL,
    OKX_ID,
    OKX_SYMBOL,
    coinbase_frames,
    market,
    okx_frames,
)

FRAMES = int(os.environ.get("BENCH_FRAMES", "5000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
Figures = dict[str, list[float]]

# -- the clients: each returns CPU seconds a frame ---------------------------------------------------------------------


async def bare(port: int, path: str) -> float:
    """Read and drop."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0, compress=0) as ws,
    ):
        await ws.send_str("bare")
        await ws.receive_str()
        started = time.process_time()
        for _ in range(FRAMES - 1):
            await ws.receive_str()
        return (time.process_time() - started) / (FRAMES - 1)


async def collect(collector: Any) -> float:
    """Run a collector until all frames are handled; time starts with the first events, which are of the snapshot."""
    stream: AsyncIterator[Any] = collector.events()
    counters, began, before = collector.counters, 0.0, 0
    async for events in stream:
        if not before and events:
            began, before = time.process_time(), counters.frames
        if counters.frames >= FRAMES:
            break
    took = time.process_time() - began
    await stream.aclose()  # type: ignore[attr-defined]
    return took / (counters.frames - before)


def ccxt_collector(port: int, record: tuple[str, ...]) -> Any:
    from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector

    local = {"ws_url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}
    return CcxtCollector(
        "okx", channels={"watchOrderBook": [OKX_SYMBOL]}, record=record, orderbook_interval_ms=0, **local
    )


async def through_ccxt(port: int, *record: str) -> float:
    return await collect(ccxt_collector(port, record))


async def native(port: int) -> float:
    from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector

    url, channels = f"ws://127.0.0.1:{port}/coinbase", ("l2", "orderbook")
    return await collect(CoinbaseCollector(symbols=[COINBASE_ID], channels=channels, url=url))


def plain_okx(port: int | None = None) -> Any:
    """CCXT's own OKX, with one market."""
    import ccxt.pro

    exchange = ccxt.pro.okx()
    if port is not None:
        exchange.urls["api"] = {"ws": f"ws://127.0.0.1:{port}/ws/v5", "rest": f"http://127.0.0.1:{port}"}
    exchange.set_markets([market_of(exchange, OKX_SYMBOL, OKX_ID)])
    return exchange


def market_of(exchange: Any, symbol: str, market_id: str) -> Any:
    base, quote = symbol.split("/")
    names = {"id": market_id, "symbol": symbol, "base": base, "quote": quote, "baseId": base, "quoteId": quote}
    return exchange.safe_market_structure({**names, "type": "spot", "spot": True, "active": True, "info": {}})


async def watch_order_book(port: int) -> float:
    """What a user of CCXT does; it returns far less often than frames come."""
    exchange = plain_okx(port)
    before = (await exchange.watch_order_book(OKX_SYMBOL))["nonce"]
    started = time.process_time()
    while (await exchange.watch_order_book(OKX_SYMBOL))["nonce"] < FRAMES - 1:
        pass
    took = time.process_time() - started
    await exchange.close()
    return took / (FRAMES - before)


async def okx_handler(frames: list[str]) -> float:
    exchange = plain_okx()
    client = exchange.client("ws://127.0.0.1:1/ws/v5/public")
    client.subscriptions[f"books:{OKX_SYMBOL}"] = True
    return await _handled(exchange, client, frames)


async def coinbase_handler(frames: list[str]) -> float:
    import ccxt.pro

    exchange = ccxt.pro.coinbase()
    exchange.set_markets([market_of(exchange, COINBASE_SYMBOL, COINBASE_ID)])
    return await _handled(exchange, exchange.client("ws://127.0.0.1:1"), frames)


async def _handled(exchange: Any, client: Any, frames: list[str]) -> float:
    client.handle_text_or_binary_message(frames[0])
    started = time.process_time()
    for frame in frames[1:]:
        client.handle_text_or_binary_message(frame)
    took = time.process_time() - started
    await exchange.close()
    return took / (len(frames) - 1)


# -- the figures -------------------------------------------------------------------------------------------------------


def measure(runs: dict[str, Callable[[], Coroutine[Any, Any, float]]]) -> Figures:
    """CPU per frame, us, of every run in every round."""
    figures: Figures = {name: [] for name in runs}
    names = list(runs)
    for n in range(ROUNDS):
        for name in names[n % len(names) :] + names[: n % len(names)]:
            gc.collect()  # What one leaves behind is not the next one's to clear.
            figures[name].append(asyncio.run(runs[name]()) * 1e6)
    return figures


def of_round(figures: Figures, *names: str) -> list[float]:
    """Return the sum of some figures, round by round."""
    return [sum(values) for values in zip(*(figures[name] for name in names), strict=True)]


def ratio(above: list[float], below: list[float]) -> str:
    """Return the median of a ratio and its middle half."""
    each = [a / b for a, b in zip(above, below, strict=True)]
    low, _, high = quantiles(each, n=4)
    return f"{median(each):.2f} x ({low:.2f} to {high:.2f})"


def main() -> None:
    sizes = {"OKX": okx_frames(1000), "Coinbase": coinbase_frames(1000)}
    words = ", ".join(f"{name} about {sum(map(len, made)) // 1000} bytes" for name, made in sizes.items())
    print(f"{FRAMES:,} book frames each, {ROUNDS} rounds; {words}")
    okx, coinbase = okx_frames(FRAMES), coinbase_frames(FRAMES)
    with market(FRAMES) as port:
        figures = measure(
            {
                "read": lambda: bare(port, "/ws/v5/public"),
                "frames": lambda: through_ccxt(port, "frames"),
                "typed": lambda: through_ccxt(port, "orderbook"),
                "handler": lambda: okx_handler(okx),
                "watch": lambda: watch_order_book(port),
                "read_coinbase": lambda: bare(port, "/coinbase"),
                "native": lambda: native(port),
                "handler_coinbase": lambda: coinbase_handler(coinbase),
            }
        )
    print_figures(figures)


def print_figures(figures: Figures) -> None:
    handler, typed = figures["handler"], figures["typed"]
    ours, theirs = figures["native"], figures["handler_coinbase"]
    with_read = of_round(figures, "handler", "read")
    theirs_with_read = of_round(figures, "handler_coinbase", "read_coinbase")
    lines = [
        ("bare aiohttp read (OKX)", figures["read"], ""),
        ("frames alone", figures["frames"], f"{ratio(figures['frames'], figures['read'])} the bare read (at most 3)"),
        ("CCXT's handler alone", handler, ""),
        ("CCXT's handler and read", with_read, ""),
        ("CCXT's watch_order_book", figures["watch"], ""),
        ("typed through CCXT, each update", typed, f"{ratio(typed, handler)} CCXT's handler alone (at most 1.3)"),
        ("", [], f"{ratio(typed, with_read)} CCXT's handler and read"),
        ("", [], f"{ratio(typed, figures['watch'])} watch_order_book"),
        ("bare aiohttp read (Coinbase)", figures["read_coinbase"], ""),
        ("CCXT's Coinbase handler alone", theirs, ""),
        ("native Coinbase, as by default", ours, f"{ratio(theirs, ours)} that handler's frames/s (at least 3)"),
        ("", [], f"{ratio(theirs_with_read, ours)} those of handler and read"),
    ]
    for name, values, note in lines:
        figure = f"{median(values):8.2f} us/frame" if values else " " * 17
        print(f"{name:32} {figure}   {note}")


if __name__ == "__main__":
    main()
