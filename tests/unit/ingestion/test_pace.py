"""Paces: no second ever sees more than a host allows, whoever asks; backoff grows, is capped and never ends."""

import asyncio
import random

import pytest

from daedalus.ingestion.collectors.pace import CAREFUL, Backoff, HostPace, HostPaces, Limits, TokenBucket
from daedalus.shared.clock import SystemClock
from daedalus.testing.clock import FakeClock


def test_backoff_doubles_to_the_cap_with_jitter_and_starts_over():
    backoff = Backoff(1.0, 60.0, random.Random(4))
    delays = [backoff.next() for _ in range(2000)]
    for tries, delay in enumerate(delays):
        whole = min(60.0, 2.0 ** min(tries, 32))
        assert whole / 2 <= delay <= whole
    assert len(set(delays)) > 1900
    backoff.reset()
    assert backoff.next() <= 1.0


class VirtualClock:
    """Sleeping tasks wake in the order of their times, without waiting."""

    def __init__(self):
        self.now, self.sleepers = 0.0, []

    def monotonic(self):
        return self.now

    def now_ns(self):
        return int(self.now * 1e9)

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, len(self.sleepers), woken))
        await woken

    async def run(self, tasks):
        while not all(task.done() for task in tasks):
            for _ in range(10):
                await asyncio.sleep(0)
            if waiting := [s for s in self.sleepers if not s[2].done()]:
                at, _, woken = min(waiting)
                self.now = max(self.now, at)
                woken.set_result(None)


def busiest_second(times):
    return max(sum(1 for other in times if time <= other < time + 1.0) for time in times)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 20])
async def test_no_second_sees_more_than_the_limit(limit):
    clock, times = VirtualClock(), []
    pace = HostPace(Limits(limit, limit), clock)

    async def take():
        await pace.messages.take()
        times.append(clock.now)

    await clock.run([asyncio.create_task(take()) for _ in range(100)])
    assert busiest_second(times) <= limit
    assert times[-1] <= 100 / (limit / 2) + 1, "half of the limit is used at least"


async def test_tasks_are_served_in_order():
    clock, order = VirtualClock(), []
    bucket = TokenBucket(4, 1, clock)

    async def take(number):
        await bucket.take()
        order.append(number)

    await clock.run([asyncio.create_task(take(n)) for n in range(20)])
    assert order == list(range(20))


async def test_a_hold_stops_those_who_wait_too_and_they_come_back_at_the_pace():
    clock, times = VirtualClock(), []
    bucket = TokenBucket(2, 1, clock)

    async def take():
        await bucket.take()
        times.append(clock.now)

    async def ban():
        await clock.sleep(1.1)
        bucket.hold(60.0)
        bucket.hold(5.0)

    await clock.run([asyncio.create_task(take()) for _ in range(6)] + [asyncio.create_task(ban())])
    assert times[:3] == [0.0, 0.5, 1.0] and times[3] >= 61.1
    assert busiest_second(times) <= 3 and times == sorted(times)


async def test_a_pause_does_not_save_up_more_than_the_burst():
    clock = FakeClock()
    bucket = TokenBucket(1, 2, clock)
    clock.advance(3600)
    started = clock.monotonic()
    for _ in range(5):
        await bucket.take()
    assert clock.monotonic() - started == pytest.approx(3)


def test_one_pace_a_host():
    paces = HostPaces(SystemClock())
    one = paces.of("wss://advanced-trade-ws.coinbase.com", Limits(8, 8))
    assert paces.of("wss://ADVANCED-trade-ws.coinbase.com:443/other", Limits(1, 1)) is one
    assert one.limits == Limits(8, 8)
    assert paces.of("wss://ws.kraken.com/v2").limits == CAREFUL
    assert paces.of("ws://127.0.0.1:1") is not paces.of("ws://127.0.0.1:2")


async def test_a_socket_has_a_throttle_of_its_own_within_the_same_limits():
    clock, times = VirtualClock(), []
    pace = HostPace(Limits(connects_per_s=8, messages_per_s=8), clock)
    throttles = [pace.throttle(), pace.throttle()]

    async def send(throttle):
        await throttle(1)
        times.append(clock.now)

    await clock.run([asyncio.create_task(send(throttles[0])) for _ in range(40)])
    assert busiest_second(times) <= 8
    late = clock.now
    await clock.run([asyncio.create_task(send(throttles[1]))])
    assert clock.now == late, "another socket's messages are held by the host's pace, not by this"
