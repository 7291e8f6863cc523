"""A client of the sandbox for tests: it talks, and keeps every frame."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

WAIT_S = 60.0
Frame = dict[str, Any]


class Client:
    """One websocket connection. `frames` are the parsed messages, `texts` all that came, broken ones too."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = websocket
        self.texts: list[str] = []
        self.frames: list[Frame] = []
        self.close_code: int | None = None
        self.error: BaseException | None = None

    async def say(self, channel: str, *products: str, verb: str = "subscribe") -> None:
        await self.socket.send_json({"type": verb, "product_ids": list(products), "channel": channel})

    async def next(self) -> Frame | None:
        """Return the next frame, {} if it is broken, None when the connection has ended."""
        message = await asyncio.wait_for(self.socket.receive(), WAIT_S)
        if message.type is not aiohttp.WSMsgType.TEXT:
            self.close_code, self.error = self.socket.close_code, self.socket.exception()
            return None
        self.texts.append(message.data)
        try:
            frame: Frame = msgspec.json.decode(message.data)
        except msgspec.DecodeError:
            return {}
        self.frames.append(frame)
        return frame

    async def until(self, done: Callable[[Frame], bool]) -> Frame | None:
        """Read until a frame is as wanted, or the end."""
        while (frame := await self.next()) is not None:
            if frame and done(frame):
                return frame
        return None

    async def rest(self) -> None:
        """Read to the end of the connection."""
        await self.until(lambda frame: False)

    def of(self, channel: str, kind: str | None = None) -> list[Frame]:
        """Return the frames of a channel, and of one type of event."""
        mine = [f for f in self.frames if f.get("channel") == channel]
        return mine if kind is None else [f for f in mine if f["events"][0].get("type") == kind]

    def gaps(self) -> list[tuple[int, int]]:
        """Return (before, after) of every jump of the sequence numbers."""
        numbers = [f["sequence_num"] for f in self.frames if "sequence_num" in f]
        return [(a, b) for a, b in zip([-1, *numbers], numbers, strict=False) if b != a + 1]


def small_socket(info: Any) -> socket.socket:
    """A socket that takes in little ahead of its reader."""
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    return made


@asynccontextmanager
async def connect(url: str, bytes_max: int = 64 * 1024 * 1024, is_small: bool = False) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(socket_factory=small_socket if is_small else None)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(url, max_msg_size=bytes_max) as websocket,
    ):
        yield Client(websocket)


def has(channel: str, kind: str | None = None) -> Callable[[Frame], bool]:
    """Say whether a frame is of a channel, and of one type of event."""
    return lambda f: f.get("channel") == channel and (kind is None or f["events"][0].get("type") == kind)
