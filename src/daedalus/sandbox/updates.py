"""What a market does, in words of no exchange. Prices and sizes are text, as they go over the wire.

Market times are microseconds since the epoch: a recording's own, or those of a synthetic market, whose clock starts at
the wall clock's time and may run faster than it.
"""

from collections.abc import Sequence
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
    """The whole book of a product, best levels first. `time_us` is None where the source knows none."""

    product: str
    time_us: int | None
    bids: Sequence[Level]
    asks: Sequence[Level]


class LevelChanges(msgspec.Struct, frozen=True, gc=False):
    """What one event of the market changed in a product's book, in order."""

    product: str
    time_us: int
    changes: Sequence[Change]


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


Update = BookSnapshot | LevelChanges | TradeTick | TickerTick


class Batch(msgspec.Struct, frozen=True):
    """What a feed hands over at once: the market time that it has reached, and what happened up to then, in order."""

    time_us: int
    updates: Sequence[Update]
