"""The outgoing side of one connection: where faults take hold of frames, and where frames are counted."""

import asyncio
import socket
import struct

from aiohttp import WSMsgType, web

from daedalus.sandbox.base import OutFrame, Session
from daedalus.sandbox.products import is_product
from daedalus.sandbox.stats import ConnectionStats, FaultRecord
from daedalus.shared.clock import Clock

#: Close codes: RFC 6455 section 7.4.1.
NORMAL, GOING_AWAY, POLICY = 1000, 1001, 1008
#: Seconds for a client to take a close frame and answer it.
CLOSE_S = 1.0


class Pending:
    """What a fault is still to take hold of: so many frames, of one product or of any."""

    def __init__(self) -> None:
        self._left: list[tuple[int, FaultRecord]] = []

    def add(self, frames: int, record: FaultRecord) -> None:
        """Ask for the next frames, of the record's product if it names one."""
        self._left.append((frames, record))

    def take(self, frame: OutFrame) -> FaultRecord | None:
        """Return the fault that this frame falls to, and count it."""
        for index, (left, record) in enumerate(self._left):
            if not record.product or is_product(record.product, frame.product):
                self._left[index : index + 1] = [(left - 1, record)] if left > 1 else []
                return record
        return None


class Link:
    """Sends frames of one connection. Not for two tasks at a time: `connection` holds a lock around it.

    Sending waits while the client does not read. What is held for it is the websocket writer's limit and what the
    kernel buffers for a socket (Linux: at most some 10 MB, both ends together).

    Parameters
    ----------
    websocket, transport
        The accepted connection.
    clock
        For silences.
    stats
        Where everything is counted.

    Attributes
    ----------
    read_out
        To be set when the client's side has ended: it answered a close frame, or is gone.
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
        self._drops, self._cuts, self._repeats = Pending(), Pending(), Pending()
        self._silences: list[tuple[float, FaultRecord]] = []
        self._hiding: dict[str, FaultRecord] = {}
        self.is_closing = False
        self.read_out = asyncio.Event()

    async def send(self, frame: OutFrame) -> None:
        """Send a frame, or do to it what a fault wants. Raises ConnectionError when the connection is gone."""
        if self.is_closing:
            return
        self.offered += 1
        if record := self._silencing(frame) or self._skipping(frame):
            self._count_dropped(frame, record)
        elif frame.is_flow and (record := self._cuts.take(frame)):
            self._count_dropped(frame, record)
            await self.write(frame.data[: len(frame.data) // 2])
        else:
            await self.write(frame.data, WSMsgType.PING if frame.kind == "ping" else WSMsgType.TEXT)
            self.stats.count_sent(frame)
            if frame.is_flow and self._repeats.take(frame):
                await self.write(frame.data)
                self.stats.duplicated.add(frame)

    async def write(self, data: bytes, kind: WSMsgType = WSMsgType.TEXT) -> None:
        """Send a text past all faults and counters."""
        if not self.is_closing:
            await self._websocket.send_frame(data, kind)

    def _silencing(self, frame: OutFrame) -> FaultRecord | None:
        """Return the silence that a frame falls into."""
        if self._silences:
            now = self.clock.monotonic()
            self._silences = [(until, record) for until, record in self._silences if now < until]
            return next((r for _, r in self._silences if not r.product or is_product(r.product, frame.product)), None)
        return None

    def _skipping(self, frame: OutFrame) -> FaultRecord | None:
        """Return the skip that a frame is lost to: one that was asked for, or one that this frame would hide."""
        if not (frame.is_flow and frame.is_numbered):
            return None
        record = self._drops.take(frame)
        if record is None:
            record = self._hiding.pop(frame.product, None)
            if record is None or self.session is None or self.session.reveals(frame):
                return None
        self._hiding[frame.product] = record
        if self.session is not None:
            self.session.lost(frame)
        return record

    def _count_dropped(self, frame: OutFrame, record: FaultRecord) -> None:
        self.stats.dropped.add(frame)
        record.dropped.add(frame)

    # What faults ask for

    def drop_next(self, frames: int, record: FaultRecord) -> None:
        """Lose the next frames that carry changes or trades; their sequence numbers are lost with them."""
        self._drops.add(frames, record)

    def cut_next(self, frames: int, record: FaultRecord) -> None:
        """Send only the first half of the next frames that carry changes or trades."""
        self._cuts.add(frames, record)

    def repeat_next(self, frames: int, record: FaultRecord) -> None:
        """Send the next frames that carry changes or trades twice."""
        self._repeats.add(frames, record)

    def silence(self, seconds: float, record: FaultRecord) -> None:
        """Lose every frame for that long, heartbeats and answers too; those of one product, if the fault names one."""
        self._silences.append((self.clock.monotonic() + seconds, record))

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame, after which nothing is sent; reset a connection whose client does not answer. Idempotent.

        Not `WebSocketResponse.close`: while another task reads, that drops the connection before the client can answer.
        """
        if self.is_closing:
            return
        self.is_closing = True
        self.stats.close_code, self.stats.close_reason = code, reason
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.send_frame(struct.pack("!H", code) + reason.encode(), WSMsgType.CLOSE)
                await self.read_out.wait()
        except TimeoutError:
            self.abort(reason)
        except ConnectionError:
            pass

    def abort(self, reason: str) -> None:
        """Reset the TCP connection: no close frame, no FIN."""
        self.is_closing = True
        self.stats.close_reason = self.stats.close_reason or reason
        if self._transport is None:
            return
        handle = self._transport.get_extra_info("socket")
        if handle is not None and handle.fileno() >= 0:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
