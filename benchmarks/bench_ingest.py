"""CPU per frame of recording, beside bare reading, CCXT's handlers and `watch_order_book`, on the same frames.

Frames come over a local websocket from another process, as fast as the client reads; CPU is this thread's alone. Our
figures include reading the socket and end where the driver has the events: the journal comes on top for all (`bronze`).
CCXT's handlers are measured from memory, so the read is added to them where it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any

FRAMES = int(os.environ.get("BENCH_FRAMES", "20000"))
LEVELS, ROUNDS = 8, 5
OKX_SYMBOL, OKX_ID = "BTC/USDT", "BTC-USDT"
COINBASE_SYMBOL, COINBASE_ID = "BTC/USD", "BTC-USD"
NOW_MS = int(time.time() * 1000)

# -- what the server sends ---------------------------------------------------------------------------------------------


def okx_frames(count: int) -> list[str]:
    """A snapshot of 400 levels a side and updates of 8."""

    def sides(levels: int, seed: int) -> tuple[list[Any], list[Any]]:
        sizes = [f"{(seed * 7 + i * 3) % 97 + 0.5:.8f}" for i in range(levels)]
        asks = [[f"{60_000 + (i + 1) * 0.1:.1f}", sizes[i], "0", "3"] for i in range(levels)]
        bids = [[f"{60_000 - (i + 1) * 0.1:.1f}", sizes[i], "0", "2"] for i in range(levels)]
        return asks, bids

    def frame(action: str, levels: int, previous: int, sequence: int) -> str:
        asks, bids = sides(levels, sequence)
        book = {"asks": asks, "bids": bids, "ts": str(NOW_MS + sequence), "checksum": 0}
        book |= {"prevSeqId": previous, "seqId": sequence}
        arg = {"channel": "books", "instId": OKX_ID}
        return json.dumps({"arg": arg, "action": action, "data": [book]}, separators=(",", ":"))

    return [frame("snapshot", 400, -1, 1)] + [frame("update", LEVELS, n, n + 1) for n in range(1, count)]


def coinbase_frames(count: int) -> list[str]:
    """A snapshot of 2,000 levels a side and updates of 8 changes."""

    def update(side: str, i: int, seed: int) -> dict[str, str]:
        price = 60_000 + (i + 1) * 0.01 * (1 if side == "offer" else -1)
        size = (seed * 7 + i * 3) % 97 + 0.5
        when = "2026-08-12T19:27:48.123456Z"
        return {"side": side, "event_time": when, "price_level": f"{price:.2f}", "new_quantity": f"{size:.8f}"}

    def frame(kind: str, levels: int, sequence: int) -> str:
        updates = [update(side, i, sequence) for side in ("bid", "offer") for i in range(levels)]
        event = {"type": kind, "product_id": COINBASE_ID, "updates": updates}
        head = {"channel": "l2_data", "client_id": "", "timestamp": "2026-08-12T19:27:48.123456789Z"}
        return json.dumps({**head, "sequence_num": sequence, "events": [event]}, separators=(",", ":"))

    return [frame("snapshot", 2000, 0)] + [frame("update", LEVELS // 2, n) for n in range(1, count)]


def serve(pipe: Connection) -> None:
    """Speak as much of both exchanges as the clients need, in a process of its own."""
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    from aiohttp import web

    frames = {"okx": okx_frames(FRAMES), "coinbase": coinbase_frames(FRAMES)}
    okx_market = {"instType": "SPOT", "instId": OKX_ID, "baseCcy": "BTC", "quoteCcy": "USDT", "state": "live"}
    okx_market |= {"tickSz": "0.1", "lotSz": "0.00000001", "minSz": "0.00001"}
    answers = {"SPOT": {"code": "0", "data": [okx_market]}}

    async def rest(request: web.Request) -> web.Response:
        return web.json_response(answers.get(request.query.get("instType", ""), {"code": "0", "data": []}))

    async def websocket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False, max_msg_size=0)
        await ws.prepare(request)
        first = await ws.receive_str()
        exchange = "okx" if request.path.startswith("/ws/v5") else "coinbase"
        if exchange == "okx" and first != "bare":
            arg = {"channel": "books", "instId": OKX_ID}
            await ws.send_str(json.dumps({"event": "subscribe", "arg": arg}))
        elif first != "bare":
            answer = {"channel": "subscriptions", "events": [{"subscriptions": {"level2": [COINBASE_ID]}}]}
            await ws.send_str(json.dumps(answer))
        with contextlib.suppress(ConnectionError):
            for frame in frames[exchange]:
                await ws.send_str(frame)
            async for _ in ws:
                pass
        return ws

    app = web.Application()
    app.router.add_get("/ws/v5/public", websocket)
    app.router.add_get("/coinbase", websocket)
    app.router.add_get("/{path:.*}", rest)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pipe.send(runner.addresses[0][1])
    await asyncio.to_thread(pipe.recv)
    await runner.cleanup()


# -- the clients -------------------------------------------------------------------------------------------------------


async def bare(port: int, path: str) -> float:
    """Read and drop."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0, compress=0) as ws,
    ):
        await ws.send_str("bare")
        await ws.receive_str()
        started = time.thread_time()
        for _ in range(FRAMES - 1):
            await ws.receive_str()
        return time.thread_time() - started


async def collect(collector: Any, enough: Callable[[Any], bool], count: int) -> float:
    """Run a collector until so many events have come; time starts with the first."""
    seen, started = 0, None
    stream: AsyncIterator[Any] = collector.events()
    async for events in stream:
        seen += sum(1 for event in events if enough(event))
        if started is None and seen:
            started = time.thread_time()
            skipped = seen
        if seen >= count:
            break
    took = time.thread_time() - (started or 0.0)
    await stream.aclose()  # type: ignore[attr-defined]
    return took * FRAMES / max(1, seen - skipped)


