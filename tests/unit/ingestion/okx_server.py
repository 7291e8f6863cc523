"""A scripted exchange that speaks just enough of OKX for the real CCXT client; each test says what it sends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.shared.events import Event

Script = Callable[[web.WebSocketResponse, dict[str, str]], Awaitable[None]]
WAIT_S = 30.0


def _instrument(market_id: str) -> dict[str, str]:
    base, quote = market_id.split("-")
    market = {"instType": "SPOT", "instId": market_id, "baseCcy": base, "quoteCcy": quote, "state": "live"}
    return market | {"tickSz": "0.1", "lotSz": "0.00000001", "minSz": "0.00001"}


class OkxServer:
    """Answers the REST calls of `load_markets`, and runs the script for each subscription."""

    def __init__(self, script: Script, markets: Sequence[str] = ("BTC-USDT", "ETH-USDT")) -> None:
        self.asked: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.sockets: list[web.WebSocketResponse] = []
        self._script, self._markets = script, markets
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> dict[str, str]:
        return {"ws_url": f"ws://127.0.0.1:{self.port}", "rest_url": f"http://127.0.0.1:{self.port}"}

    async def rest(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        is_spot = request.query.get("instType") == "SPOT"
        return web.json_response({"code": "0", "data": [_instrument(m) for m in self._markets] if is_spot else []})

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False, max_msg_size=0)
        await ws.prepare(request)
        self.sockets.append(ws)
        async for message in ws:
            if message.data == "ping":
                await ws.send_str("pong")
            elif message.type is WSMsgType.TEXT:
                await self._answer(ws, json.loads(message.data))
        return ws

    async def _answer(self, ws: web.WebSocketResponse, request: dict[str, Any]) -> None:
        self.asked.append(request)
        for arg in request["args"]:
            if arg["instId"] not in self._markets:
                words = f"Wrong URL or channel:{arg['channel']},instId:{arg['instId']} doesn't exist."
                await ws.send_json({"event": "error", "code": "60018", "msg": words})
                continue
            await ws.send_json({"event": request["op"], "arg": arg})
            if request["op"] == "subscribe":
                task = asyncio.create_task(self._script(ws, arg))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["OkxServer"]:
        app = web.Application()
        app.router.add_get("/ws/v5/public", self.websocket)
        app.router.add_get("/{path:.*}", self.rest)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await runner.cleanup()


# -- frames ------------------------------------------------------------------------------------------------------------


def now_ms() -> str:
    return str(int(time.time() * 1000))


def snapshot(market_id: str, sequence: int = 1, levels: int = 25) -> str:
    asks = [[f"{1000 + (i + 1) * 0.1:.1f}", "1.5", "0", "1"] for i in range(levels)]
    bids = [[f"{1000 - (i + 1) * 0.1:.1f}", "1.5", "0", "1"] for i in range(levels)]
    return book(market_id, "snapshot", asks, bids, -1, sequence)


def update(market_id: str, sequence: int, asks: Any = None, bids: Any = (), previous: int | None = None) -> str:
    """An update whose best ask has the sequence number as its size."""
    asks = [["1000.1", f"{sequence}.5", "0", "1"]] if asks is None else asks
    return book(market_id, "update", asks, bids, sequence - 1 if previous is None else previous, sequence)


def book(market_id: str, action: str, asks: Any, bids: Any, previous: int, sequence: int) -> str:
    data = {"asks": list(asks), "bids": list(bids), "ts": now_ms(), "checksum": 0}
    data |= {"prevSeqId": previous, "seqId": sequence}
    return json.dumps({"arg": {"channel": "books", "instId": market_id}, "action": action, "data": [data]})


def trades(market_id: str, ids: Sequence[int], **more: str) -> str:
    one = {"instId": market_id, "px": "1000.1", "sz": "0.25", "side": "buy", "ts": now_ms(), "count": "1", **more}
    data = [{**one, "tradeId": str(i)} for i in ids]
    return json.dumps({"arg": {"channel": "trades", "instId": market_id}, "data": data})


# -- recording ---------------------------------------------------------------------------------------------------------


def collector(server: OkxServer, **settings: Any) -> CcxtCollector:
    given = {"record": ("trades", "orderbook"), "orderbook_interval_ms": 0, **server.addresses}
    return CcxtCollector("okx", **{**given, **settings})


async def record(of: CcxtCollector, is_enough: Callable[[list[Event]], object]) -> list[Event]:
    """Return what a collector yields until it is enough; what it raises is raised."""
    events: list[Event] = []
    stream = of.events()
    try:
        async with asyncio.timeout(WAIT_S):
            async for some in stream:
                events += some
                if is_enough(events):
                    break
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
    return events


def of_kind(events: Sequence[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
