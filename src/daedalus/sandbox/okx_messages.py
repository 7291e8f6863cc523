"""The JSON of OKX v5: fields in the order in which the exchange sends them, numbers and times (ms) as text."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import msgspec

from daedalus.sandbox.okx_frames import MAKER
from daedalus.sandbox.updates import Level, TickerTick, TradeTick

#: Levels a side that the former checksum was over.
CHECKSUM_LEVELS = 25

encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a client may say, but for the text "ping"."""

    op: str
    args: list[dict[str, Any]] = []


decode_request = msgspec.json.Decoder(Request).decode


def event(name: str, arg: Mapping[str, Any], conn_id: str) -> bytes:
    """Return the answer to one argument of a request."""
    return encode({"event": name, "arg": arg, "connId": conn_id})


def error(code: str, message: str, conn_id: str) -> bytes:
    """Return a complaint."""
    return encode({"event": "error", "msg": message, "code": code, "connId": conn_id})


def push(arg: Mapping[str, Any], data: Sequence[Mapping[str, Any]], action: str = "") -> bytes:
    """Return data of a channel; only books that are kept up to date name an action."""
    return encode({"arg": arg, **({"action": action} if action else {}), "data": data})


def levels(levels: Iterable[Level]) -> list[tuple[str, str, str, str]]:
    """Return levels as OKX writes them: price, size, a zero, and the number of orders, which nobody knows here."""
    return [(price, size, "0", "1") for price, size in levels]


def removed(levels: Iterable[Level]) -> list[tuple[str, str, str, str]]:
    """Return the removal of levels."""
    return [(price, "0", "0", "0") for price, _ in levels]


def trade(tick: TradeTick) -> dict[str, Any]:
    """Return one execution; `side` is the taker's."""
    return {
        "instId": tick.product,
        "tradeId": tick.trade_id,
        "px": tick.price,
        "sz": tick.size,
        "side": MAKER[tick.maker_side],
        "ts": str(tick.time_us // 1000),
        "count": "1",
    }


def ticker(tick: TickerTick, inst_type: str) -> dict[str, str]:
    """Return a rolling day's statistics; what the source does not know is empty."""
    opened = ""
    if tick.change_pct_24h is not None:
        opened = f"{Decimal(tick.price) / (1 + Decimal(tick.change_pct_24h) / 100):.8f}".rstrip("0").rstrip(".")
    turnover = "" if tick.volume_24h is None else f"{Decimal(tick.volume_24h) * Decimal(tick.price):.4f}"
    return {
        "instType": inst_type,
        "instId": tick.product,
        "last": tick.price,
        "lastSz": "",
        "askPx": tick.best_ask or "",
        "askSz": tick.best_ask_size or "",
        "bidPx": tick.best_bid or "",
        "bidSz": tick.best_bid_size or "",
        "open24h": opened,
        "high24h": tick.high_24h or "",
        "low24h": tick.low_24h or "",
        "sodUtc0": "",
        "sodUtc8": "",
        "volCcy24h": turnover,
        "vol24h": tick.volume_24h or "",
        "ts": str(tick.time_us // 1000),
    }


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Return the checksum that OKX sent until 2026: signed CRC32 of the top 25 levels, bid and ask in turn.

    Examples
    --------
    >>> checksum([("3366.1", "7")], [("3366.8", "9"), ("3368", "8")]) == checksum([("3366.1", "7")], [("3366.8", "9")])
    False
    """
    pairs = zip_longest(bids[:CHECKSUM_LEVELS], asks[:CHECKSUM_LEVELS])
    parts = [number for pair in pairs for level in pair if level for number in level]
    value = zlib.crc32(":".join(parts).encode())
    return value - 2**32 if value >= 2**31 else value