def ccxt_collector(port: int, record: tuple[str, ...]) -> Any:
    from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector

    local = {"ws_url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}
    return CcxtCollector(
        "okx", channels={"watchOrderBook": [OKX_SYMBOL]}, record=record, orderbook_interval_ms=0, **local
    )


async def frames_only(port: int) -> float:
    return await collect(ccxt_collector(port, ("frames",)), lambda e: e.frame.startswith('{"arg'), FRAMES)


async def typed(port: int) -> float:
    return await collect(ccxt_collector(port, ("orderbook",)), lambda e: True, FRAMES)


async def native(port: int) -> float:
    from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
    from daedalus.shared.events import BookDelta

    collector = CoinbaseCollector(
        symbols=[COINBASE_ID],
        channels=("l2", "orderbook"),
        url=f"ws://127.0.0.1:{port}/coinbase",
    )
    return await collect(collector, lambda e: isinstance(e, BookDelta), FRAMES)


def plain_okx(port: int | None = None) -> Any:
    """CCXT's own OKX, with one market."""
    import ccxt.pro

    exchange = ccxt.pro.okx()
    if port is not None:
        exchange.urls["api"] = {"ws": f"ws://127.0.0.1:{port}/ws/v5", "rest": f"http://127.0.0.1:{port}"}
    exchange.set_markets([market(exchange, OKX_SYMBOL, OKX_ID)])
    return exchange


def market(exchange: Any, symbol: str, market_id: str) -> Any:
    base, quote = symbol.split("/")
    names = {"id": market_id, "symbol": symbol, "base": base, "quote": quote, "baseId": base, "quoteId": quote}
    return exchange.safe_market_structure({**names, "type": "spot", "spot": True, "active": True, "info": {}})


async def watch_order_book(port: int) -> float:
    """What a user of CCXT does; it returns far less often than frames come."""
    exchange = plain_okx(port)
    await exchange.watch_order_book(OKX_SYMBOL)
    started = time.thread_time()
    while True:
        book = await exchange.watch_order_book(OKX_SYMBOL)
        if book["nonce"] >= FRAMES - 1:
            break
    took = time.thread_time() - started
    await exchange.close()
    return took


async def okx_handler(port: int) -> float:
    """CCXT's decoding and handler, from memory, with nobody waiting for the book."""
    exchange = plain_okx()
    client = exchange.client("ws://127.0.0.1:1/ws/v5/public")
    client.subscriptions[f"books:{OKX_SYMBOL}"] = True
    return await _handled(exchange, client, okx_frames(FRAMES))


async def coinbase_handler(port: int) -> float:
    import ccxt.pro

    exchange = ccxt.pro.coinbase()
    exchange.set_markets([market(exchange, COINBASE_SYMBOL, COINBASE_ID)])
    return await _handled(exchange, exchange.client("ws://127.0.0.1:1"), coinbase_frames(FRAMES))


async def _handled(exchange: Any, client: Any, frames: list[str]) -> float:
    client.handle_text_or_binary_message(frames[0])
    started = time.thread_time()
    for frame in frames[1:]:
        client.handle_text_or_binary_message(frame)
    took = time.thread_time() - started
    await exchange.close()
    return took


# -- the figures -------------------------------------------------------------------------------------------------------


def best(*runs: Callable[[], Coroutine[Any, Any, float]], times: int = ROUNDS) -> list[float]:
    """CPU per frame, us: the best of several rounds, in each of which every one runs once.

    What else the machine does then meets all of them alike.
    """
    rounds = [[asyncio.run(run()) / FRAMES * 1e6 for run in runs] for _ in range(times)]
    return [min(figures) for figures in zip(*rounds, strict=True)]


def main() -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,), daemon=True)
    server.start()
    port = here.recv()
    try:
        _measure(port)
    finally:
        here.send("stop")
        server.join(10)


def _measure(port: int) -> None:
    sizes = {
        name: sum(map(len, make(1000))) // 1000 for name, make in (("okx", okx_frames), ("coinbase", coinbase_frames))
    }
    print(f"{FRAMES:,} book frames each; OKX about {sizes['okx']} bytes, Coinbase about {sizes['coinbase']} bytes")
    read, raw, rows, handler, watched = best(
        lambda: bare(port, "/ws/v5/public"),
        lambda: frames_only(port),
        lambda: typed(port),
        lambda: okx_handler(port),
        lambda: watch_order_book(port),
    )
    read_coinbase, ours, theirs = best(
        lambda: bare(port, "/coinbase"), lambda: native(port), lambda: coinbase_handler(port)
    )
    lines = [
        ("bare aiohttp read (OKX)", read, ""),
        ("frames alone", raw, f"{raw / read:.2f} x the bare read (at most 3)"),
        (
            "typed through CCXT, each update",
            rows,
            f"{rows / (handler + read):.2f} x CCXT's handler and the read (at most 1.3)",
        ),
        ("CCXT's handler alone", handler, f"typed recording, reading included, is {rows / handler:.2f} x this"),
        ("CCXT's watch_order_book", watched, ""),
        ("bare aiohttp read (Coinbase)", read_coinbase, ""),
        ("native Coinbase, as it is by default", ours, f"{1e6 / ours:,.0f} frames/s"),
        ("CCXT's Coinbase handler alone", theirs, f"native does {theirs / ours:.2f} x its frames/s (at least 3)"),
        ("CCXT's Coinbase handler and read", theirs + read_coinbase, f"{(theirs + read_coinbase) / ours:.2f} x"),
    ]
    for name, figure, note in lines:
        print(f"{name:36} {figure:8.2f} us/frame   {note}")


if __name__ == "__main__":
    main()
