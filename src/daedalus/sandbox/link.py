"""The outgoing side of one connection: where faults take hold of frames, and where frames are counted."""

import asyncio
import math
import socket
import struct

from aiohttp import WSMsgType, web

from daedalus.sandbox.base import OutFrame, Session
from daedalus.sandbox.stats import ConnectionStats, FaultRecord
from daedalus.shared.clock import Clock

#: Close codes: RFC 6455 section 7.4.1.
NORMAL, GOING_AWAY, POLICY = 1000, 1001, 1008
#: Seconds for a client to take the close frame and answer it.
CLOSE_S = 1.0


class Link:
    """Sends frames of one connection. Not for two tasks at a time: `connection` holds a lock around it.

    Sending waits while the client does not read (TCP's own limit and `writer_limit` bytes are all that is held for it).

    Parameters
    ----------
    websocket, transport
        The accepted connection.
    clock
        For silences.
    stats
        Where everything is counted.
    """

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        clock: Clock,
        stats: ConnectionStats,
    ) -> None:
        self.clock, self.stats = clock, stats
        self.session: Session | None = None
        self.offered = 0
        self._websocket, self._transport = websocket, transport
        self._drops = self._cuts = self._repeats = 0
        self._silent_until = -math.inf
        self._record: FaultRecord | None = None

    async def send(self, frame: OutFrame) -> None:
        """Send a frame, or do to it what a fault wants. Raises ConnectionError when the connection is gone."""
        self.offered += 1
        if self.clock.monotonic() < self._silent_until:
            self._count_dropped(frame)
        elif frame.is_flow and self._drops:
            self._drops -= 1
            self._count_dropped(frame)
        elif frame.is_flow and self._cuts:
            self._cuts -= 1
            self._count_dropped(frame)
            await self.write(frame.data[: len(frame.data) // 2])
        else:
            await self.write(frame.data)
            self.stats.count_sent(frame)
            if frame.is_flow and self._repeats:
                self._repeats -= 1
                await self.write(frame.data)
                self.stats.duplicated.add(frame)

    async def write(self, data: bytes) -> None:
        """Send a text past all faults and counters."""
        await self._websocket.send_frame(data, WSMsgType.TEXT)

    def _count_dropped(self, frame: OutFrame) -> None:
        self.stats.dropped.add(frame)
        if self._record is not None:
            self._record.dropped.add(frame)

    # What faults ask for

    def drop_next(self, frames: int, record: FaultRecord) -> None:
        """Lose the next frames that carry changes or trades; their sequence numbers are lost with them."""
        self._drops, self._record = self._drops + frames, record

    def cut_next(self, frames: int, record: FaultRecord) -> None:
        """Send only the first half of the next frames that carry changes or trades."""
        self._cuts, self._record = self._cuts + frames, record

    def repeat_next(self, frames: int) -> None:
        """Send the next frames that carry changes or trades twice."""
        self._repeats += frames

    def silence(self, seconds: float, record: FaultRecord) -> None:
        """Lose every frame for that long, heartbeats and answers too."""
        self._silent_until, self._record = self.clock.monotonic() + seconds, record

    async def close(self, code: int, reason: str) -> None:
        """Close with a close frame; reset a connection whose client does not read it. Idempotent."""
        self.stats.close_reason = self.stats.close_reason or reason
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.close(code=code, message=reason.encode())
        except TimeoutError:
            self.abort(reason)
        except ConnectionError:
            pass

    def abort(self, reason: str) -> None:
        """Reset the TCP connection: no close frame, no FIN."""
        self.stats.close_reason = self.stats.close_reason or reason
        if self._transport is None:
            return
        handle = self._transport.get_extra_info("socket")
        if handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
