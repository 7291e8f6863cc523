"""The JSON of Binance's streams: fields in the order in which the exchange sends them, times in ms."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from daedalus.sandbox.binance_frames import Market
from daedalus.sandbox.instruments import padded
from daedalus.sandbox.updates import Change, Level, TickerTick, TradeTick
from daedalus.shared.events import BookSide

#: Spot writes eight decimals.
DIGITS = 8

encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a client may say."""

    method: str
    params: list[str | bool] = []
    id: int | str | None = None


decode_request = msgspec.json.Decoder(Request).decode


def text(number: str) -> str:
    """Return a price or size as spot writes it.

    Examples
    --------
    >>> text("61837.63")
    '61837.63000000'
    """
    return padded(number, DIGITS)


def levels(side: BookSide, changes: Iterable[Change]) -> list[Level]:
    """Return the changes of one side."""
    return [(text(price), text(size)) for name, price, size in changes if name == side]


def depth_update(
    symbol: str, time_ms: int, first_id: int, last_id: int, changes: Sequence[Change], market: Market
) -> dict[str, Any]:
    """Return changes of a book. Futures add the transaction time and the number that came before."""
    futures = {} if market == "spot" else {"T": time_ms}
    ids = {"U": first_id, "u": last_id} if market == "spot" else {"U": first_id, "u": last_id, "pu": first_id - 1}
    sides = {"b": levels("bid", changes), "a": levels("ask", changes)}
    return {"e": "depthUpdate", "E": time_ms, **futures, "s": symbol, **ids, **sides}


def trade(symbol: str, tick: TradeTick, market: Market, name: str = "trade") -> dict[str, Any]:
    """Return one execution, as `trade` or as an `aggTrade` of one. `m`: the buyer is the maker."""
    time_ms, ident = tick.time_us // 1000, number(tick.trade_id)
    ids = {"t": ident} if name == "trade" else {"a": ident}
    range_ = {} if name == "trade" else {"f": ident, "l": ident}
    tail = {"M": True} if market == "spot" else {"X": "MARKET"} if name == "trade" else {}
    head = {"e": name, "E": time_ms, "s": symbol, **ids, "p": text(tick.price), "q": text(tick.size)}
    return {**head, **range_, "T": time_ms, "m": tick.maker_side == "buy", **tail}


def number(ident: str) -> int:
    """Return a trade id as the number that the exchange sends; one that is none becomes some number."""
    return int(ident) if ident.isdigit() else int.from_bytes(ident.encode()[-6:], "big")


def book_ticker(symbol: str, time_ms: int, update_id: int, bid: Level, ask: Level, market: Market) -> dict[str, Any]:
    """Return the best quotes. Only futures name the event and its time."""
    quotes = {"s": symbol, "b": text(bid[0]), "B": text(bid[1]), "a": text(ask[0]), "A": text(ask[1])}
    if market == "spot":
        return {"u": update_id, **quotes}
    return {"e": "bookTicker", "u": update_id, **quotes, "T": time_ms, "E": time_ms}


def ticker(symbol: str, tick: TickerTick, time_ms: int, is_mini: bool = False) -> dict[str, Any]:
    """Return a rolling day's statistics. What the source does not know is left out."""
    opened = _open(tick)
    known: dict[str, str | None] = {"o": opened, "h": tick.high_24h, "l": tick.low_24h, "v": tick.volume_24h}
    day = {key: text(value) for key, value in known.items() if value is not None}
    if is_mini:
        return {"e": "24hrMiniTicker", "E": time_ms, "s": symbol, "c": text(tick.price), **day}
    moved: dict[str, str] = {}
    if opened is not None and tick.change_pct_24h is not None:
        moved = {"p": text(str(Decimal(tick.price) - Decimal(opened))), "P": f"{Decimal(tick.change_pct_24h):.3f}"}
    named = {"b": tick.best_bid, "B": tick.best_bid_size, "a": tick.best_ask, "A": tick.best_ask_size}
    quotes = {key: text(value) for key, value in named.items() if value is not None}
    head = {"e": "24hrTicker", "E": time_ms, "s": symbol, **moved, "c": text(tick.price)}
    return {**head, **quotes, **day, "O": time_ms - 86_400_000, "C": time_ms}


def _open(tick: TickerTick) -> str | None:
    """Return the price a day ago, which the change of a day implies."""
    if tick.change_pct_24h is None:
        return None
    return f"{Decimal(tick.price) / (1 + Decimal(tick.change_pct_24h) / 100):.8f}"


def error(code: int, message: str, ident: int | str | None = None) -> dict[str, Any]:
    """Return a complaint."""
    return {"error": {"code": code, "msg": message}, "id": ident}
