"""What recorded frames of Kraken are about: of the v2 feed, and of v1, which is only understood, never spoken.

Products are named as v2 does, ``BTC/USD``. Numbers keep the text they have on the wire, since the checksum is of text.
"""

from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from daedalus.recordings.base import Capture
from daedalus.sandbox.okx_frames import MAKER, nothing
from daedalus.sandbox.updates import BookSnapshot, Change, Level, LevelChanges, Recorded, Told, TradeTick
from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.events import Side

#: Levels a side that a client may ask for.
DEPTHS = (10, 25, 100, 500, 1000)
_V1_NAMES = MappingProxyType({"XBT": "BTC", "XDG": "DOGE"})
_V1_SIDES: MappingProxyType[str, Side] = MappingProxyType({"b": "sell", "s": "buy"})


class _Level(msgspec.Struct, frozen=True, gc=False):
    price: msgspec.Raw
    qty: msgspec.Raw


class Book(msgspec.Struct, frozen=True, gc=False):
    """A snapshot or an update."""

    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: int
    timestamp: str | None = None

    def side(self, name: str) -> list[Level]:
        """Return the levels of a side, `bids` or `asks`, as text."""
        levels: list[_Level] = getattr(self, name)
        return [(bytes(level.price).decode(), bytes(level.qty).decode()) for level in levels]


class _Trade(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    side: Side
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: int
    timestamp: str


class _Symbol(msgspec.Struct, frozen=True, gc=False):
    symbol: str = ""


class _Frame(msgspec.Struct, frozen=True, gc=False):
    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


_frame = msgspec.json.Decoder(_Frame).decode
_symbols = msgspec.json.Decoder(list[_Symbol]).decode
decode_books = msgspec.json.Decoder(list[Book]).decode
_trades = msgspec.json.Decoder(list[_Trade]).decode


class KrakenReader:
    """Turns captures of v2 into recorded frames. Stateful: only a snapshot shows the depth that was asked for."""

    def __init__(self) -> None:
        self._depths: dict[str, int] = {}

    def __call__(self, capture: Capture) -> Recorded | None:
        """Return the frame, None if it is none of the market's. Raises `msgspec.DecodeError` if it is no JSON.

        The channel of a book has its depth behind it: ``book-10``.
        """
        frame = _read(capture)
        if frame is None or frame.channel != "book":
            return frame
        if frame.kind == "snapshot":
            (book, *_) = decode_books(_frame(frame.text).data)
            self._depths[frame.product] = depth_of(book.bids, book.asks)
        return msgspec.structs.replace(frame, channel=f"book-{self._depths.get(frame.product, DEPTHS[0])}")


def _read(capture: Capture) -> Recorded | None:
    if capture.kind != "received" or not capture.text.startswith("{"):
        return None
    text = capture.text.encode()
    frame = _frame(text)
    if frame.channel not in ("book", "trade", "ticker"):
        return None
    symbols = _symbols(frame.data)
    if not symbols or not symbols[0].symbol:
        return None
    is_book, is_trade = frame.channel == "book", frame.channel == "trade"
    book_kind: Any = "snapshot" if frame.type == "snapshot" else "changes"
    return Recorded(
        product=symbols[0].symbol,
        time_us=capture.received_ns // 1000,
        channel=frame.channel,
        text=text,
        kind=book_kind if is_book else "trades" if is_trade else "ticker",
        items=text.count(b'"qty"') if is_book or is_trade else 1,
        meaning=books if is_book else trades if is_trade else nothing,
    )


def books(frame: Recorded) -> Sequence[Told]:
    """Read a snapshot or an update. A client keeps as many levels as the snapshot has, and forgets the rest untold."""
    told: list[Told] = []
    for book in decode_books(_frame(frame.text).data):
        bids, asks, time_us = book.side("bids"), book.side("asks"), parse_rfc3339_us(book.timestamp)
        if frame.kind == "snapshot":
            told.append(BookSnapshot(frame.product, time_us, bids, asks, depth=depth_of(bids, asks)))
        else:
            told.append(LevelChanges(frame.product, time_us or frame.time_us, _changes(bids, asks)))
    return told


def trades(frame: Recorded) -> Sequence[Told]:
    """Read trades. Those of a snapshot are past."""
    return [
        TradeTick(
            frame.product,
            parse_rfc3339_us(t.timestamp) or frame.time_us,
            str(t.trade_id),
            bytes(t.price).decode(),
            bytes(t.qty).decode(),
            MAKER[t.side],
        )
        for t in _trades(_frame(frame.text).data)
    ]


def depth_of(bids: Sequence[object], asks: Sequence[object]) -> int:
    """Return the depth that a snapshot was asked with: the least that holds it."""
    return next((depth for depth in DEPTHS if max(len(bids), len(asks)) <= depth), DEPTHS[-1])


def _changes(bids: Iterable[Level], asks: Iterable[Level]) -> list[Change]:
    changes: list[Change] = [("bid", price, size) for price, size in bids]
    return changes + [("ask", price, size) for price, size in asks]


# The v1 feed: [channel id, {...}, "book-1000", "XBT/USD"], a second object where both sides change


def read_v1(capture: Capture) -> Recorded | None:
    """Return the frame of v1, None if it is none of the market's. Raises `msgspec.DecodeError` if it is no JSON."""
    if capture.kind != "received" or not capture.text.startswith("["):
        return None
    text = capture.text.encode()
    frame = msgspec.json.decode(text)
    channel, pair = str(frame[-2]).partition("-")[0], str(frame[-1])
    if channel not in ("book", "trade"):
        return None
    base, _, quote = pair.partition("/")
    return Recorded(
        product=f"{_V1_NAMES.get(base, base)}/{_V1_NAMES.get(quote, quote)}",
        time_us=capture.received_ns // 1000,
        channel=channel,
        text=text,
        kind="trades" if channel == "trade" else "snapshot" if b'"as":' in text[:64] else "changes",
        items=text.count(b'["') - (channel == "trade"),
        meaning=_V1_MEANINGS[channel],
    )


def _books_v1(frame: Recorded) -> Sequence[Told]:
    _, *parts, channel, _ = msgspec.json.decode(frame.text)
    sides = {name: levels for part in parts for name, levels in part.items()}
    bids, asks = (_levels_v1(sides, names) for names in (("bs", "b"), ("as", "a")))
    if frame.kind == "snapshot":
        depth = int(channel.partition("-")[2])
        return (BookSnapshot(frame.product, frame.time_us, bids, asks, depth=depth),)
    return (LevelChanges(frame.product, frame.time_us, _changes(bids, asks)),)


def _levels_v1(sides: dict[str, Any], names: tuple[str, str]) -> list[Level]:
    return [(str(level[0]), str(level[1])) for name in names for level in sides.get(name, ())]


def _trades_v1(frame: Recorded) -> Sequence[Told]:
    """Read trades. v1 gives no ids: they are made of the time."""
    told: list[Told] = []
    for index, (price, size, time, side, *_) in enumerate(msgspec.json.decode(frame.text)[1]):
        time_us = int(time.replace(".", "").ljust(16, "0")[:16])
        told.append(TradeTick(frame.product, time_us, str(time_us * 10 + index % 10), price, size, _V1_SIDES[side]))
    return told


_V1_MEANINGS: MappingProxyType[str, Callable[[Recorded], Sequence[Told]]] = MappingProxyType(
    {"book": _books_v1, "trade": _trades_v1}
)
