"""A session of CCXT without a network: recorded frames are fed to it as they came, on the clock at which they came.

It is the session that records live, with the same handlers, checks and reactions; only what it sends goes nowhere, and
what it asks for by REST is answered from the frames. Imports CCXT: import this module only where it is needed.
"""

import asyncio
from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any

from ccxt.base.errors import NotSupported

from daedalus.ingestion.collectors.ccxt_client import TapClient
from daedalus.ingestion.collectors.ccxt_exchange import SNAPSHOT_OF, TapExchange
from daedalus.ingestion.collectors.ccxt_losses import BOOK_CHANNELS
from daedalus.ingestion.collectors.ccxt_opening import Opening, parts_of
from daedalus.ingestion.collectors.ccxt_session import Session
from daedalus.ingestion.collectors.ccxt_settings import Carried, Settings
from daedalus.ingestion.collectors.ccxt_venues import venue_of
from daedalus.ingestion.collectors.pace import HostPace, Limits
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.events import Event, Gap

#: Turns of the event loop after each frame, and after those that set tasks going, so that these come to rest.
TURNS, TURNS_LONG = 3, 20
#: Faster than anything is asked for.
UNPACED = Limits(connects_per_s=1e9, messages_per_s=1e9)
#: Requests for one book at a time: CCXT's, of its own, and one for a book that has a hole.
REQUESTS_MAX = 2
#: How often what is due at times is seen to, ns.
TICK_NS = NS_PER_SECOND // 5


class FrameClock:
    """The receive clock of the frame in hand."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        """Return the receive clock, ns."""
        return self._now_ns

    def monotonic(self) -> float:
        """Return the same in seconds."""
        return self._now_ns / NS_PER_SECOND

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved on by so much."""
        woken = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self.monotonic() + seconds, id(woken), woken))
        await woken

    def move(self, now: int) -> None:
        """Move on to the next frame, and wake who slept until then."""
        self._now_ns = now
        self.wake(self.monotonic())

    def wake(self, until: float = inf) -> None:
        """Wake who sleeps until then."""
        while self._sleepers and self._sleepers[0][0] <= until:
            _, _, woken = heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


class OfflineClient(TapClient):
    """A socket that is up when it is asked for, and over which nothing is sent."""

    isConnected: bool  # noqa: N815 (CCXT's spelling)

    def connect(self, session: Any, backoff_delay: float = 0) -> Any:
        """Be connected."""
        if not self.isConnected:
            self.isConnected = True
            self.connected.resolve(self.url)
            self.on_connected_callback(self)
        return self.connected

    async def send(self, message: Any) -> None:
        """Send nothing."""


class OfflineExchange(TapExchange):
    """An exchange of CCXT whose snapshots come from recorded frames; `clock` and `is_renewing` are to be set."""

    client_class = OfflineClient
    clock: FrameClock
    is_renewing = False

    def take_up(self, hooks: Any, plain_deltas: bool) -> None:
        """Take up the hooks; nothing needs to be paced."""
        super().take_up(hooks, plain_deltas)
        self.enableRateLimit = False
        self.waiting: dict[str, list[asyncio.Future[str]]] = {}

    def open(self, *_: Any) -> None:
        """Open no session."""
        self.asyncio_loop = asyncio.get_running_loop()

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Wait for the snapshot among the frames, and treat it as CCXT treats an answer."""
        symbol, exchange = SNAPSHOT_OF.get(), self
        if symbol is None:
            raise NotSupported(f"it needs the answer to {method} {url}, which is not among the frames")
        text = exchange.on_rest_response(200, "OK", url, method, {}, await self._answer(symbol), {}, body)
        parsed = exchange.parse_json(text)  # type: ignore[attr-defined]
        exchange.handle_errors(200, "OK", url, method, {}, text, parsed, {}, body)  # type: ignore[attr-defined]
        return parsed if parsed is not None else text

    async def _answer(self, symbol: str) -> str:
        """Wait for the next answer; who has waited longest has it first, and may have been refused it."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting = self.waiting.setdefault(symbol, [])
        while len(waiting) >= REQUESTS_MAX:
            waiting.pop(0).cancel()
        waiting.append(answer)
        return await answer

    def clean_unsubscription(self, client: Any, sub_hash: Any, unsub_hash: Any, *args: Any, **kwargs: Any) -> None:
        """Forget a subscription, unless the session only ever ended one to begin it anew."""
        if not self.is_renewing:
            super().clean_unsubscription(client, sub_hash, unsub_hash, *args, **kwargs)

    def answer(self, symbol: str, text: str) -> None:
        """Answer who waits for a book's snapshot."""
        waiting = self.waiting.get(symbol, [])
        while waiting:
            answer = waiting.pop(0)
            if not answer.done():
                answer.set_result(text)
                return

    def fail(self, symbol: str) -> None:
        """Let who waits for a book's snapshot wait no longer."""
        for answer in self.waiting.pop(symbol, ()):
            answer.cancel()


