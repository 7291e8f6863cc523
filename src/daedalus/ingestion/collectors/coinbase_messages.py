"""The wire forms of Coinbase Advanced Trade, and how their texts become numbers."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf
from sys import float_info
from typing import Annotated, Any, Literal

import msgspec

from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import CHANGE, NO_TIME

#: How a message of a book begins; one that is written otherwise is read all the same, only in two passes.
_BOOK = '{"channel":"l2_data"'
#: More changes than this are a snapshot and packed one by one.
PACKED_MAX = 256
#: The exchange's channels.
LEVEL2, MATCHES, TICKER = "level2", "market_trades", "ticker"
#: The bronze channels that each of them feeds.
FEEDS: dict[str, tuple[str, ...]] = {LEVEL2: ("l2", "orderbook"), MATCHES: ("trades",), TICKER: ("ticker",)}


class Head(msgspec.Struct, gc=False):
    """What every message says of itself; error frames have `type` and `message` only."""

    channel: str = ""
    type: str = ""
    message: str = ""
    timestamp: str | None = None
    sequence_num: int | None = None


class Envelope(Head, gc=False):
    """Any message."""

    events: msgspec.Raw = msgspec.Raw(b"[]")


Price = Annotated[float, msgspec.Meta(gt=0.0, le=float_info.max)]
Size = Annotated[float, msgspec.Meta(ge=0.0, le=float_info.max)]


class LevelUpdate(msgspec.Struct, gc=False, kw_only=True):
    """One absolute size at one price. The numbers come as decimal texts.

    Any other side, or what is no price and no size (NaN, infinite, negative), is no message. The fields stand in the
    order in which the exchange writes them: that is read fastest.
    """

    side: Literal["bid", "offer"]
    event_time: str | None = None
    price_level: Price
    new_quantity: Size


class L2Event(msgspec.Struct, gc=False):
    """A snapshot or an update of one product's book; `updates` may be empty."""

    type: str
    product_id: str
    updates: list[LevelUpdate] = []


class BookMessage(Head, gc=False):
    """A message of channel `l2_data`."""

    events: list[L2Event] = []


class Subscriptions(msgspec.Struct, gc=False):
    """What the connection is subscribed to: products by channel."""

    subscriptions: dict[str, list[str]] = {}


_decode_envelope = msgspec.json.Decoder(Envelope).decode
#: Not strict: they read the decimal texts as floats, three times as fast as Python would.
_decode_book = msgspec.json.Decoder(BookMessage, strict=False).decode
decode_l2 = msgspec.json.Decoder(list[L2Event], strict=False).decode
decode_dicts = msgspec.json.Decoder(list[dict[str, Any]]).decode
decode_subscriptions = msgspec.json.Decoder(list[Subscriptions]).decode


@dataclass
class Counters:
    """What a collector saw that is no row: for statistics and logs."""

    frames: int = 0
    duplicates: int = 0
    unknown: int = 0
    errors: int = 0
    malformed: int = 0
    sequence_gaps: int = 0
    trades_resent: int = 0


def decode_message(text: str) -> Envelope | BookMessage:
    """Read a message; those of books, nearly all, in one pass. Raises `msgspec.DecodeError` and `UnicodeError`."""
    if text.startswith(_BOOK):
        try:
            message = _decode_book(text)
        except msgspec.MsgspecError:
            return _decode_envelope(text)
        if message.channel == "l2_data" and message.type != "error":
            return message
    return _decode_envelope(text)


def number(text: str) -> float:
    """Return the float of a decimal text. Raises `MalformedError` for NaN and infinities, also by overflow."""
    value = float(text)
    if not -inf < value < inf:
        raise MalformedError(f"{text!r} is not a finite number")
    return value


def pack_updates(updates: list[LevelUpdate]) -> tuple[bytes, int | None]:
    """Pack level changes in order and return them with the event time of the last."""
    text, event_time, packed_time = None, None, NO_TIME
    flat: list[float] = []
    for update in updates:
        if (when := update.event_time) != text:
            # The changes of a message mostly share one time, and a snapshot's all do.
            text, event_time = when, parse_rfc3339_us(when)
            packed_time = NO_TIME if event_time is None else event_time
        flat += (packed_time, update.side == "offer", update.price_level, update.new_quantity)
    count = len(updates)
    if count > PACKED_MAX:
        return b"".join([CHANGE.pack(*flat[at : at + 4]) for at in range(0, 4 * count, 4)]), event_time
    return packer(count)(*flat), event_time


@cache
def packer(count: int) -> Callable[..., bytes]:
    """Return what packs so many changes at once."""
    return struct.Struct("<" + CHANGE.format.removeprefix("<") * count).pack
