"""The exchanges of `bench_ingest`: book frames of OKX and of Coinbase, sent as fast as the client reads."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

#: Levels that a frame changes.
LEVELS = 8
OKX_SYMBOL, OKX_ID = "BTC/USDT", "BTC-USDT"
COINBASE_SYMBOL, COINBASE_ID = "BTC/USD", "BTC-USD"
#: Pause after the snapshot, so that clients have handed it on, and count, before the updates come.
SETTLE_S = 0.3
NOW_MS = int(time.time() * 1000)


def okx_frames(count: int) -> list[str]:
    """A snapshot of 400 levels a side and updates of 8 a side."""

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
    """A snapshot of 2,000 levels a side and updates of 8 changes, each frame with times of its own."""

    def update(side: str, i: int, seed: int, when: str) -> dict[str, str]:
        price = 60_000 + (i + 1) * 0.01 * (1 if side == "offer" else -1)
        size = (seed * 7 + i * 3) % 97 + 0.5
        return {"side": side, "event_time": when, "price_level": f"{price:.2f}", "new_quantity": f"{size:.8f}"}

    def frame(kind: str, levels: int, sequence: int) -> str:
        when = dt.datetime.fromtimestamp((NOW_MS + sequence) / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        updates = [update(side, i, sequence, f"{when}Z") for side in ("bid", "offer") for i in range(levels)]
        event = {"type": kind, "product_id": COINBASE_ID, "updates": updates}
        head = {"channel": "l2_data", "client_id": "", "timestamp": f"{when}789Z"}
        return json.dumps({**head, "sequence_num": sequence, "events": [event]}, separators=(",", ":"))

    return [frame("snapshot", 2000, 0)] + [frame("update", LEVELS // 2, n) for n in range(1, count)]


@contextlib.contextmanager
def market(count: int) -> Iterator[int]:
    """Serve so many frames of each exchange to each connection, in a process of its own; yield the port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(there, count), daemon=True)
    server.start()
    try:
        yield here.recv()
    finally:
        here.send("stop")
        server.join(10)


def _serve(pipe: Connection, count: int) -> None:
    asyncio.run(_until_stopped(pipe, {"okx": okx_frames(count), "coinbase": coinbase_frames(count)}))


async def _until_stopped(pipe: Connection, frames: dict[str, list[str]]) -> None:
    """Speak as much of both exchanges as the clients need."""
    from aiohttp import web

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
        if first != "bare":
            await ws.send_str(json.dumps(_answer(exchange)))
        with contextlib.suppress(ConnectionError):
            for number, frame in enumerate(frames[exchange]):
                await ws.send_str(frame)
                if not number:
                    await asyncio.sleep(SETTLE_S)
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


def _answer(exchange: str) -> dict[str, Any]:
    """Return what an exchange says to a subscription."""
    if exchange == "okx":
        return {"event": "subscribe", "arg": {"channel": "books", "instId": OKX_ID}}
    return {"channel": "subscriptions", "events": [{"subscriptions": {"level2": [COINBASE_ID]}}]}