class FramePlayer:
    """Plays one recorded session. Everything but the constructor needs the same running event loop.

    Parameters
    ----------
    settings
        What to make of the frames; its channels are not looked at.
    carried
        What is known from earlier sessions.
    opening
        What the session watched.
    """

    def __init__(self, settings: Settings, carried: Carried, opening: Opening) -> None:
        self._clock, self._opening = FrameClock(), opening
        self.session = Session(settings, carried, self._clock, HostPace(UNPACED, self._clock), OfflineExchange)
        self.session.exchange.clock, self.session.exchange.is_renewing = self._clock, self._is_renewing()
        self._carried, self._ticked_ns = carried, 0
        self._asking: set[asyncio.Task[None]] = set()
        self.session.asking.is_missing = lambda channel, symbol: True  # It was, when the session asked.

    def _is_renewing(self) -> bool:
        """Tell whether the session never ended a subscription but to begin it anew."""
        return venue_of(self._opening.exchange_id).resubscribe is not None

    async def begin(self, now: int) -> None:
        """Subscribe, as the session did at its start (ns)."""
        self._clock.move(now)
        self.session.exchange.set_markets(list(self._opening.markets.values()))
        self.session.begin(self._opening)
        await _turn(TURNS_LONG)

    async def feed(self, connection_id: str, text: str, now: int) -> Sequence[Event]:
        """Return the events of a frame that came at `now` (ns)."""
        await self._move(now)
        session, parts = self.session, parts_of(connection_id)
        if parts.socket is not None and parts.socket < len(session.clients):
            session.on_frame(session.clients[parts.socket], text)
            await _turn(TURNS)
        elif parts.snapshot:
            await _turn(TURNS_LONG)
            session.exchange.answer(parts.snapshot, text)
            await _turn(TURNS_LONG)
        elif parts.again:
            self._ask(parts.again)
            await _turn(TURNS_LONG)
        return self._events()

    def _ask(self, symbol: str) -> None:
        """Ask for a book, as the session did: what comes before the answer is kept for it."""
        task = asyncio.create_task(self.session.asking.ask("orderbook", [symbol]))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def lose(self, row: Gap) -> Sequence[Event]:
        """Open the gap of a row of the ledger that no frame tells of, and return it unless it is open already."""
        await self._move(row.collected_at)
        stream, detail, session = (row.symbol, row.channel), row.detail or "", self.session
        if row.channel in BOOK_CHANNELS:
            session.react.broken(row.symbol, row.reason, detail, row.missed, row.started_at)
            if row.reason == "disconnect":
                session.exchange.fail(row.symbol)
            await _turn(TURNS_LONG)
            return self._events()
        opened = self._carried.gaps.open(
            [stream],
            since=row.started_at,
            now=row.collected_at,
            reason=row.reason,
            missed=row.missed,
            detail=detail,
        )
        return [*self._events(), *opened]

    def until(self, now: int) -> Sequence[Event]:
        """Return what was published between the last frame and `now` (ns), when the session ended."""
        self.session.tap.publish(now)
        self.session.tap.finish()
        return self._events()

    async def close(self) -> None:
        """End it."""
        for symbol in list(self.session.exchange.waiting):
            self.session.exchange.fail(symbol)
        await self.session.close()
        self._clock.wake()
        await _turn(TURNS_LONG)

    async def _move(self, now: int) -> None:
        """Move the clock; see now and then to what is due."""
        self._clock.move(now)
        if now - self._ticked_ns >= TICK_NS:
            self._ticked_ns = now
            self.session.tick()
            await _turn(TURNS)

    def _events(self) -> Sequence[Event]:
        buffer = self.session.buffer
        events = buffer.take(len(buffer))
        buffer.release()
        return events


async def _turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)
