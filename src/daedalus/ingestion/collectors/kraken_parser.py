"""Kraken's older websocket feed (v1) to Events: trades, ticker, spread, books. A pure function of frames.

Frames are ``[channel id, data, ..., channel name, pair]``. A book's updates carry CRC32 over the ten best levels a
side, asks first, digits without dot and leading zeros; what lies beyond the subscribed depth is nobody's to remove, so
it goes here. Trades have no ids.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any
from zlib import crc32

import msgspec

from daedalus.ingestion.collectors.frame_parser import FrameParser, ParserSettings
from daedalus.ingestion.collectors.market_books import levels, pack
from daedalus.ingestion.collectors.text_books import TextBook
from daedalus.shared.book import OrderBook
from daedalus.shared.events import CHANGE, NO_TIME, Event, Side

CHECKED_LEVELS = 10
_SIDES: dict[str, Side] = {"b": "buy", "s": "sell"}
_US = Decimal(1_000_000)
_TICKER = {"a": ("ask", 0), "b": ("bid", 0), "c": ("last", 0), "v": ("base_volume", 1), "p": ("vwap", 1)}
_MORE = {"l": ("low", 1), "h": ("high", 1), "o": ("open", 1)}

_decode = msgspec.json.Decoder().decode


class KrakenParser(FrameParser):
    """Turns the v1 feed's frames into events."""

    def __init__(self, settings: ParserSettings) -> None:
        super().__init__(settings)
        self._texts: dict[str, TextBook] = {}

    def _read(self, text: str, now: int) -> Iterator[Event]:
        if not text.startswith("["):
            return  # Events: subscriptions, heartbeats, the system's state.
        frame = _decode(text)
        channel, pair = frame[-2], frame[-1]
        symbol = self.settings.name(pair)
        if channel == "trade":
            for trade in frame[1]:
                yield from self._one_trade(symbol, trade, now)
        elif channel.startswith("book-"):
            yield from self._book(symbol, frame[1:-2], int(channel.removeprefix("book-")), now)
        elif channel == "ticker":
            yield from self._one_ticker(symbol, frame[1], now)
        elif channel == "spread":
            bid, ask, at, bid_volume, ask_volume = frame[1]
            values = {"bid": bid, "ask": ask, "bid_volume": bid_volume, "ask_volume": ask_volume}
            yield from self._ticker(symbol, now, values, timestamp=self._at(at, now), info=None)

    def _at(self, seconds: str, now: int) -> int | None:
        micros = int(Decimal(seconds) * _US)
        return None if self._time_us(micros // 1000, now) is None else micros

    def _one_trade(self, symbol: str, trade: Sequence[str], now: int) -> Iterator[Event]:
        price, amount, at, side, order_type, misc = trade
        return self._trade(
            symbol,
            now,
            trade_id=None,
            timestamp=self._at(at, now),
            side=_SIDES.get(side),
            price=price,
            amount=amount,
            info={"order_type": order_type, **({"misc": misc} if misc else {})},
        )

    def _one_ticker(self, symbol: str, row: dict[str, Any], now: int) -> Iterator[Event]:
        """Take a ticker: pairs of today's and of the last 24 hours' values, of which the latter count."""
        values = {column: row[name][at] for name, (column, at) in {**_TICKER, **_MORE}.items()}
        values |= {"ask_volume": row["a"][2], "bid_volume": row["b"][2]}
        return self._ticker(symbol, now, values, timestamp=None, info=None)

    # -- books --------------------------------------------------------------------------------------------------------

    def _book(self, symbol: str, parts: Sequence[dict[str, Any]], depth: int, now: int) -> Iterator[Event]:
        data = {name: value for part in parts for name, value in part.items()}
        is_snapshot = "as" in data
        names = ("bs", "as") if is_snapshot else ("b", "a")
        bids, asks = (data.get(name, []) for name in names)
        # Times are texts of one length, so that they compare as they stand.
        time_us = self._at(max((level[2] for level in (*bids, *asks)), default="0"), now)
        changes = pack(levels(bids), levels(asks), time_us)
        texts, market = self._texts.setdefault(symbol, TextBook()), self.books.market(symbol)
        texts.take(bids, asks, is_snapshot=is_snapshot)
        at = NO_TIME if time_us is None else time_us
        far = [CHANGE.pack(at, side, price, 0.0) for side, price in texts.beyond(depth)]
        take = self.books.snapshot if is_snapshot else self.books.update
        yield from take(symbol, changes + b"".join(far), now, time_us=time_us)
        if market.valid and "c" in data:
            made = checksum(texts, market.book)
            if made != int(data["c"]):
                self.count.checksums_failed += 1
                words = f"checksum {made} where the exchange says {data['c']}"
                yield from self.books.lost([symbol], now=now, reason="checksum", detail=words)


def checksum(texts: TextBook, book: OrderBook) -> int:
    """Return the checksum of a book's best levels, as Kraken counts it."""
    bids, asks = texts.top(book, CHECKED_LEVELS)
    return crc32("".join(_digits(part) for level in (*asks, *bids) for part in level).encode())


def _digits(number: str) -> str:
    return number.replace(".", "").lstrip("0")
