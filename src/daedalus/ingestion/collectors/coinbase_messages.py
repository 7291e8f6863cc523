"""The wire forms of Coinbase Advanced Trade, and how their texts become numbers."""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import msgspec

from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import CHANGE, NO_TIME

#: The exchange's channels.
LEVEL2, MATCHES, TICKER = "level2", "market_trades", "ticker"
#: The bronze channels that each of them feeds.
FEEDS: dict[str, tuple[str, ...]] = {LEVEL2: ("l2", "orderbook"), MATCHES: ("trades",), TICKER: ("ticker",)}


class Envelope(msgspec.Struct, gc=False):
    """What every message is; error frames have `type` and `message` only."""

    channel: str = ""
    type: str = ""
    message: str = ""
    timestamp: str | None = None
    sequence_num: int | None = None
    events: msgspec.Raw = msgspec.Raw(b"[]")


class LevelUpdate(msgspec.Struct, gc=False):
    """One absolute size at one price. The numbers come as decimal texts; any other side than these is no message."""

    side: Literal["bid", "offer"]
    price_level: float
    new_quantity: float
    event_time: str | None = None


class L2Event(msgspec.Struct, gc=False):
    """A snapshot or an update of one product's book; `updates` may be empty."""

    type: str
    product_id: str
    updates: list[LevelUpdate] = []


class Subscriptions(msgspec.Struct, gc=False):
    """What the connection is subscribed to: products by channel."""

    subscriptions: dict[str, list[str]] = {}


decode_envelope = msgspec.json.Decoder(Envelope).decode
#: Not strict: it reads the decimal texts as floats, three times as fast as Python would.
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


def number(text: str) -> float:
    """Return the float of a decimal text. Raises `MalformedError` for NaN and infinities, also by overflow."""
    value = float(text)
    if not -inf < value < inf:
        raise MalformedError(f"{text!r} is not a finite number")
    return value


def pack_updates(updates: list[LevelUpdate]) -> tuple[bytes, int | None]:
    """Pack level changes in order and return them with the event time of the last."""
    pack, rows = CHANGE.pack, []
    text, event_time, packed_time = None, None, NO_TIME
    for update in updates:
        price, size = update.price_level, update.new_quantity
        if not (0.0 < price < inf and 0.0 <= size < inf):
            raise MalformedError(f"level {price!r} x {size!r} is not a price and a size")
        if update.event_time != text:
            # The changes of a message mostly share one time, and a snapshot's all do.
            text = update.event_time
            event_time = parse_rfc3339_us(text)
            packed_time = NO_TIME if event_time is None else event_time
        rows.append(pack(packed_time, update.side == "offer", price, size))
    return b"".join(rows), event_time
