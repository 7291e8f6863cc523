"""What recorded frames of Binance are about: spot, USD-M and COIN-M.

Products are named as on the exchange, ``BTCUSDT``; those of the futures markets say so behind a dot,
``BTCUSDT.usdm``, ``BTCUSD_PERP.coinm``, since one name may trade on several.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from daedalus.recordings.base import Capture
from daedalus.sandbox.updates import BookSnapshot, Change, LevelChanges, Recorded, Told, TradeTick

Market = Literal["spot", "usdm", "coinm"]
_KINDS: dict[str, Literal["changes", "trades", "ticker"]] = {
    "depth": "changes",
    "trade": "trades",
    "aggTrade": "trades",
}
#: Settled in coin: BTCUSD_PERP, BTCUSD_240927.
_COIN_M = re.compile(r"USD_(PERP|\d{6})$")


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A frame of a combined stream; the data stays the text it is."""

    stream: str
    data: msgspec.Raw


class Depth(msgspec.Struct, frozen=True, gc=False):
    """A `depthUpdate`; spot has no transaction time `T` and no `pu`."""

    E: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    U: int = 0


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A `trade` or an `aggTrade`, whose id is `a`; `m`: the buyer is the maker."""

    T: int
    p: str
    q: str
    m: bool
    t: int | None = None
    a: int | None = None


class Answer(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The body that the REST call for the depth answers; only futures give times, only COIN-M the symbol."""

    last_update_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    symbol: str = ""
    E: int | None = msgspec.field(default=None, name="E")


_envelope = msgspec.json.Decoder(Envelope).decode
_depth = msgspec.json.Decoder(Depth).decode
_trade = msgspec.json.Decoder(Trade).decode
_answer = msgspec.json.Decoder(Answer).decode


def market_of(data: bytes, symbol: str = "") -> Market:
    """Say which market a frame's data, or a REST answer, comes from, by the fields that only one of them sends."""
    head = data[:200]
    if _COIN_M.search(symbol) or b'"pair":"' in head:
        return "coinm"
    if b'"e":"trade"' in head or b'"e":"aggTrade"' in head:
        return "spot" if b'"M":' in data else "usdm"
    is_futures = b'"pu":' in head or b'"e":"bookTicker"' in head or (b'"lastUpdateId"' in head and b'"E":' in head)
    return "usdm" if is_futures else "spot"


def product_name(symbol: str, market: Market) -> str:
    """Return the name of a product."""
    return symbol if market == "spot" else f"{symbol}.{market}"


class BinanceReader:
    """Turns captures into recorded frames. Stateful: a stream's product is worked out once."""

    def __init__(self) -> None:
        self._streams: dict[str, tuple[str, str]] = {}

    def __call__(self, capture: Capture) -> Recorded | None:
        """Return the frame, None if it is none of the market's. Raises `msgspec.DecodeError` if it is no such JSON."""
        if capture.kind == "answered":
            return _recorded_answer(capture)
        if not capture.text.startswith('{"stream"'):
            return None
        frame = _envelope(capture.text.encode())
        data = bytes(frame.data)
        product, channel = self._streams.get(frame.stream) or self._learn(frame.stream, data)
        kind = _KINDS.get(channel, "ticker")
        return Recorded(
            product=product,
            time_us=capture.received_ns // 1000,
            channel=channel,
            text=data,
            kind=kind,
            items=data.count(b'["') if kind == "changes" else 1,
            meaning=_MEANINGS.get(channel, nothing),
        )

    def _learn(self, stream: str, data: bytes) -> tuple[str, str]:
        name, channel, *_ = [*stream.split("@"), ""]
        symbol = name.upper()
        found = self._streams[stream] = product_name(symbol, market_of(data, symbol)), channel
        return found


def _recorded_answer(capture: Capture) -> Recorded | None:
    """Return the answer to a REST call for the depth; its product is empty where nothing tells."""
    text = capture.text.encode()
    if not text.startswith(b'{"lastUpdateId"'):
        return None
    answer = _answer(text)
    symbol = answer.symbol or parse_qs(urlsplit(capture.url).query).get("symbol", [""])[0]
    return Recorded(
        product=product_name(symbol, market_of(text)) if symbol else "",
        time_us=capture.received_ns // 1000,
        channel="",
        text=text,
        kind="answer",
        items=len(answer.bids) + len(answer.asks),
        meaning=book,
    )


def arrange(frames: Sequence[Recorded]) -> list[Recorded]:
    """Give REST answers their product, and say from where on changes count.

    A client keeps the changes that come before the answer and drops those that are older than it (`U` and `u`). So the
    changes before the answer mean nothing here until it comes; then those that reach beyond it do.
    """
    books = {frame.product for frame in frames if frame.kind == "changes"}
    arranged: list[Recorded] = []
    waiting: dict[str, list[int]] = {product: [] for product in books}
    for frame in frames:
        if frame.kind == "answer":
            frame = _placed(frame, books)
            early = waiting.pop(frame.product, [])
            newer = tuple(arranged[i] for i in early if _reaches(arranged[i], frame))
            for i in early:
                arranged[i] = msgspec.structs.replace(arranged[i], meaning=nothing)
            frame = msgspec.structs.replace(frame, also=newer)
        elif frame.kind == "changes" and frame.product in waiting:
            waiting[frame.product].append(len(arranged))
        arranged.append(frame)
    for index in (i for early in waiting.values() for i in early):
        arranged[index] = msgspec.structs.replace(arranged[index], meaning=nothing)
    return [frame for frame in arranged if frame.product]


def _placed(answer: Recorded, products: set[str]) -> Recorded:
    """Give an answer that names no symbol the only product of its market, if there is one only."""
    if answer.product:
        return answer
    market = market_of(answer.text)
    able = [p for p in products if (p.partition(".")[2] or "spot") == market]
    return msgspec.structs.replace(answer, product=able[0] if len(able) == 1 else "")


def _reaches(changes: Recorded, answer: Recorded) -> bool:
    """Whether changes tell more than the answer: spot numbers states, futures events (protocol pages of Binance)."""
    try:
        last = _depth(changes.text).u
    except msgspec.DecodeError:
        return False
    answered = _answer(answer.text).last_update_id
    return last > answered if market_of(answer.text) == "spot" else last >= answered


# What they say


def nothing(frame: Recorded) -> Sequence[Told]:
    """Say nothing."""
    return ()


def book(frame: Recorded) -> Sequence[Told]:
    """Read a REST answer."""
    answer = _answer(frame.text)
    time_us = None if answer.E is None else answer.E * 1000
    return (BookSnapshot(frame.product, time_us, answer.bids, answer.asks, update_id=answer.last_update_id),)


def changes(frame: Recorded) -> Sequence[Told]:
    """Read a `depthUpdate`."""
    depth = _depth(frame.text)
    told: list[Change] = [("bid", price, size) for price, size in depth.b]
    told += [("ask", price, size) for price, size in depth.a]
    return (LevelChanges(frame.product, depth.E * 1000, told, update_id=depth.u),)


def trade(frame: Recorded) -> Sequence[Told]:
    """Read a `trade` or an `aggTrade`."""
    made = _trade(frame.text)
    ident = made.t if made.t is not None else made.a
    maker = "buy" if made.m else "sell"
    return (TradeTick(frame.product, made.T * 1000, str(ident), made.p, made.q, maker),)  # type: ignore[arg-type]


_MEANINGS: dict[str, Any] = {"depth": changes, "trade": trade, "aggTrade": trade}
