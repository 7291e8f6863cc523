"""The one queue between collectors and writer: bounded by records and by bytes, never silently lossy."""

import asyncio
from collections import deque
from collections.abc import Sequence

from daedalus.ingestion.collectors.base import Stream
from daedalus.shared.clock import Clock
from daedalus.shared.events import Event, Gap, channel_of, event_bytes

_DETAILS = {
    "backpressure": "the writer did not keep up and the queue was full",
    "disk_full": "the disk refused rows and the queue was full",
}


class EventQueue:
    """First in, first out. A full queue makes its producers wait; what cannot wait longer is dropped and entered.

    Parameters
    ----------
    maxsize, max_bytes
        The bounds. Ledger rows pass them: they are few (one per stream that loses something).
    put_timeout_s
        How long a producer may wait before the exchange would cut it off.

    Attributes
    ----------
    dropped
        Events dropped since the start.
    is_disk_full
        Set by the driver while the disk refuses rows: what is dropped meanwhile is entered with that cause.
    """

    def __init__(self, *, maxsize: int, max_bytes: int, put_timeout_s: float, clock: Clock) -> None:
        self._maxsize, self._max_bytes, self._timeout = maxsize, max_bytes, put_timeout_s
        self._clock = clock
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self._filled = asyncio.Event()
        self._lost: dict[tuple[str, Stream, str], Gap] = {}
        self.dropped = 0
        self.is_disk_full = False

    def __len__(self) -> int:
        """Return the number of events waiting."""
        return len(self._events)

    @property
    def nbytes(self) -> int:
        """Return roughly how many bytes wait."""
        return self._bytes

    @property
    def bounds(self) -> tuple[int, int]:
        """Return how many events and how many bytes may wait."""
        return self._maxsize, self._max_bytes

    async def put(self, events: Sequence[Event]) -> set[str]:
        """Append events in order; return the symbols of which some had to be dropped.

        All events of one call are kept or, after the time-out, dropped together.
        """
        if not events:
            return set()
        size = sum(map(event_bytes, events))
        if not self._fits(len(events), size) and not await self._wait(len(events), size):
            kept = [event for event in events if isinstance(event, Gap)]
            self._append(kept, sum(map(event_bytes, kept)))
            return self._drop([event for event in events if not isinstance(event, Gap)])
        self._append(events, size)
        return set()

    def _fits(self, count: int, size: int) -> bool:
        """Tell whether there is room. An empty queue takes any frame: a snapshot may exceed the bound."""
        if not self._events:
            return True
        return len(self._events) + count <= self._maxsize and self._bytes + size <= self._max_bytes

    def _append(self, events: Sequence[Event], size: int) -> None:
        self._events.extend(events)
        self._bytes += size
        self._filled.set()

    async def _wait(self, count: int, size: int) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                while not self._fits(count, size):
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            return False
        return True

    def _drop(self, events: Sequence[Event]) -> set[str]:
        """Count dropped events per stream and cause; their ledger rows are written when there is room again."""
        reason = "disk_full" if self.is_disk_full else "backpressure"
        for event in events:
            self.dropped += 1
            key = (event.exchange, (event.symbol, channel_of(event)), reason)
            known = self._lost.get(key)
            self._lost[key] = Gap(
                collected_at=event.collected_at,
                exchange=event.exchange,
                symbol=event.symbol,
                channel=key[1][1],
                started_at=known.started_at if known else event.collected_at - 1,
                ended_at=event.collected_at,
                reason=reason,
                missed=(known.missed or 0) + 1 if known else 1,
                detail=_DETAILS[reason],
            )
        return {event.symbol for event in events}

    async def get(self, at_most: int, timeout_s: float) -> list[Event]:
        """Return up to `at_most` events, oldest first, as soon as there are any; none after the time-out."""
        if not self._events:
            self._filled.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._filled.wait()
            except TimeoutError:
                return self._ledger()
        events = [self._events.popleft() for _ in range(min(at_most, len(self._events)))]
        self._bytes -= sum(map(event_bytes, events))
        self._room.set()
        return events + (self._ledger() if not self._events else [])

    def _ledger(self) -> list[Event]:
        rows: list[Event] = list(self._lost.values())
        self._lost.clear()
        return rows
