"""Getting books whole again, one market at a time and without end, while the others go on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from daedalus.ingestion.collectors.base import TokenBucket
from daedalus.shared.clock import Clock

log = structlog.get_logger(__name__)

#: How long a book may take to be whole after it was asked for; doubles with each try, up to the longest.
WAIT_S, WAIT_MAX_S = 20.0, 300.0
#: Tries after which the connection is given up, once: the exchange may have lost the subscription.
TRIES_MAX = 5


@dataclass
class _Pending:
    """One market whose book is being had anew."""

    tries: int
    due: float
    asked: bool


class Resyncs:
    """Asks for books, spaced, and asks again when they do not come.

    Parameters
    ----------
    ask
        Has the books of these symbols sent again.
    pace
        Shared with everything else that asks the exchange.
    describe
        Puts an error into words.
    on_hopeless
        Called with a symbol whose book never came.
    """

    def __init__(
        self,
        *,
        ask: Callable[[list[str]], Awaitable[None]],
        pace: TokenBucket,
        clock: Clock,
        exchange: str,
        describe: Callable[[BaseException], str],
        on_hopeless: Callable[[str], None],
    ) -> None:
        self._ask, self._pace, self._clock, self._exchange = ask, pace, clock, exchange
        self._describe, self._on_hopeless = describe, on_hopeless
        self._pending: dict[str, _Pending] = {}
        self._work = asyncio.Event()

    def __contains__(self, symbol: str) -> bool:
        """Whether a market's book is being had anew."""
        return symbol in self._pending

    def request(self, symbol: str, ask: bool = True) -> bool:
        """Want a book anew; return whether that is news.

        With `ask` False it comes by itself, and is asked for only when it does not.
        """
        if symbol in self._pending:
            return False
        self._pending[symbol] = _Pending(0, self._clock.monotonic() + WAIT_S, not ask)
        self._work.set()
        return True

    def done(self, symbol: str) -> None:
        """Take note that the book is whole."""
        self._pending.pop(symbol, None)

    def tick(self) -> None:
        """Ask again for what is late."""
        now = self._clock.monotonic()
        for symbol, pending in list(self._pending.items()):
            if now < pending.due:
                continue
            pending.tries += 1
            pending.due = now + min(WAIT_MAX_S, WAIT_S * 2.0 ** min(pending.tries, 10))
            log.warning("book_late", exchange=self._exchange, symbol=symbol, tries=pending.tries)
            if pending.tries == TRIES_MAX:
                self._on_hopeless(symbol)
            pending.asked = False
            self._work.set()

    async def run(self) -> None:
        """Ask, until cancelled. A request that fails is made again when its time is over."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self._pace.take()
            wanted = [symbol for symbol, pending in self._pending.items() if not pending.asked]
            self._mark(wanted)
            if not wanted:
                continue
            try:
                await self._ask(wanted)
            except Exception as error:
                why = self._describe(error)
                log.warning("book_not_asked_for", exchange=self._exchange, symbols=wanted, error=why)

    def _mark(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            self._pending[symbol].asked = True
