"""What a venue's own numbering says about lost messages, read from the raw frames of one connection.

CCXT tells of a gap at most that there was one, on some venues, and of none on others. A check reads the few numbers it
needs from the text (1-2 us a frame) before CCXT handles it. A frame that was sent again is no hole.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import msgspec

BOOK, TRADES, TICKER = "orderbook", "trades", "ticker"


class Hole(NamedTuple):
    """Messages that were sent and did not arrive.

    Attributes
    ----------
    channels
        What they may have carried.
    market
        The exchange's id of the market; empty means every market of the connection.
    missed
        How many, None if the numbering does not tell.
    """

    channels: tuple[str, ...]
    market: str
    missed: int | None
    detail: str


#: Returned for a frame that came before: its content is known, and must not be applied again.
REPEATED = Hole((), "", 0, "sent again")
#: Frames in a row whose number goes back before the numbering counts as begun anew.
BACKWARD_MAX = 100


class Check(Protocol):
    """One connection's numbering.

    Attributes
    ----------
    nonce
        The number of the frame that was fed last, where CCXT's book carries none.
    """

    nonce: int | None

    def feed(self, text: str) -> Hole | None:
        """Take a frame; return the hole before it, or `REPEATED`. Never raises."""

    def verify(self, book: Any) -> str | None:
        """Compare CCXT's book, just updated by the frame that was fed last, with what the venue says of it.

        Returns what does not agree, None if all does.
        """


class _Numbers:
    """The numbering of each market: what came last."""

    nonce: int | None = None

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def verify(self, book: Any) -> str | None:
        """Nothing to compare with."""
        return None


class _CoinbaseEnvelope(msgspec.Struct, gc=False):
    sequence_num: int | None = None


_decode_coinbase = msgspec.json.Decoder(_CoinbaseEnvelope).decode


class CoinbaseCheck(_Numbers):
    """`sequence_num` counts every message of the connection, over all channels and products, from 0."""

    _backward = 0

    def feed(self, text: str) -> Hole | None:
        """Take a frame; return the hole before it."""
        try:
            got = _decode_coinbase(text).sequence_num
        except msgspec.MsgspecError:
            return None
        self.nonce = got
        if got is None:
            return None
        due = self._last.get("", -1) + 1
        self._backward = self._backward + 1 if got < due else 0
        if 0 < self._backward <= BACKWARD_MAX:
            return REPEATED
        self._last[""] = got
        if got == due:
            return None
        missed = None if got < due else got - due
        return Hole((BOOK, TRADES, TICKER), "", missed, f"sequence_num {got} where {due} was due")


class _Depth(msgspec.Struct, gc=False):
    e: str = ""
    s: str = ""
    U: int | None = None
    u: int | None = None
    pu: int | None = None


class _DepthEnvelope(_Depth, gc=False):
    data: _Depth | None = None


_decode_depth = msgspec.json.Decoder(_DepthEnvelope).decode


class BinanceCheck(_Numbers):
    """Depth updates are numbered U to u: spot's U follows the last u, a future's pu equals it."""

    def feed(self, text: str) -> Hole | None:
        """Take a frame; return the hole before it."""
        if "depthUpdate" not in text[:160]:
            return None
        try:
            outer = _decode_depth(text)
        except msgspec.MsgspecError:
            return None
        update = outer.data or outer
        if update.U is None or update.u is None:
            return None
        last = self._last.get(update.s)
        if last is not None and update.u <= last:
            return None
        self._last[update.s] = update.u
        if last is None:
            return None
        if update.pu is not None:
            detail = f"pu {update.pu} where {last} was due"
            return None if update.pu == last else Hole((BOOK,), update.s, None, detail)
        if last + 1 >= update.U:
            return None
        return Hole((BOOK,), update.s, update.U - last - 1, f"U {update.U} where {last + 1} was due")


class _OkxArg(msgspec.Struct, gc=False):
    channel: str = ""
    instId: str = ""  # noqa: N815 (the exchange's spelling)


class _OkxBook(msgspec.Struct, gc=False):
    seqId: int | None = None  # noqa: N815
    prevSeqId: int | None = None  # noqa: N815


class _OkxEnvelope(msgspec.Struct, gc=False):
    arg: _OkxArg | None = None
    data: list[_OkxBook] = []


_decode_okx = msgspec.json.Decoder(_OkxEnvelope).decode


class OkxCheck(_Numbers):
    """A book update names its forerunner: `prevSeqId` is the last `seqId`. Ids jump, so a hole has no size."""

    def feed(self, text: str) -> Hole | None:
        """Take a frame; return the hole before it."""
        if text.find('"books', 0, 160) < 0:
            return None
        try:
            envelope = _decode_okx(text)
        except msgspec.MsgspecError:
            return None
        hole, arg = None, envelope.arg
        if arg is None:
            return None
        key = f"{arg.channel}:{arg.instId}"
        for book in envelope.data:
            number, previous, last = book.seqId, book.prevSeqId, self._last.get(key)
            if number is None or previous is None:
                continue
            if number == last != previous and previous != -1:
                return REPEATED
            self._last[key] = number
            if last is not None and previous != last and previous != -1:
                hole = Hole((BOOK,), arg.instId, None, f"prevSeqId {previous} where {last} was due")
        return hole


class _BybitBook(msgspec.Struct, gc=False):
    s: str = ""
    u: int | None = None


class _BybitEnvelope(msgspec.Struct, gc=False):
    topic: str = ""
    type: str = ""
    data: _BybitBook | None = None


_decode_bybit = msgspec.json.Decoder(_BybitEnvelope).decode


class BybitCheck(_Numbers):
    """`u` of a book's topic grows by 1; a snapshot starts it anew (1 after a restart of the service)."""

    def feed(self, text: str) -> Hole | None:
        """Take a frame; return the hole before it."""
        self.nonce = None
        if '"orderbook.' not in text[:160]:
            return None
        try:
            envelope = _decode_bybit(text)
        except msgspec.MsgspecError:
            return None
        book = envelope.data
        if book is None or book.u is None:
            return None
        self.nonce = book.u
        last = self._last.get(envelope.topic)
        if envelope.type == "delta" and last is not None:
            if book.u <= last:
                return REPEATED
            self._last[envelope.topic] = book.u
            if book.u > last + 1:
                return Hole((BOOK,), book.s, book.u - last - 1, f"u {book.u} where {last + 1} was due")
        self._last[envelope.topic] = book.u
        return None


