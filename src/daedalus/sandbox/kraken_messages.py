"""The JSON of Kraken v2: numbers are JSON numbers with all their zeros, since the checksum is over their digits."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from daedalus.sandbox.binance_messages import number
from daedalus.sandbox.coinbase_messages import time_text
from daedalus.sandbox.instruments import padded
from daedalus.sandbox.okx_frames import MAKER
from daedalus.sandbox.updates import Level, TickerTick, TradeTick

#: Levels a side that the checksum is over.
CHECKSUM_LEVELS = 10
SIZE_DIGITS = 8

encode = msgspec.json.Encoder().encode
Tops = tuple[Sequence[Level], Sequence[Level]]
"""The best bids and the best asks."""


class Params(msgspec.Struct, frozen=True, gc=False):
    """What a request is about; a symbol may stand alone."""

    channel: str = ""
    symbol: list[str] | str = []
    depth: int = 10
    snapshot: bool | None = None
    event_trigger: str = "trades"

    @property
    def symbols(self) -> list[str]:
        """The symbols, each once."""
        return list(dict.fromkeys([self.symbol] if isinstance(self.symbol, str) else self.symbol))


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a client may say."""

    method: str
    params: Params = Params()
    req_id: int | None = None


decode_request = msgspec.json.Decoder(Request).decode


def at(time_us: int) -> str:
    """Return a time as text, with microseconds."""
    return time_text(time_us * 1000, 6)


def answer(method: str, result: Mapping[str, Any] | None, time_us: int, req_id: int | None) -> bytes:
    """Return the answer to a request that was understood."""
    ident = {} if req_id is None else {"req_id": req_id}
    if result is None:
        return encode({"method": method, **ident, "time_in": at(time_us), "time_out": at(time_us)})
    times = {"time_in": at(time_us), "time_out": at(time_us)}
    return encode({"method": method, **ident, "result": result, "success": True, **times})


def error(message: str, method: str, time_us: int, req_id: int | None = None, symbol: str = "") -> bytes:
    """Return a complaint."""
    ident = {} if req_id is None else {"req_id": req_id}
    named = {"symbol": symbol} if symbol else {}
    times = {"time_in": at(time_us), "time_out": at(time_us)}
    return encode({"error": message, "method": method, **ident, "success": False, **named, **times})


def status(connection_id: int) -> bytes:
    """Return what Kraken says first."""
    data = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": connection_id}
    return encode({"channel": "status", "type": "update", "data": [data]})


def push(channel: str, kind: str, data: Sequence[Mapping[str, Any]]) -> bytes:
    """Return data of a channel; `kind` is snapshot or update."""
    return encode({"channel": channel, "type": kind, "data": data})


def raw(text: str) -> msgspec.Raw:
    """Return a number that keeps its text in JSON."""
    return msgspec.Raw(text.encode())


def exact(levels: Iterable[Level], price_digits: int) -> list[Level]:
    """Return levels with the zeros that Kraken writes."""
    return [(padded(price, price_digits), padded(size, SIZE_DIGITS)) for price, size in levels]


def book(symbol: str, bids: Iterable[Level], asks: Iterable[Level], tops: Tops, time_us: int) -> dict[str, Any]:
    """Return a snapshot or an update of a book that now looks like `tops`."""
    sides = {"bids": _levels(bids), "asks": _levels(asks)}
    return {"symbol": symbol, **sides, "checksum": checksum(*tops), "timestamp": at(time_us)}


def _levels(levels: Iterable[Level]) -> list[dict[str, msgspec.Raw]]:
    return [{"price": raw(price), "qty": raw(size)} for price, size in levels]


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Return the CRC32 of the top 10, asks first: prices and sizes without the dot and without leading zeros.

    Examples
    --------
    >>> checksum([("0.5666", "4831.75496356")], [("0.5668", "4410.79769741")])
    2652227746
    """
    numbers = (text for level in (*asks[:CHECKSUM_LEVELS], *bids[:CHECKSUM_LEVELS]) for text in level)
    return zlib.crc32("".join(text.replace(".", "").lstrip("0") for text in numbers).encode())


def trade(symbol: str, tick: TradeTick, price_digits: int) -> dict[str, Any]:
    """Return one execution; `side` is the taker's."""
    return {
        "symbol": symbol,
        "side": MAKER[tick.maker_side],
        "price": raw(padded(tick.price, price_digits)),
        "qty": raw(padded(tick.size, SIZE_DIGITS)),
        "ord_type": "market",
        "trade_id": number(tick.trade_id),
        "timestamp": at(tick.time_us),
    }


def ticker(symbol: str, tick: TickerTick) -> dict[str, Any]:
    """Return quotes and a day's statistics. What the source does not know is left out."""
    known = {
        "bid": tick.best_bid,
        "bid_qty": tick.best_bid_size,
        "ask": tick.best_ask,
        "ask_qty": tick.best_ask_size,
        "last": tick.price or None,
        "volume": tick.volume_24h,
        "low": tick.low_24h,
        "high": tick.high_24h,
    }
    told = {"symbol": symbol, **{name: raw(value) for name, value in known.items() if value is not None}}
    if tick.change_pct_24h is not None:
        share = Decimal(tick.change_pct_24h) / 100
        change = Decimal(tick.price) * share / (1 + share)
        told |= {"change": raw(f"{change:.8f}"), "change_pct": raw(f"{share * 100:.2f}")}
    return told
