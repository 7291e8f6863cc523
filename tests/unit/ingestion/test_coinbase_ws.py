"""What one read of the socket brings: its frames' events, also those before a frame that ends the connection."""

import json

import pytest
from aiohttp import web

from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.shared.errors import TransientCollectorError
from daedalus.shared.events import Trade


def trades(number):
    trade = {"trade_id": str(number), "product_id": "BTC-USD", "price": "1", "size": "2", "side": "BUY"}
    trade["time"] = "2026-08-24T22:34:13.793075Z"
    event = {"type": "update", "trades": [trade]}
    return {"channel": "market_trades", "sequence_num": number, "events": [event]}


async def test_what_came_before_the_end_is_handed_on():
    told = [*map(trades, range(5)), {"type": "error", "message": "rate limit exceeded"}, trades(5)]

    async def serve(request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.receive_str()
        for message in told:
            await ws.send_str(json.dumps(message))
        await ws.receive()
        return ws

    app, got = web.Application(), []
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        collector = CoinbaseCollector(
            symbols=["BTC-USD"], channels=["trades"], url=f"ws://127.0.0.1:{runner.addresses[0][1]}/"
        )
        with pytest.raises(TransientCollectorError, match="limits this address"):
            async for events in collector.events():
                got.append([event.trade_id for event in events if isinstance(event, Trade)])
    finally:
        await runner.cleanup()
    assert [number for batch in got for number in batch] == ["0", "1", "2", "3", "4"]
    assert len(got) < 5, "they came together"
