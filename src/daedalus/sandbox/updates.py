"""What a market does, in words of no exchange. Prices and sizes are text, as they go over the wire.

Market times are microseconds since the epoch: a recording's own, or those of a synthetic market, whose clock starts at
the wall clock's time and may run faster than it.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from daedalus.shared.events import BookSide, Side

Level = tuple[str, str]
"""Price and size of one level."""

Change = tuple[BookSide, str, str]
"""Side, price and absolute size (0 removes) of one changed level."""

Kind = Literal["book", "trades", "ticker"]
"""What a client may ask of a product, whatever its exchange calls it."""


class BookSnapshot(msgspec.Struct, frozen=True, gc=False):
    """The whole book of a product, best levels first. `time_us` is None where the source knows none.

    Attributes
    ----------
    update_id
        The exchange's own number of the book's state; None where it gave none: books then count by themselves.
    depth
        The book holds so many levels a side and no more: what is pushed out is forgotten untold. None is no bound.
    """

    product: str
    time_us: int | None
    bids: Sequence[Level]
    asks: Sequence[Level]
    update_id: int | None = None
    depth: int | None = None


class LevelChanges(msgspec.Struct, frozen=True, gc=False):
    """What one event of the market changed in a product's book, in order. `update_id` as in `BookSnapshot`."""

    product: str
    time_us: int
    changes: Sequence[Change]
    update_id: int | None = None


class TradeTick(msgspec.Struct, frozen=True, gc=False):
    """One execution. `maker_side` is the resting order's: the aggressor's is the other one."""

    product: str
    time_us: int
    trade_id: str
    price: str
    size: str
    maker_side: Side


class TickerTick(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A product at one moment: last price, best quotes, and statistics where the source has them.

    Volumes are in base units, `change_pct_24h` in percent. None means that the source does not know.
    """

    product: str
    time_us: int
    price: str
    best_bid: str | None = None
    best_bid_size: str | None = None
    best_ask: str | None = None
    best_ask_size: str | None = None
    volume_24h: str | None = None
    low_24h: str | None = None
    high_24h: str | None = None
    low_52w: str | None = None
    high_52w: str | None = None
    change_pct_24h: str | None = None


Told = BookSnapshot | LevelChanges | TradeTick | TickerTick
"""What can be said of a market."""


class Recorded(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A frame of an exchange as it was recorded, for a session of that exchange to pass on as it is.

    Attributes
    ----------
    time_us
        When the recorder received it.
    channel
        What the exchange calls this kind of frame; empty for the answer to a REST request.
    text
        The frame.
    kind, items
        What is in it, and how many levels, trades or tickers.
    meaning
        Reads what it says; only done where somebody needs to know.
    also
        Recorded frames that count from here on only: those that a client had to keep until the book came.
    """

    product: str
    time_us: int
    channel: str
    text: bytes
    kind: Literal["snapshot", "changes", "trades", "ticker", "answer"]
    items: int
    meaning: Callable[["Recorded"], Sequence[Told]]
    also: tuple["Recorded", ...] = ()

    def parts(self) -> list[Told]:
        """Return what it says, in order; nothing where it cannot be read: it is passed on all the same."""
        return [part for frame in (self, *self.also) for part in _read(frame)]


def _read(frame: Recorded) -> Sequence[Told]:
    try:
        return frame.meaning(frame)
    except (msgspec.DecodeError, ValueError, LookupError, TypeError):
        return ()


Update = Told | Recorded


class Batch(msgspec.Struct, frozen=True):
    """What a feed hands over at once: the market time that it has reached, and what happened up to then, in order."""

    time_us: int
    updates: Sequence[Update]
