"""CCXT's unified structures to Events: pure functions that refuse what is no number and invent nothing.

CCXT fills a ticker's and a trade's missing fields by computing them; the client keeps it from doing so (`ccxt_client`),
so that here a column is null unless the exchange sent it. Times come in milliseconds, numbers as floats.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite
from typing import Any

import msgspec

from daedalus.shared.errors import MalformedError
from daedalus.shared.events import Side, Ticker, Trade

#: The earliest exchange time that is believed (2009): a time in seconds lies far below it.
OLDEST_MS = 1_230_768_000_000
#: How far ahead of this machine's clock an exchange's time may be: a time in us or ns lies far above it.
AHEAD_MS_MAX = 86_400_000
#: Longest `info_json` of a row; longer ones are left out and counted.
INFO_BYTES_MAX = 8192

_TICKER_COLUMNS = {
    "bid": "bid",
    "ask": "ask",
    "bidVolume": "bid_volume",
    "askVolume": "ask_volume",
    "last": "last",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "vwap": "vwap",
    "baseVolume": "base_volume",
    "quoteVolume": "quote_volume",
    "change": "change",
    "percentage": "percentage",
}
_NUMBERS = (int, float)  # Named: a union is made anew each time it is looked at.
_COLUMNS = tuple(_TICKER_COLUMNS.items())
#: Under these names exchanges send a trade's turnover. CCXT computes it where they do not.
_COST_FIELDS = ("cost", "quoteQty", "quote_qty", "quoteVolume", "funds", "turnover", "foreignNotional")
_OPPOSITE: dict[str, Side] = {"buy": "sell", "sell": "buy"}
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}


@dataclass
class CcxtCounters:
    """What a collector saw that is no row: for statistics and logs."""

    frames: int = 0
    trades_resent: int = 0
    trades_past: int = 0
    times_refused: int = 0
    info_dropped: int = 0
    malformed: int = 0
    repeated: int = 0
    complaints: int = 0
    sequence_gaps: int = 0
    checksums_failed: int = 0
    resyncs: int = 0


@dataclass(frozen=True)
class Fields:
    """What of an exchange's own fields the columns carry, and what CCXT makes up for it.

    Attributes
    ----------
    trade, ticker
        Names that `info_json` leaves out, because a column holds the same.
    computed
        Ticker columns that CCXT's parser of this exchange computes.
    side_is_makers
        Whether CCXT passes on the maker's side of a trade.
    """

    trade: frozenset[str] = frozenset()
    ticker: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()
    side_is_makers: bool = False


def number(value: Any) -> float | None:
    """Return a float, None for None. Raises `MalformedError` for NaN, infinities (also by overflow) and non-numbers."""
    if value is None:
        return None
    try:
        made = float(value)
    except (TypeError, ValueError, OverflowError):
        raise MalformedError(f"{value!r} is not a number") from None
    if not -inf < made < inf:
        raise MalformedError(f"{value!r} is not a finite number")
    return made


def time_us(ms: Any, now_ns: int, count: CcxtCounters) -> int | None:
    """Return a time of CCXT in microseconds; None, and counted, if it cannot be one in milliseconds.

    Examples
    --------
    >>> count, now = CcxtCounters(), 1_723_161_254_000_000_000
    >>> time_us(1723161255343, now, count), time_us(1723161255, now, count), count.times_refused
    (1723161255343000, None, 1)
    """
    if ms is None:
        return None
    if isinstance(ms, _NUMBERS) and OLDEST_MS < ms < now_ns // 1_000_000 + AHEAD_MS_MAX:
        return int(ms * 1000)
    count.times_refused += 1
    return None


def info_json(info: Any, carried: frozenset[str], count: CcxtCounters) -> str | None:
    """Return the exchange's own fields that no column carries, as compact JSON."""
    if isinstance(info, dict):
        info = {name: value for name, value in info.items() if name not in carried}
    if not info:
        return None
    try:
        encoded = msgspec.json.encode(info)
    except (TypeError, ValueError, msgspec.MsgspecError):
        count.info_dropped += 1
        return None
    if len(encoded) > INFO_BYTES_MAX:
        count.info_dropped += 1
        return None
    return encoded.decode()


def trade_event(
    trade: Mapping[str, Any], now: int, exchange: str, symbol: str, fields: Fields, count: CcxtCounters
) -> Trade:
    """Turn a trade of CCXT into an event. Raises `MalformedError` when price or amount is no number."""
    info, trade_id = trade.get("info"), trade.get("id")
    side = (_OPPOSITE if fields.side_is_makers else _SIDES).get(trade.get("side") or "")
    return Trade(
        collected_at=now,
        exchange=exchange,
        symbol=symbol,
        trade_id=None if trade_id is None else str(trade_id),
        timestamp=time_us(trade.get("timestamp"), now, count),
        side=side,
        price=number(trade.get("price")),
        amount=number(trade.get("amount")),
        cost=_cost_sent(info),
        info_json=info_json(info, fields.trade, count),
    )


def _cost_sent(info: Any) -> float | None:
    if isinstance(info, dict):
        for name in _COST_FIELDS:
            if name in info:
                return number(info[name])
    return None


def ticker_event(
    ticker: Mapping[str, Any], now: int, exchange: str, symbol: str, fields: Fields, count: CcxtCounters
) -> Ticker:
    """Turn a ticker of CCXT into an event. Raises `MalformedError` when a field is no number."""
    values = {column: number(ticker.get(name)) for name, column in _COLUMNS}
    if values["close"] == values["last"]:
        values["close"] = None
    for column in fields.computed:
        values[column] = None
    return Ticker(
        collected_at=now,
        exchange=exchange,
        symbol=symbol,
        timestamp=time_us(ticker.get("timestamp"), now, count),
        info_json=info_json(ticker.get("info"), fields.ticker, count),
        **values,
    )


@lru_cache(maxsize=4096)
def _packer(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}d")


def pack_side(side: Any, depth: int) -> bytes:
    """Copy the best `depth` levels of a side of CCXT's live book into packed levels.

    A level is [price, size] and in some books a third entry, an order's id or count. Raises `MalformedError` when one
    is not finite.
    """
    top = side[:depth]
    flat: list[Any] = []
    for level in top:
        flat += level  # Half the price of `itertools.chain`.
    if len(flat) != 2 * len(top):
        flat = [value for level in top for value in level[:2]]
    try:
        packed = _packer(len(flat)).pack(*flat)
        if isfinite(sum(flat)) and len(flat) == 2 * len(top):
            return packed
    except (struct.error, TypeError, OverflowError):
        pass
    raise MalformedError(f"a level of the book is no price and size: {top!r:.200}")


def sequence_number(nonce: Any) -> int | None:
    """Return a book's sequence number; None if there is none, or none that an int64 holds."""
    return nonce if isinstance(nonce, int) and -(2**63) <= nonce < 2**63 else None
