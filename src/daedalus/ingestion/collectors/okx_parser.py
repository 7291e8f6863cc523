"""OKX v5 public frames to Events: trades, tickers, books. A pure function of frames.

An update of a book names its forerunner (`prevSeqId`); recordings of before 2023 carry a checksum instead: CRC32, as a
signed number, over price:size of the 25 best levels, bids and asks in turn. Sizes of derivatives are contracts.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any
from zlib import crc32

import msgspec

from daedalus.ingestion.collectors.ccxt_venues import venue_of
from daedalus.ingestion.collectors.frame_parser import FrameParser, ParserSettings
from daedalus.ingestion.collectors.market_books import levels, pack
from daedalus.ingestion.collectors.text_books import TextBook
from daedalus.shared.book import OrderBook
from daedalus.shared.events import Event, Side

CHECKED_LEVELS = 25
_BOOKS = ("books", "books-l2-tbt", "books50-l2-tbt")
_TOPS = ("books5", "bbo-tbt")
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_TICKER = {
    "last": "last",
    "askPx": "ask",
    "askSz": "ask_volume",
    "bidPx": "bid",
    "bidSz": "bid_volume",
    "open24h": "open",
    "high24h": "high",
    "low24h": "low",
    "vol24h": "base_volume",
}


class _Arg(msgspec.Struct, frozen=True, gc=False):
    channel: str = ""
    instId: str = ""  # noqa: N815 (the exchange's spelling)


class _Frame(msgspec.Struct, gc=False):
    arg: _Arg = _Arg()
    action: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


class _Book(msgspec.Struct, gc=False):
    asks: list[list[str]]
    bids: list[list[str]]
    ts: str
    checksum: int | None = None
    seqId: int | None = None  # noqa: N815
    prevSeqId: int | None = None  # noqa: N815


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_books = msgspec.json.Decoder(list[_Book]).decode
_decode_dicts = msgspec.json.Decoder(list[dict[str, Any]]).decode


class OkxParser(FrameParser):
    """Turns OKX's frames into events."""

    fields = venue_of("okx").fields

    def __init__(self, settings: ParserSettings) -> None:
        super().__init__(settings)
        self._texts: dict[str, TextBook] = {}

    def _read(self, text: str, now: int) -> Iterator[Event]:
        if text[:1] != "{":
            return  # "pong"
        frame = _decode_frame(text)
        channel, data = frame.arg.channel, bytes(frame.data)
        if data == b"[]":
            return
        if channel in ("trades", "trades-all"):
            for trade in _decode_dicts(data):
                yield from self._one_trade(trade, now)
        elif channel == "tickers":
            for row in _decode_dicts(data):
                yield from self._one_ticker(row, now)
        elif channel in _BOOKS or channel in _TOPS:
            symbol = self.settings.name(frame.arg.instId)
            for book in _decode_books(data):
                yield from self._book(symbol, book, frame.action, now, is_top=channel in _TOPS)

    def _one_trade(self, trade: dict[str, Any], now: int) -> Iterator[Event]:
        return self._trade(
            self.settings.name(trade["instId"]),
            now,
            trade_id=trade["tradeId"],
            timestamp=self._time_us(int(trade["ts"]), now),
            side=_SIDES.get(trade["side"]),
            price=trade["px"],
            amount=trade["sz"],
            info=trade,
        )

    def _one_ticker(self, row: dict[str, Any], now: int) -> Iterator[Event]:
        values = {column: row.get(name) or None for name, column in _TICKER.items()}
        if row.get("instType") == "SPOT":
            values["quote_volume"] = row.get("volCcy24h") or None
        timestamp = self._time_us(int(row["ts"]), now)
        return self._ticker(self.settings.name(row["instId"]), now, values, timestamp=timestamp, info=row)

    # -- books --------------------------------------------------------------------------------------------------------

    def _book(self, symbol: str, raw: _Book, action: str, now: int, *, is_top: bool) -> Iterator[Event]:
        bids, asks, time_us = levels(raw.bids), levels(raw.asks), self._time_us(int(raw.ts), now)
        if is_top:
            yield from self.books.top(symbol, bids, asks, now, time_us=time_us, nonce=raw.seqId)
            return
        market = self.books.market(symbol)
        texts = self._texts.setdefault(symbol, TextBook())
        is_snapshot = action == "snapshot"
        if not is_snapshot and market.valid:
            yield from self._hole(symbol, raw, market.nonce, now)
        texts.take(raw.bids, raw.asks, is_snapshot=is_snapshot)
        changes = pack(bids, asks, time_us, asks_first=not is_snapshot)
        take = self.books.snapshot if is_snapshot else self.books.update
        events = take(symbol, changes, now, time_us=time_us, nonce=raw.seqId)
        yield from events
        if market.valid and raw.checksum:
            made = checksum(texts, market.book)
            if made != raw.checksum:
                self.count.checksums_failed += 1
                words = f"checksum {made} where the exchange says {raw.checksum}"
                yield from self.books.lost([symbol], now=now, reason="checksum", detail=words)

    def _hole(self, symbol: str, raw: _Book, last: int | None, now: int) -> Iterator[Event]:
        if last is None or raw.prevSeqId is None or raw.prevSeqId in (-1, last):
            return
        self.count.sequence_gaps += 1
        words = f"prevSeqId {raw.prevSeqId} where {last} was due"
        yield from self.books.lost([symbol], now=now, reason="sequence_gap", detail=words)


def checksum(texts: TextBook, book: OrderBook) -> int:
    """Return the checksum of a book's best levels, as OKX counts it."""
    pairs = zip_longest(*texts.top(book, CHECKED_LEVELS))
    words = [":".join(level) for pair in pairs for level in pair if level is not None]
    made = crc32(":".join(words).encode())
    return made - (1 << 32) if made >= 1 << 31 else made
