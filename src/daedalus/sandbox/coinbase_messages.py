"""The JSON of Coinbase Advanced Trade: fields in the order in which the exchange sends them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from daedalus.sandbox.updates import LevelChanges, TickerTick, TradeTick
from daedalus.sandbox.view import TextBook
from daedalus.shared.clock import NS_PER_SECOND, utc

#: What the exchange sends as the time of a level when it has none.
NO_TIME_TEXT = "1970-01-01T00:00:00Z"


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a client may say; other fields, such as `jwt`, are passed over."""

    type: str
    channel: str
    product_ids: list[str] | None = None


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """Every message but errors."""

    channel: str
    timestamp: str
    sequence_num: int
    events: Sequence[Any]


class L2Level(msgspec.Struct, frozen=True, gc=False):
    """One level: `side` is bid or offer, a `new_quantity` of 0 removes it."""

    side: str
    event_time: str
    price_level: str
    new_quantity: str


class L2Event(msgspec.Struct, frozen=True, gc=False):
    """A book (`type` snapshot) or changes of it (update)."""

    type: str
    product_id: str
    updates: Sequence[L2Level]


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One execution; `side` is the maker's, in capitals."""

    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: str


class TradesEvent(msgspec.Struct, frozen=True, gc=False):
    """Past trades (`type` snapshot) or those of one window (update), newest first."""

    type: str
    trades: Sequence[Trade]


class Ticker(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Last price, statistics of a day and of a year, best quotes. What the source does not know is left out."""

    type: str
    product_id: str
    price: str
    volume_24_h: str | None = None
    low_24_h: str | None = None
    high_24_h: str | None = None
    low_52_w: str | None = None
    high_52_w: str | None = None
    price_percent_chg_24_h: str | None = None
    best_bid: str | None = None
    best_ask: str | None = None
    best_bid_quantity: str | None = None
    best_ask_quantity: str | None = None


class TickerEvent(msgspec.Struct, frozen=True, gc=False):
    """Tickers."""

    type: str
    tickers: Sequence[Ticker]


decode_request = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=64)
def _second_text(seconds: int) -> str:
    return utc(seconds * NS_PER_SECOND).strftime("%Y-%m-%dT%H:%M:%S")


def time_text(ns: int, digits: int) -> str:
    """Return an RFC 3339 time with that many fractional digits, truncated.

    Examples
    --------
    >>> time_text(1787610853793075885, 6)
    '2026-08-24T22:34:13.793075Z'
    """
    seconds, rest = divmod(ns, NS_PER_SECOND)
    return f"{_second_text(seconds)}.{f'{rest:09d}'[:digits]}Z"


def book_levels(book: TextBook) -> list[L2Level]:
    """Return a whole book, bids first, best levels first."""
    time = NO_TIME_TEXT if book.time_us is None else time_text(book.time_us * 1000, 6)
    bids = [L2Level("bid", time, price, size) for price, size in book.levels("bid")]
    return bids + [L2Level("offer", time, price, size) for price, size in book.levels("ask")]


def changed_levels(update: LevelChanges) -> list[L2Level]:
    """Return the changes of an update, in order."""
    time = time_text(update.time_us * 1000, 6)
    return [L2Level("bid" if side == "bid" else "offer", time, price, size) for side, price, size in update.changes]


def trade(tick: TradeTick) -> Trade:
    """Return one execution."""
    time = time_text(tick.time_us * 1000, 6)
    return Trade(tick.product, tick.trade_id, tick.price, tick.size, time, tick.maker_side.upper())


def ticker(tick: TickerTick) -> Ticker:
    """Return one ticker."""
    return Ticker(
        type="ticker",
        product_id=tick.product,
        price=tick.price,
        volume_24_h=tick.volume_24h,
        low_24_h=tick.low_24h,
        high_24_h=tick.high_24h,
        low_52_w=tick.low_52w,
        high_52_w=tick.high_52w,
        price_percent_chg_24_h=tick.change_pct_24h,
        best_bid=tick.best_bid,
        best_ask=tick.best_ask,
        best_bid_quantity=tick.best_bid_size,
        best_ask_quantity=tick.best_ask_size,
    )


def heartbeat(time_us: int, counter: int) -> dict[str, str | int]:
    """Return a heartbeat's event, in the Go notation of time that the exchange lets through."""
    text = time_text(time_us * 1000, 9).replace("T", " ").removesuffix("Z")
    return {"current_time": f"{text} +0000 UTC m=+{counter}.000000000", "heartbeat_counter": counter}
