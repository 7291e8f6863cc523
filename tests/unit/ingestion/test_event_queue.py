"""The queue between collectors and writer: bounded, ordered, honest about what it drops."""

import asyncio

from daedalus.ingestion.orchestrators.event_queue import EventQueue
from daedalus.shared.clock import SystemClock
from daedalus.shared.events import Gap, Trade
from daedalus.testing.events import seeded_events


def make(maxsize=10, max_bytes=1 << 20, put_timeout_s=0.05):
    return EventQueue(maxsize=maxsize, max_bytes=max_bytes, put_timeout_s=put_timeout_s, clock=SystemClock())


def trade(number, symbol="A"):
    return Trade(collected_at=number, exchange="x", symbol=symbol, trade_id=str(number))


async def test_order_is_kept():
    queue, events = make(maxsize=1000), list(seeded_events(100))
    await queue.put(events[:60])
    await queue.put(events[60:])
    got = []
    while batch := await queue.get(7, 0.01):
        got += batch
    assert got == events and queue.nbytes == 0


async def test_a_full_queue_makes_the_producer_wait():
    queue = make(put_timeout_s=5)
    await queue.put([trade(n) for n in range(10)])
    waiting = asyncio.create_task(queue.put([trade(10)]))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await queue.get(1, 1)
    assert await waiting == set() and len(queue) == 10


async def test_what_cannot_wait_is_dropped_counted_and_entered():
    queue = make()
    await queue.put([trade(n) for n in range(10)])
    assert await queue.put([trade(10), trade(11, "B"), trade(12)]) == {"A", "B"}
    gap = Gap(collected_at=13, exchange="x", symbol="A", channel="trades", started_at=1, ended_at=2, reason="stall")
    await queue.put([gap, trade(13)])
    got = []
    while batch := await queue.get(100, 0.01):
        got += batch
    assert got[:10] == [trade(n) for n in range(10)] and got[10] == gap
    lost = {g.symbol: (g.missed, g.started_at, g.ended_at, g.reason, g.channel) for g in got[11:]}
    assert lost == {"A": (3, 9, 13, "backpressure", "trades"), "B": (1, 10, 11, "backpressure", "trades")}
    assert queue.dropped == 4


async def test_bytes_bound_it_too_but_one_frame_always_fits():
    queue = make(maxsize=100, max_bytes=1000)
    assert await queue.put([trade(n) for n in range(5)]) == set()
    assert await queue.put([trade(5)]) == {"A"}
