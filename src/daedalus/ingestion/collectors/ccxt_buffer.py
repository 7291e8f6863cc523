"""Between CCXT's receive loop, which must not wait inside a handler, and the driver, which may take its time."""

import asyncio
from collections.abc import Sequence

from daedalus.shared.events import Event, event_bytes

#: Bytes held before reading the sockets pauses; the events of one frame may come on top.
BUFFER_BYTES_MAX = 32 * 1024 * 1024


class EventBuffer:
    """Events in arrival order, bounded by bytes.

    A handler cannot wait, so the bound is kept by those who read: before each frame they await `room`. While they
    wait, the sockets fill, and TCP slows the exchange down.

    Parameters
    ----------
    bytes_max
        See `BUFFER_BYTES_MAX`.

    Attributes
    ----------
    append, extend
        Add events. They become visible to the driver, and count, with `commit`.
    is_full
        Whether reading has to pause.
    """

    def __init__(self, bytes_max: int = BUFFER_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._room, self._filled = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._bytes = self._away = 0
        self.is_full = False
        self._renew([])

    def _renew(self, events: list[Event]) -> None:
        self._events, self._counted = events, len(events)
        self.append, self.extend = events.append, events.extend

    def __len__(self) -> int:
        """Return the number of events held."""
        return len(self._events)

    @property
    def nbytes(self) -> int:
        """Return roughly how many bytes are held, those on their way to the driver included."""
        return self._bytes

    def commit(self) -> None:
        """End a frame: what was appended since the last time becomes visible to the driver."""
        events, counted = self._events, self._counted
        new = len(events) - counted
        if not new:
            return
        # One event a frame is what most frames make.
        self._bytes += event_bytes(events[-1]) if new == 1 else sum(map(event_bytes, events[counted:]))
        self._counted = counted + new
        if not counted:
            self._filled.set()
        if self._bytes >= self._bytes_max:
            self.is_full = True
            self._room.clear()

    def take(self, at_most: int) -> Sequence[Event]:
        """Return up to so many events, oldest first. They count as held until `release`."""
        events = self._events
        if len(events) <= at_most:
            self._away = self._bytes
            self._renew([])
            return events
        taken = events[:at_most]
        self._away = sum(map(event_bytes, taken))
        self._renew(events[at_most:])
        return taken

    def release(self) -> None:
        """Let go of what was taken last: the driver has it now."""
        self._bytes, self._away = self._bytes - self._away, 0
        self.is_full = self._bytes >= self._bytes_max
        if not self.is_full:
            self._room.set()

    def oldest_ns(self) -> int | None:
        """Return the receive clock of the oldest event held."""
        return self._events[0].collected_at if self._events else None

    async def room(self) -> None:
        """Wait until there is room."""
        await self._room.wait()

    async def filled(self, timeout_s: float) -> None:
        """Wait until there is something to take, or the time is over."""
        if self._events:
            return
        self._filled.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._filled.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """End the wait in `filled`: something other than an event has happened."""
        self._filled.set()
