"""The contracts of the sandbox: where a market comes from, and how a protocol speaks of it.

A `MarketSource` yields updates that know no exchange: books, changed levels, trades, tickers, with their market times.
A `WireProtocol` turns them into the frames of one exchange and answers what a client says. Neither does any I/O on
sockets: `server` and `connection` do. A new exchange is one file with a protocol and one line in `registry`.

The updates, and what market time is, are in `updates`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from daedalus.sandbox.updates import Batch, Kind, Recorded, Update
from daedalus.sandbox.view import MarketView


class Feed(Protocol):
    """One connection's way through a market.

    Attributes
    ----------
    view
        The market as of the batches taken from this feed. The taker applies each update to it.
    time_us
        Market time at the open; afterwards that of the last batch is what counts.
    overrun
        Set when the taker has fallen further behind than the feed may hold: what follows is lost to it.
    """

    view: MarketView
    time_us: int
    overrun: asyncio.Event

    def __aiter__(self) -> AsyncIterator[Batch]:
        """Yield batches, an empty one at least every 100 ms of wall time while the feed is paced.

        Ends with the market, or after an overrun.
        """

    def close(self) -> None:
        """Let go of the market. Idempotent."""


class MarketSource(Protocol):
    """A market that connections can open feeds of."""

    @property
    def name(self) -> str:
        """What it is, in a few words."""

    @property
    def products(self) -> Sequence[str]:
        """Product names, in order."""

    @property
    def linger_s(self) -> float:
        """Wall seconds that a feed waits, once a client has asked for books or trades, for it to ask for the other too.

        So a playback does not begin without the half that is about to be wanted. 0 for a market that runs anyway.
        """

    def open(self) -> Feed:
        """Return a new feed, its view already holding what came before the first batch."""

    async def run(self) -> None:
        """Drive the market until cancelled. Called once, by the server. A playback has nothing to drive: returns."""


FrameKind = Literal["snapshot", "changes", "past_trades", "trades", "ticker", "heartbeat", "control", "ping", "fault"]


class OutFrame(msgspec.Struct, frozen=True, gc=False):
    """One text frame, with what the server counts of it. Of kind "ping" it is a websocket ping and its payload.

    Attributes
    ----------
    data
        The text, UTF-8.
    product
        Whose it is; empty if nobody's.
    items
        Levels, changes, trades or tickers in it.
    is_numbered
        The exchange's own numbering or checksum shows when it is missing: what a skipped sequence may lose.
    """

    data: bytes
    kind: FrameKind
    product: str = ""
    items: int = 0
    is_numbered: bool = True

    @property
    def is_flow(self) -> bool:
        """Whether losing it loses market data: changes or trades, not an empty frame."""
        return self.kind in ("changes", "trades") and self.items > 0


def passed_on(frame: Recorded, data: bytes = b"") -> OutFrame:
    """Return a recorded frame to be sent: its text, or `data` where the session wraps it anew."""
    kind: FrameKind = "control" if frame.kind == "answer" else frame.kind
    return OutFrame(data or frame.text, kind, frame.product, frame.items, is_numbered=kind == "changes")


class Session(ABC):
    """One client's conversation: what it says in, frames out. No I/O, no clock: market time comes with the batches.

    The frames that a method yields are sent in that order and no other method runs in between, so sequence numbers may
    be drawn as they are yielded. A frame may also never be sent: a fault may drop it.

    Attributes
    ----------
    kinds
        What the client is subscribed to at the moment, over all products.
    fetch
        "due": the market had better wait for what the client is about to ask over HTTP; "done": it has just been
        answered, and the client needs a moment. A playback stands still for both.
    """

    kinds: frozenset[Kind] = frozenset()
    fetch: Literal["no", "due", "done"] = "no"

    def greet(self) -> Iterable[OutFrame]:
        """Tell what is told unasked at the start."""
        return ()

    @abstractmethod
    def receive(self, text: str) -> Iterable[OutFrame]:
        """Answer one text frame of the client. Never raises on what a client may send."""

    @abstractmethod
    def publish(self, update: Update) -> Iterable[OutFrame]:
        """Tell of an update that has just been applied to the view."""

    @abstractmethod
    def advance(self, time_us: int) -> Iterable[OutFrame]:
        """Tell what is due at a market time: called after each batch."""

    def finish(self) -> Iterable[OutFrame]:
        """Tell what is still held back, once the market has ended."""
        return ()

    def pulse(self) -> Iterable[OutFrame]:
        """Tell what is due once a second of wall time: heartbeats."""
        return ()

    @abstractmethod
    def error_frame(self, message: str) -> OutFrame:
        """Return a frame by which this exchange complains."""

    @abstractmethod
    def unknown_frame(self) -> OutFrame:
        """Return a well-formed frame of a type that no document names."""

    # What a skipped sequence asks: after losing a frame it goes on losing those that would hide the loss.

    def lost(self, frame: OutFrame) -> None:  # noqa: B027 (a hook: nothing to do for most)
        """Be told that the frame just yielded was kept from the client by a skip."""

    def reveals(self, frame: OutFrame) -> bool:
        """Whether a client can tell by this frame, the next one of a product that lost some, that some are missing."""
        return True

    def close(self) -> None:  # noqa: B027
        """Be told that the connection has ended."""


class RestReply(msgspec.Struct, frozen=True, gc=False):
    """The JSON answer to a GET."""

    body: bytes
    status: int = 200


class WireProtocol(ABC):
    """One exchange's way to speak.

    Attributes
    ----------
    name
        As in the table.
    first_message_s
        Wall seconds within which a client must have said something, or is closed.
    """

    name: ClassVar[str]
    first_message_s: ClassVar[float]

    @abstractmethod
    def session(self, path: str, view: MarketView, time_us: int) -> Session:
        """Begin a conversation.

        Parameters
        ----------
        path
            Path and query that the client connected to.
        view
            The market as this connection has seen it; the caller keeps it up to date.
        time_us
            Market time.
        """

    def greets(self, path: str) -> bool:
        """Whether a conversation on this path begins with the connection, not with the client's first message."""
        return False

    def rest(self, path_qs: str, source: MarketSource) -> RestReply | None:
        """Answer a plain GET with JSON, or None where there is nothing. Exchanges without REST calls need not care."""
        return None

    def ccxt_urls(self, url: str) -> Mapping[str, Any]:
        """Return what to merge into `urls["api"]` of a ccxt exchange so that it talks to the sandbox.

        Parameters
        ----------
        url
            The server's: ``ws://127.0.0.1:8765``.
        """
        return {}
