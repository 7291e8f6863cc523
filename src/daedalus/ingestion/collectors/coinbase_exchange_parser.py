"""The older Coinbase Exchange feed to Events: level2, matches and ticker. A pure function of messages.

Two forms of the same feed: websocket frames (`feed`), and sessions that a reader has typed already (`take`). `side` of
a match is the maker's; changes of a book are not numbered, so a lost one shows nowhere but in the trade ids.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from daedalus.ingestion.collectors.ccxt_events import Fields
from daedalus.ingestion.collectors.frame_parser import FrameParser, ParserSettings
from daedalus.ingestion.collectors.market_books import levels, pack
from daedalus.recordings.base import Book, Changes, Match, Message
from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.events import CHANGE, NO_TIME, Event, Side

_AGGRESSOR: dict[str, Side] = {"buy": "sell", "sell": "buy"}
_SIDES = {"buy": 0, "sell": 1, "bid": 0, "ask": 1}
_TICKER = {
    "price": "last",
    "best_bid": "bid",
    "best_ask": "ask",
    "best_bid_size": "bid_volume",
    "best_ask_size": "ask_volume",
    "open_24h": "open",
    "high_24h": "high",
    "low_24h": "low",
    "volume_24h": "base_volume",
}


class _Kind(msgspec.Struct, gc=False):
    type: str = ""


class _Snapshot(msgspec.Struct, gc=False):
    product_id: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    time: str | None = None


class _Update(msgspec.Struct, gc=False):
    product_id: str
    changes: list[tuple[str, str, str]]
    time: str | None = None


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_update = msgspec.json.Decoder(_Update).decode
_decode_dict = msgspec.json.Decoder(dict[str, Any]).decode


class CoinbaseExchangeParser(FrameParser):
    """Turns the older feed's messages into events."""

    consecutive_ids = True
    is_checked = False
    fields = Fields(
        trade=frozenset(("type", "product_id", "trade_id", "price", "size", "time")),
        ticker=frozenset(("type", "product_id", "time", *_TICKER)),
    )

    def __init__(self, settings: ParserSettings) -> None:
        super().__init__(settings)
        self._handlers: dict[str, Callable[[str, int], Iterator[Event]]] = {
            "snapshot": self._snapshot_frame,
            "l2update": self._update_frame,
            "match": self._match_frame,
            "last_match": self._match_frame,
            "ticker": self._ticker_frame,
        }

    def _read(self, text: str, now: int) -> Iterator[Event]:
        handler = self._handlers.get(_decode_kind(text).type)
        if handler is not None:
            yield from handler(text, now)

    def _typed(self, message: Message, now: int) -> Iterator[Event]:
        match message:
            case Book():
                yield from self._book(message.product, message.bids, message.asks, message.time_us, now)
            case Changes():
                yield from self._changes(message.product, message.changes, message.time_us, now)
            case Match():
                yield from self._match(
                    {
                        "product_id": message.product,
                        "trade_id": message.trade_id,
                        "price": message.price,
                        "size": message.size,
                        "side": message.maker_side,
                    },
                    message.time_us,
                    message.is_past,
                    now,
                )

    # -- frames -------------------------------------------------------------------------------------------------------

    def _snapshot_frame(self, text: str, now: int) -> Iterator[Event]:
        raw = _decode_snapshot(text)
        return self._book(raw.product_id, raw.bids, raw.asks, parse_rfc3339_us(raw.time), now)

    def _update_frame(self, text: str, now: int) -> Iterator[Event]:
        raw = _decode_update(text)
        return self._changes(raw.product_id, raw.changes, parse_rfc3339_us(raw.time), now)

    def _match_frame(self, text: str, now: int) -> Iterator[Event]:
        raw = _decode_dict(text)
        return self._match(raw, parse_rfc3339_us(raw.get("time")), raw["type"] == "last_match", now)

    def _ticker_frame(self, text: str, now: int) -> Iterator[Event]:
        raw = _decode_dict(text)
        values = {column: raw.get(name) or None for name, column in _TICKER.items()}
        timestamp = parse_rfc3339_us(raw.get("time"))
        return self._ticker(self.settings.name(raw["product_id"]), now, values, timestamp=timestamp, info=raw)

    # -- meaning ------------------------------------------------------------------------------------------------------

    def _book(self, product: str, bids: Any, asks: Any, time_us: int | None, now: int) -> Iterator[Event]:
        symbol, changes = self.settings.name(product), pack(levels(bids), levels(asks), time_us)
        yield from self.books.snapshot(symbol, changes, now, time_us=time_us)

    def _changes(self, product: str, changes: Any, time_us: int | None, now: int) -> Iterator[Event]:
        """Take changes in the order in which they stand: one price may change twice."""
        at, rows = NO_TIME if time_us is None else time_us, []
        for (side, *_), (price, size) in zip(changes, levels(change[1:] for change in changes), strict=True):
            rows.append(CHANGE.pack(at, _SIDES[side], price, size))
        yield from self.books.update(self.settings.name(product), b"".join(rows), now, time_us=time_us)

    def _match(self, raw: dict[str, Any], time_us: int | None, is_past: bool, now: int) -> Iterator[Event]:
        yield from self._trade(
            self.settings.name(raw["product_id"]),
            now,
            trade_id=str(raw["trade_id"]),
            timestamp=time_us,
            side=_AGGRESSOR[raw["side"]],
            price=raw["price"],
            amount=raw["size"],
            info=raw,
            is_past=is_past,
        )
