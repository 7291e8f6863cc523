"""One client: its session, its feed and its faults, around one lock that keeps frames in the order of their numbers."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable

from aiohttp import WSMsgType, web

from daedalus.sandbox.base import Feed, MarketSource, OutFrame, Session, WireProtocol
from daedalus.sandbox.faults import FAULTS, Fault, FaultPlan
from daedalus.sandbox.link import NORMAL, POLICY, Link
from daedalus.sandbox.stats import FaultRecord, MessageRate
from daedalus.shared.clock import Clock

HEARTBEAT_S = 1.0
#: A playback begins when the client has said nothing for so long: more than lies between two requests of a client that
#: keeps to an exchange's pace (0.33 s for OKX), so that every market of it, and tickers, asked for last, are complete.
QUIET_S = 0.75
#: A playback waits so long at most for what the client is about to fetch over HTTP, then so long for it to take it in.
FETCH_S, FETCH_STEP_S, SETTLE_S = 5.0, 0.01, 0.1


class Connection:
    """Drives one accepted websocket until either side ends it.

    Parameters
    ----------
    websocket
        Accepted.
    link
        Its outgoing side.
    protocol, source
        What to speak, and of which market.
    plan
        The faults to come.
    first_message_s
        Wall seconds within which the client has to say something.
    close_at_end
        Close when the market has ended, instead of staying open.
    """

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        link: Link,
        protocol: WireProtocol,
        source: MarketSource,
        plan: FaultPlan,
        *,
        first_message_s: float,
        close_at_end: bool = False,
    ) -> None:
        self.link = link
        self._websocket, self._protocol, self._source, self._plan = websocket, protocol, source, plan
        self._first_message_s, self._close_at_end = first_message_s, close_at_end
        self._clock: Clock = link.clock
        self._opened = self._began = self._heard = self._clock.monotonic()
        self._lock = asyncio.Lock()
        self._rate = MessageRate()
        self._spoke, self._wants, self._wants_both = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._feed: Feed | None = None
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Serve the client to the end. Losing the connection is an end like any other."""
        try:
            async with self._group:
                self._start(self._deadline())
                if self._protocol.greets(self.link.stats.path):
                    await self._begin()
                await self._read()
                self.link.read_out.set()
                for task in self._tasks:
                    task.cancel()
        except* ConnectionError:
            pass
        finally:
            self.link.read_out.set()
            if self._feed is not None:
                self._feed.close()
            if self.link.session is not None:
                self.link.session.close()

    def _start(self, *works: Coroutine[None, None, None]) -> None:
        self._tasks += [self._group.create_task(work) for work in works]

    async def inject(self, fault: Fault) -> None:
        """Let a fault happen now, whatever its time."""
        if FAULTS[fault.name].is_urgent:
            await self._apply(fault)
        else:
            async with self._lock:
                await self._apply(fault)

    # The client

    async def _deadline(self) -> None:
        await self._clock.sleep(self._first_message_s)
        if not self._spoke.is_set():
            await self.link.close(POLICY, f"no subscribe message within {self._first_message_s:g} s")

    async def _read(self) -> None:
        async for message in self._websocket:
            if message.type is WSMsgType.TEXT:
                await self._receive(message.data)

    async def _receive(self, text: str) -> None:
        self._heard = self._clock.monotonic()
        self._rate.add(self._heard)
        self.link.stats.client_messages += 1
        self.link.stats.client_messages_per_s_max = self._rate.per_s_max
        session = self.link.session or await self._begin()
        async with self._lock:
            await self._send(session.receive(text))
        self._note_wants(session)

    def _note_wants(self, session: Session) -> None:
        if session.kinds:
            self._wants.set()
        if {"book", "trades"} <= session.kinds:
            self._wants_both.set()

    async def _begin(self) -> Session:
        """Begin the session: at the client's first message, or with the connection where the exchange speaks first."""
        self._spoke.set()
        self._began = self._clock.monotonic()
        self._feed = feed = self._source.open()
        self.link.session = session = self._protocol.session(self.link.stats.path, feed.view, feed.time_us)
        for fault in self._plan.due(0.0):
            await self.inject(fault)
        async with self._lock:
            await self._send(session.greet())
        self._note_wants(session)
        self._start(self._pump(feed, session), self._guard(feed), self._pulse(session), self._fail())
        return session

    # The market

    async def _pump(self, feed: Feed, session: Session) -> None:
        if self._source.linger_s > 0:
            await self._linger()
        self.link.stats.market = "running"
        async for batch in feed:
            async with self._lock:
                for update in batch.updates:
                    feed.view.apply(update)
                    await self._send(session.publish(update))
                await self._send(session.advance(batch.time_us))
            if session.fetch != "no":
                await self._stand_still(session)
        if feed.overrun.is_set():
            return
        async with self._lock:
            await self._send(session.finish())
        self.link.stats.market = "ended"
        if self._close_at_end:
            await self.link.close(NORMAL, "the recording has ended")

    async def _stand_still(self, session: Session) -> None:
        """Let a playback wait while the client fetches what it cannot go on without. A live market waits for nobody."""
        if self._source.linger_s > 0:
            until = self._clock.monotonic() + FETCH_S
            while session.fetch == "due" and self._clock.monotonic() < until:
                await self._clock.sleep(FETCH_STEP_S)
            if session.fetch == "done":
                await self._clock.sleep(SETTLE_S)
        session.fetch = "no"

    async def _guard(self, feed: Feed) -> None:
        """Close on a client that is too slow; the pump may be stuck in a frame that it does not read."""
        await feed.overrun.wait()
        await self.link.close(POLICY, "slow consumer: it reads less than the market tells")

    async def _linger(self) -> None:
        """Wait for what the client is about to ask for, then until it has asked for nothing more for a moment."""
        await self._wants.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._source.linger_s):
                await self._wants_both.wait()
        while (left_s := self._heard + QUIET_S - self._clock.monotonic()) > 0:
            await self._clock.sleep(left_s)

    async def _pulse(self, session: Session) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_S)
            async with self._lock:
                await self._send(session.pulse())

    # Out

    async def _send(self, frames: Iterable[OutFrame]) -> None:
        drawn = iter(frames)
        while True:
            # Before the next frame draws its number, since a fault may send numbered frames of its own.
            for fault in self._plan.due_at_frame(self.link.offered + 1):
                await self._apply(fault)
            frame = next(drawn, None)
            if frame is None:
                return
            await self.link.send(frame)

    async def _fail(self) -> None:
        """Let the timed faults happen when they are due."""
        while (next_s := self._plan.next_s) is not None:
            await self._clock.sleep(max(0.0, self._began + next_s - self._clock.monotonic()))
            for fault in self._plan.due(self._clock.monotonic() - self._began):
                await self.inject(fault)

    async def _apply(self, fault: Fault) -> None:
        at_s = round(self._clock.monotonic() - self._opened, 3)
        record = FaultRecord(fault.name, at_s, self.link.offered, f"{fault.value:g}", product=fault.product or "")
        self.link.stats.add_fault(record)
        await FAULTS[fault.name].apply(self.link, fault.value, record)
