"""What recorded frames of OKX v5 are about. Products are `instId`s: ``BTC-USDT``, ``BTC-USD-220527``."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Literal

import msgspec

from daedalus.recordings.base import Capture
from daedalus.sandbox.updates import BookSnapshot, Change, LevelChanges, Recorded, Told, TradeTick
from daedalus.shared.events import Side


class _Arg(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    channel: str = ""
    inst_id: str = ""


class _Frame(msgspec.Struct, frozen=True, gc=False):
    arg: _Arg = _Arg()
    action: str = ""
    data: list[msgspec.Raw] = []


class _Book(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    ts: str
    bids: list[list[str]] = []
    asks: list[list[str]] = []
    seq_id: int | None = None


class _Trade(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    trade_id: str
    px: str
    sz: str
    side: Side
    ts: str


_frame = msgspec.json.Decoder(_Frame).decode
_book = msgspec.json.Decoder(_Book).decode
_trade = msgspec.json.Decoder(_Trade).decode

#: The maker's side of a trade, by the taker's, which OKX sends.
MAKER: MappingProxyType[Side, Side] = MappingProxyType({"buy": "sell", "sell": "buy"})
_Kind = Literal["snapshot", "changes", "trades", "ticker"]
_KINDS: MappingProxyType[str, _Kind] = MappingProxyType(
    {"snapshot": "snapshot", "update": "changes", "books5": "snapshot", "trades": "trades", "trades-all": "trades"}
)


def read(capture: Capture) -> Recorded | None:
    """Return the frame, None if it is none of the market's. Raises `msgspec.DecodeError` if it is no such JSON."""
    if capture.kind != "received" or not capture.text.startswith("{"):
        return None
    text = capture.text.encode()
    frame = _frame(text)
    if not frame.data or not frame.arg.inst_id:
        return None
    kind = _KINDS.get(frame.action or frame.arg.channel, "ticker")
    return Recorded(
        product=frame.arg.inst_id,
        time_us=capture.received_ns // 1000,
        channel=frame.arg.channel,
        text=text,
        kind=kind,
        items=text.count(b'["') if kind in ("snapshot", "changes") else len(frame.data),
        meaning=_MEANINGS.get(frame.arg.channel, nothing),
    )


def nothing(frame: Recorded) -> Sequence[Told]:
    """Say nothing."""
    return ()


def books(frame: Recorded) -> Sequence[Told]:
    """Read a snapshot or an update of the full channel."""
    told: list[Told] = []
    for raw in _frame(frame.text).data:
        book = _book(raw)
        bids, asks = [(level[0], level[1]) for level in book.bids], [(level[0], level[1]) for level in book.asks]
        time_us = int(book.ts) * 1000
        if frame.kind == "snapshot":
            told.append(BookSnapshot(frame.product, time_us, bids, asks, update_id=book.seq_id))
        else:
            changes: list[Change] = [("ask", price, size) for price, size in asks]
            changes += [("bid", price, size) for price, size in bids]
            told.append(LevelChanges(frame.product, time_us, changes, update_id=book.seq_id))
    return told


def trades(frame: Recorded) -> Sequence[Told]:
    """Read trades."""
    made = [_trade(raw) for raw in _frame(frame.text).data]
    return [TradeTick(frame.product, int(t.ts) * 1000, t.trade_id, t.px, t.sz, MAKER[t.side]) for t in made]


_MEANINGS: MappingProxyType[str, Callable[[Recorded], Sequence[Told]]] = MappingProxyType(
    {"books": books, "trades": trades, "trades-all": trades}
)