class _KrakenLevel(msgspec.Struct, gc=False):
    price: msgspec.Raw
    qty: msgspec.Raw


class _KrakenBook(msgspec.Struct, gc=False):
    symbol: str
    checksum: int
    bids: list[_KrakenLevel] = []
    asks: list[_KrakenLevel] = []


class _KrakenEnvelope(msgspec.Struct, gc=False):
    type: str = ""
    data: list[_KrakenBook] = []


_decode_kraken = msgspec.json.Decoder(_KrakenEnvelope).decode
_CRC_LEVELS = 10


class KrakenCheck:
    """Each book message carries the CRC32 of the ten best levels a side, over their digits as sent.

    The digits follow from the floats and the pair's decimals, which the texts show (trailing zeros are sent). A pair
    whose very snapshot does not agree is not checked: the fault is then ours.
    """

    nonce: int | None = None

    def __init__(self) -> None:
        self._decimals: dict[str, tuple[int, int]] = {}
        self._due: dict[str, int] = {}
        self._is_snapshot = False
        self.unusable: set[str] = set()

    def feed(self, text: str) -> Hole | None:
        """Take a frame: remember its checksum."""
        self._due.clear()
        if '"book"' not in text[:64]:
            return None
        try:
            envelope = _decode_kraken(text)
        except msgspec.MsgspecError:
            return None
        self._is_snapshot = envelope.type == "snapshot"
        for book in envelope.data:
            price, qty = self._decimals.get(book.symbol, (0, 0))
            for level in (*book.bids, *book.asks):
                price, qty = max(price, _decimals(level.price)), max(qty, _decimals(level.qty))
            self._decimals[book.symbol] = (price, qty)
            self._due[book.symbol] = book.checksum
        return None

    def verify(self, book: Any) -> str | None:
        """Compare the checksum of the frame with that of CCXT's book."""
        symbol = book["symbol"]
        due = self._due.pop(symbol, None)
        if due is None or symbol in self.unusable:
            return None
        digits = self._decimals[symbol]
        made = crc32((_digits(book["asks"], *digits) + _digits(book["bids"], *digits)).encode())
        if made != due and self._is_snapshot:
            self.unusable.add(symbol)
            return None
        return None if made == due else f"checksum {made} where the exchange says {due}"


def _decimals(raw: msgspec.Raw) -> int:
    return len(bytes(raw).partition(b".")[2])


def _digits(side: Sequence[Any], price_decimals: int, qty_decimals: int) -> str:
    """Return prices and sizes of the best levels without dots and leading zeros, one after the other."""
    parts = []
    for level in side[:_CRC_LEVELS]:
        parts.append(f"{level[0]:.{price_decimals}f}".replace(".", "").lstrip("0"))
        parts.append(f"{level[1]:.{qty_decimals}f}".replace(".", "").lstrip("0"))
    return "".join(parts)
