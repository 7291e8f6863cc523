"""Subscribing through CCXT's watch methods: at a pace, with refusals named.

Imports CCXT: import this module only where it is needed.
"""

import asyncio
from collections.abc import Callable, Sequence, Set
from typing import Any

import structlog

from daedalus.ingestion.collectors.base import Stream, TokenBucket
from daedalus.ingestion.collectors.ccxt_client import CALL, TapClient
from daedalus.ingestion.collectors.ccxt_errors import FINAL, Redactor, is_transient
from daedalus.ingestion.collectors.ccxt_markets import Call
from daedalus.ingestion.collectors.ccxt_settings import Carried, Settings
from daedalus.ingestion.collectors.ccxt_venues import Venue
from daedalus.shared.clock import Clock
from daedalus.shared.errors import RefusedError
from daedalus.shared.tasks import end_tasks

log = structlog.get_logger(__name__)

#: First and longest wait before a watch method is called again that failed.
RETRY_S, RETRY_MAX_S = 1.0, 60.0
#: How often a subscription that the exchange refuses, for no reason that is final, is tried.
TRIES_MAX = 3
#: So long after it was asked for, a subscription is believed to work.
SETTLE_S = 5.0
#: How long a stream may take to say something before this is logged.
SILENT_S = 60.0


class Subscriptions:
    """The watch calls of one connection.

    Parameters
    ----------
    exchange
        CCXT's.
    clients
        The connections, as they come to be.
    on_error
        Takes errors that end the connection; returns whether this was one.
    on_refused
        Called with the error to end with when nothing is left to watch.
    on_left_out
        Called with what the exchange does not take.
    """

    def __init__(
        self,
        *,
        exchange: Any,
        clients: Sequence[TapClient],
        settings: Settings,
        carried: Carried,
        venue: Venue,
        pace: TokenBucket,
        clock: Clock,
        redact: Redactor,
        on_error: Callable[[BaseException], bool],
        on_refused: Callable[[RefusedError], None],
        on_left_out: Callable[[Stream], None],
    ) -> None:
        self._exchange, self._clients, self._venue = exchange, clients, venue
        self._settings, self._carried, self._redact = settings, carried, redact
        self._pace, self._clock = pace, clock
        self._on_error, self._on_refused, self._on_left_out = on_error, on_refused, on_left_out
        self._depth: int | None = None
        self._started_at: dict[Call, float] = {}
        self._wanted: set[tuple[str, str]] = set()
        self._tasks: dict[Call, asyncio.Task[None]] = {}
        self._split: set[Call] = set()
        self._waiting: set[Call] = set()
        self._starting: list[asyncio.Task[None]] = []
        self._silent_at: float | None = None

    async def run(self, calls: Sequence[Call], depth: int | None) -> None:
        """Make the calls one after the other; books are subscribed to this depth, None is CCXT's own."""
        self._depth = depth
        self._wanted = {(symbol, call.channel) for call in calls for symbol in call.symbols}
        await self._start_all(calls)
        self._silent_at = self._clock.monotonic() + SILENT_S

    def calls(self) -> list[Call]:
        """Return the calls that are being made."""
        return list(self._tasks)

    def settled(self) -> set[Stream]:
        """Return what was subscribed to so long ago that it comes, if there is anything to tell."""
        since = self._clock.monotonic() - SETTLE_S
        return {(s, call.channel) for call, at in self._started_at.items() if at < since for s in call.symbols}

    def tick(self, live: Set[Stream]) -> None:
        """Name what was subscribed to and has not said anything: quiet markets, or names that mean nothing there."""
        if self._silent_at is None or self._clock.monotonic() < self._silent_at:
            return
        self._silent_at = None
        silent = sorted(self._wanted - live - self._carried.refused)
        if silent:
            log.warning("streams_silent", exchange=self._settings.exchange, after_s=SILENT_S, streams=silent)

    async def _start_all(self, calls: Sequence[Call]) -> None:
        for call in calls:
            await self._pace.take()
            self.start(call)

    def start(self, call: Call) -> None:
        """Make a call, in the place of an earlier one of its kind."""
        before = self._tasks.pop(call, None)
        if before is not None:
            before.cancel()
        self._started_at[call] = self._clock.monotonic()
        self._tasks[call] = asyncio.create_task(self._watch(call), name=f"watch-{self._settings.exchange}")

    async def close(self) -> None:
        """Cancel the calls."""
        await end_tasks([*self._starting, *self._tasks.values()])

    async def _watch(self, call: Call) -> None:
        """Call a watch method. Its future stays pending, unless it is about something that is not tapped."""
        CALL.set(call)
        tries = 0
        while True:
            try:
                await self._call(call)
                await asyncio.sleep(0)
                tries = 0
                continue
            except Exception as error:
                if self._on_error(error):
                    return
                tries += 1
                if isinstance(error, FINAL) or (not is_transient(error) and tries >= TRIES_MAX):
                    self.refuse(call, "", error)
                    return
                said = self._redact.text(error)
                log.warning("watch_failed", exchange=self._settings.exchange, method=call.method, error=said)
            await self._clock.sleep(min(RETRY_MAX_S, RETRY_S * 2.0 ** min(tries - 1, 10)))

    def _call(self, call: Call) -> Any:
        what = list(call.symbols) if call.is_bulk else call.symbols[0]
        limit = (self._depth,) if call.channel == "orderbook" and self._depth else ()
        return getattr(self._exchange, call.function)(what, *limit)

    # -- refusals -----------------------------------------------------------------------------------------------------

    def refuse(self, call: Call, symbol: str, error: BaseException) -> None:
        """Find out which symbols of a call that the exchange does not take are to blame, and leave those out."""
        if is_transient(error):
            self._starting.append(asyncio.create_task(self._again(call)))
        elif len(call.symbols) > 1:
            if call not in self._split:
                self._split.add(call)
                self._forget(call)
                alone = [one for one in call.alone() if (one.symbols[0], one.channel) not in self._carried.refused]
                self._starting.append(asyncio.create_task(self._start_all(alone)))
        else:
            self.leave_out(symbol or call.symbols[0], call.channel, error)

    async def _again(self, call: Call) -> None:
        """Subscribe again in a while: the exchange could not, but may."""
        if call not in self._waiting:
            self._waiting.add(call)
            await self._clock.sleep(RETRY_MAX_S)
            self._waiting.discard(call)
            self._forget(call)
            await self._start_all([call])

    def leave_out(self, symbol: str, channel: str, error: BaseException) -> None:
        """Do not ask for this again, and say so; the others go on."""
        if (symbol, channel) in self._carried.refused:
            return
        self._carried.refused.add((symbol, channel))
        self._on_left_out((symbol, channel))
        said, exchange = self._redact.text(error), self._settings.exchange
        log.error(
            "symbol_refused", exchange=exchange, symbol=symbol, channel=channel, exchange_said=said, action="left out"
        )
        if self._wanted and self._wanted <= self._carried.refused:
            names = ", ".join(sorted({symbol for symbol, _ in self._wanted}))
            self._on_refused(
                RefusedError(
                    f"{exchange} refused everything that was asked of it ({names}); it said: {said}. "
                    f"Correct ccxt.exchanges.{self._settings.exchange_id}.channels in the configuration"
                )
            )

    def _forget(self, call: Call) -> None:
        """Make CCXT send the subscriptions of a call again."""
        task = self._tasks.pop(call, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        for client in self._clients:
            for message_hash in [h for h, c in client.calls.items() if c is call]:
                self._drop(client, message_hash)

    @staticmethod
    def _drop(client: TapClient, message_hash: str) -> None:
        client.subscriptions.pop(message_hash, None)
        client.calls.pop(message_hash, None)
        future = client.futures.pop(message_hash, None)
        if future is not None:
            future.cancel()
