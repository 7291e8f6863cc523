"""Events: what collectors yield and writers take. Frozen records in arrival order.

Every event carries `collected_at` (receive clock, ns since the epoch), `exchange` and `symbol` (the exchange's own
spelling). `timestamp` is the exchange's event time in microseconds since the epoch, None where it gave none. Nothing is
invented: what the exchange did not send is None.

Book sides and book changes travel packed, as little-endian records in `bytes`: a queued 20-level book then costs 0.8 kB
instead of 6 kB, and a writer turns thousands of them into columns without a Python loop.
"""

import struct
from collections.abc import Iterable
from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
BookSide = Literal["bid", "ask"]

#: Why something may be missing in an interval: the causes that the gap ledger knows.
GAP_REASONS = (
    "disconnect",
    "sequence_gap",
    "stall",
    "checksum",
    "backpressure",
    "parse_error",
    "disk_full",
    "shutdown",
    "crash",
)

#: The symbol of events that belong to a whole connection, not to one market.
ALL = "ALL"

LEVEL = struct.Struct("<dd")
"""One packed book level: price, size."""

CHANGE = struct.Struct("<qbdd")
"""One packed book change: timestamp (us, NO_TIME if none), side (0 bid, 1 ask), price, absolute size (0 removes)."""

NO_TIME = -(2**63)


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every event carries."""

    collected_at: int
    exchange: str
    symbol: str


class Ticker(Event, frozen=True, gc=False, kw_only=True, tag="ticker"):
    """Best quotes and 24 h statistics as the exchange publishes them. Prices in quote units, volumes in base."""

    timestamp: int | None = None
    bid: float | None = None
    ask: float | None = None
    bid_volume: float | None = None
    ask_volume: float | None = None
    last: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    vwap: float | None = None
    base_volume: float | None = None
    quote_volume: float | None = None
    change: float | None = None
    percentage: float | None = None
    info_json: str | None = None


class Trade(Event, frozen=True, gc=False, kw_only=True, tag="trades"):
    """One execution. `side` is always the aggressor's; None when the exchange does not tell."""

    timestamp: int | None = None
    trade_id: str | None = None
    side: Side | None = None
    price: float | None = None
    amount: float | None = None
    cost: float | None = None
    info_json: str | None = None


class BookSnapshot(Event, frozen=True, gc=False, kw_only=True, tag="orderbook"):
    """The top levels of a book, best first. `bids` and `asks` are packed `LEVEL` records."""

    timestamp: int | None = None
    nonce: int | None = None
    bids: bytes = b""
    asks: bytes = b""


class BookDelta(Event, frozen=True, gc=False, kw_only=True, tag="l2"):
    """The changes of one book that one frame brought: packed `CHANGE` records, one row of channel `l2` each.

    With `is_snapshot` the changes are the whole book and replace all that was known before.
    """

    nonce: int | None = None
    is_snapshot: bool = False
    changes: bytes = b""


class Frame(Event, frozen=True, gc=False, kw_only=True, tag="frames"):
    """One websocket text frame exactly as it came (`direction` "in") or was sent ("out")."""

    connection_id: str
    direction: Literal["in", "out"]
    frame: str


class Gap(Event, frozen=True, gc=False, kw_only=True, tag="gaps"):
    """An interval in which something may be missing from (symbol, channel). Times in ns; `ended_at` None = still open.

    An open gap ends with the next row of its stream. After a gap a book is valid again from its next snapshot.
    `missed` is how many messages the exchange's own numbering says were lost, None if it does not number them.
    """

    channel: str
    started_at: int
    ended_at: int | None
    reason: str
    missed: int | None = None
    detail: str | None = None


def channel_of(event: Event) -> str:
    """Return the channel that an event is written to."""
    return channel_of_kind(type(event))


def channel_of_kind(kind: type[Event]) -> str:
    """Return the channel that events of a kind are written to."""
    return str(kind.__struct_config__.tag)


def row_count(event: Event) -> int:
    """Return how many rows an event becomes: one, but for `BookDelta`, which is one per change."""
    return len(event.changes) // CHANGE.size if isinstance(event, BookDelta) else 1


def event_bytes(event: Event) -> int:
    """Return roughly how much memory a queued event holds, for the queue's bound in bytes."""
    kind = type(event)
    if kind is Frame:
        return 256 + len(event.frame)  # type: ignore[attr-defined]
    if kind is BookDelta:
        return 256 + len(event.changes)  # type: ignore[attr-defined]
    if kind is BookSnapshot:
        return 320 + len(event.bids) + len(event.asks)  # type: ignore[attr-defined]
    return 480


def pack_levels(levels: Iterable[tuple[float, float]]) -> bytes:
    """Pack (price, size) pairs, best first.

    Examples
    --------
    >>> unpack_levels(pack_levels([(100.0, 1.5), (99.5, 2.0)]))
    [(100.0, 1.5), (99.5, 2.0)]
    """
    return b"".join([LEVEL.pack(price, size) for price, size in levels])


def unpack_levels(packed: bytes) -> list[tuple[float, float]]:
    """Return the (price, size) pairs of packed levels."""
    return list(LEVEL.iter_unpack(packed))


def pack_changes(changes: Iterable[tuple[int | None, BookSide, float, float]]) -> bytes:
    """Pack (timestamp in us or None, side, price, absolute size) changes in arrival order."""
    return b"".join([CHANGE.pack(NO_TIME if t is None else t, side == "ask", p, q) for t, side, p, q in changes])


def unpack_changes(packed: bytes) -> list[tuple[int | None, BookSide, float, float]]:
    """Return the changes of a `BookDelta` as (timestamp in us or None, side, price, absolute size)."""
    return [
        (None if t == NO_TIME else t, "ask" if side else "bid", price, size)
        for t, side, price, size in CHANGE.iter_unpack(packed)
    ]
