"""One trade or ticker of Coinbase as an event. What no column carries stays in `info_json`."""

from collections.abc import Iterable
from typing import Any

import msgspec

from daedalus.ingestion.collectors.coinbase_messages import number
from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.events import Ticker, Trade

TRADE_SIDE_IS_MAKERS = True
"""Coinbase's `side` of a trade names the maker's order (measured on its older feeds), so the aggressor took the other.
The raw value stays in `info_json`."""

_AGGRESSORS = {"BUY": "sell", "SELL": "buy"} if TRADE_SIDE_IS_MAKERS else {"BUY": "buy", "SELL": "sell"}
_TRADE_FIELDS = ("product_id", "trade_id", "price", "size", "time")
_TICKER_FIELDS = {
    "price": "last",
    "best_bid": "bid",
    "best_ask": "ask",
    "best_bid_quantity": "bid_volume",
    "best_ask_quantity": "ask_volume",
    "high_24_h": "high",
    "low_24_h": "low",
    "volume_24_h": "base_volume",
    "price_percent_chg_24_h": "percentage",
}
_NOT_OF_TICKERS = (*_TICKER_FIELDS, "type", "product_id")


def trade_row(trade: dict[str, Any], symbol: str, exchange: str, now: int) -> Trade:
    """Return a trade. Raises `MalformedError`, `ValueError` or `KeyError` when it is none."""
    return Trade(
        collected_at=now,
        exchange=exchange,
        symbol=symbol,
        trade_id=trade["trade_id"],
        timestamp=parse_rfc3339_us(trade.get("time")),
        side=_AGGRESSORS.get(trade.get("side", "")),  # type: ignore[arg-type]
        price=number(trade["price"]),
        amount=number(trade["size"]),
        info_json=_rest(trade, _TRADE_FIELDS),
    )


def ticker_row(row: dict[str, Any], symbol: str, exchange: str, timestamp: int | None, now: int) -> Ticker:
    """Return a ticker; `timestamp` is the message's, us. Raises `MalformedError` or `ValueError` when it is none."""
    values = {column: number(row[name]) for name, column in _TICKER_FIELDS.items() if row.get(name)}
    info = _rest(row, _NOT_OF_TICKERS)
    return Ticker(collected_at=now, exchange=exchange, symbol=symbol, timestamp=timestamp, info_json=info, **values)


def _rest(row: dict[str, Any], known: Iterable[str]) -> str | None:
    rest = {name: value for name, value in row.items() if name not in known}
    return msgspec.json.encode(rest).decode() if rest else None
