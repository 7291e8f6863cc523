"""The contracts of readers: a recorded file in, what happened out, in the order in which it arrived.

A `Reader` gives typed messages. A `CaptureReader` is for formats that keep an exchange's own frames: it gives each of
them as the text that went over the wire, and leaves what it says to those who know the exchange.

A reader keeps prices and sizes as the text that was recorded, sorts nothing and drops nothing: what is neither book nor
trade comes out as `Control`, what cannot be read as `Unreadable`, so that the messages of a file always add up.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from daedalus.shared.events import BookSide, Side

Level = tuple[str, str]
"""Price and size of one level, as text."""

Change = tuple[BookSide, str, str]
"""Side, price and absolute size (0 removes) of one changed level, prices and sizes as text."""


class Message(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every message carries.

    Attributes
    ----------
    line
        Where it stands: 1 is the first message of the file.
    received_ns
        The recorder's receive clock, ns since the epoch; None if the format holds none.
    """

    line: int
    received_ns: int | None = None


class Book(Message, frozen=True, gc=False, kw_only=True):
    """The whole book of a product, best levels first. `time_us` (exchange, us since the epoch) is None if not sent."""

    product: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    time_us: int | None = None


class Changes(Message, frozen=True, gc=False, kw_only=True):
    """Changed levels of a product's book, in order. `time_us` is the exchange's, None if not sent."""

    product: str
    changes: tuple[Change, ...]
    time_us: int | None = None


class Match(Message, frozen=True, gc=False, kw_only=True):
    """One execution.

    Attributes
    ----------
    maker_side
        The side of the order that was resting: the aggressor's is the other one.
    is_past
        It happened before the recording: the exchange told of it on subscribing.
    """

    product: str
    trade_id: str
    price: str
    size: str
    maker_side: Side
    time_us: int | None = None
    is_past: bool = False


class Control(Message, frozen=True, gc=False, kw_only=True):
    """A message about the connection (subscriptions, an error): its type and its content in words."""

    type: str
    text: str


class Unreadable(Message, frozen=True, gc=False, kw_only=True):
    """A line that is not what the format promises: why, and the beginning of its text. It costs that line alone."""

    reason: str
    text: str


class Reader(Protocol):
    """What a format implements: a function of a file."""

    def __call__(self, path: Path) -> Iterator[Message]:
        """Yield the messages of a file in the order of arrival, holding one at a time.

        Raises
        ------
        NotFoundError
            There is no such file.
        CorruptError
            The file as a whole is not of the format, or breaks off. What came before the break has been yielded.
        """


CaptureKind = Literal["received", "connected", "sent", "answered"]


class Capture(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One thing that was captured.

    Attributes
    ----------
    line
        Where it stands in the file: 1 is the first line or message.
    received_ns
        The recorder's clock, ns since the epoch. Where the format holds none: the exchange's time of the message, or of
        the one before.
    kind
        A frame that a websocket brought, a connect, a message sent, or the answer to a REST request.
    url
        The address connected to, sent to or asked, where the format holds it; empty for frames received.
    text
        The frame, message or body, exactly as it was; empty for a connect.
    """

    line: int
    received_ns: int
    kind: CaptureKind
    url: str = ""
    text: str = ""


class CaptureReader(Protocol):
    """What a format of captured frames implements: a function of a file."""

    def __call__(self, path: Path) -> Iterator[Capture | Unreadable]:
        """Yield everything in a file in its order, holding one thing at a time. Raises as `Reader` does."""
