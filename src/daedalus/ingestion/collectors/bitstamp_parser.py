"""Bitstamp's two feeds to Events: websocket v2 frames, and the log of the former feed. Pure functions of text.

v2: diffs of a book carry times and no numbers, so a lost one shows nowhere; they join the REST snapshot by
`microtimestamp`. The former feed sent tops of the book without a time, and trades without time or side.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.ccxt_events import Fields
from daedalus.ingestion.collectors.frame_parser import FrameParser, ParserSettings
from daedalus.ingestion.collectors.market_books import levels, pack
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import Event, Side

#: Diffs that wait for a snapshot at most.
WAITING_MAX = 10_000
_SIDES: dict[int, Side] = {0: "buy", 1: "sell"}


class _Frame(msgspec.Struct, gc=False):
    channel: str = ""
    event: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Book(msgspec.Struct, gc=False):
    bids: list[list[str]]
    asks: list[list[str]]
    microtimestamp: str | None = None


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_book = msgspec.json.Decoder(_Book).decode
_decode_dict = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass
class _Depth:
    """Diffs that wait for a snapshot, and the time of the one that came."""

    snapshot_us: int | None = None
    waiting: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=WAITING_MAX))
    since: int = 0
    until: int = 0


class BitstampParser(FrameParser):
    """Turns v2 frames, and answers to the REST request for the book, into events."""

    is_checked = False
    fields = Fields(
        trade=frozenset(("id", "timestamp", "microtimestamp", "amount", "amount_str", "price", "price_str", "type"))
    )

    def __init__(self, settings: ParserSettings) -> None:
        super().__init__(settings)
        self._depth: dict[str, _Depth] = {}

    def interrupted(self, since: int, now: int, detail: str, streams: Collection[Stream] | None = None) -> list[Event]:
        """Enter an interval in which nothing was recorded: the books need new snapshots."""
        for symbol, _ in self.streams() if streams is None else streams:
            self._depth.pop(symbol, None)
        return super().interrupted(since, now, detail, streams)

    def finish(self, now: int, detail: str) -> list[Event]:
        """End the recording, and say of which books there was no snapshot."""
        rows: list[Event] = []
        for symbol, depth in self._depth.items():
            if depth.snapshot_us is None:
                words = f"{symbol}: no snapshot of the book in the recording, so no depth is published"
                self.notes.append(words)
                streams = self.books.streams([symbol])
                rows += self.gaps.open(streams, since=depth.since, now=depth.until, reason="sequence_gap", detail=words)
                rows += self.gaps.close(streams, depth.until)
        return [*rows, *super().finish(now, detail)]

    def _read(self, text: str, now: int) -> Iterator[Event]:
        frame = _decode_frame(text)
        kind, _, pair = frame.channel.rpartition("_")
        if frame.event == "trade" and kind == "live_trades":
            yield from self._one_trade(self.settings.name(pair), _decode_dict(frame.data), now)
        elif frame.event == "data" and kind == "diff_order_book":
            yield from self._diff(self.settings.name(pair), _decode_book(frame.data), now)
        elif frame.event == "data" and kind == "order_book":
            raw = _decode_book(frame.data)
            bids, asks = levels(raw.bids), levels(raw.asks)
            yield from self.books.top(self.settings.name(pair), bids, asks, now, time_us=_micros(raw))

    def _one_trade(self, symbol: str, trade: dict[str, Any], now: int) -> Iterator[Event]:
        micros = trade.get("microtimestamp")
        return self._trade(
            symbol,
            now,
            trade_id=str(trade["id"]),
            timestamp=int(micros) if micros else None,
            side=_SIDES.get(trade["type"]),
            price=trade.get("price_str", trade["price"]),
            amount=trade.get("amount_str", trade["amount"]),
            info=trade,
        )

    # -- books --------------------------------------------------------------------------------------------------------

    def _diff(self, symbol: str, raw: _Book, now: int) -> Iterator[Event]:
        micros = _micros(raw)
        if micros is None:
            raise MalformedError("a diff without microtimestamp")
        changes = pack(levels(raw.bids), levels(raw.asks), micros)
        depth = self._depth.setdefault(symbol, _Depth(since=now))
        depth.until = now
        if depth.snapshot_us is None:
            depth.waiting.append((micros, changes))
        elif micros > depth.snapshot_us:
            yield from self.books.update(symbol, changes, now, time_us=micros)

    def _read_answer(self, url: str, text: str, now: int) -> Iterator[Event]:
        path = urlsplit(url).path.strip("/").split("/")
        if len(path) < 2 or path[-2] != "order_book":
            return
        raw, symbol = _decode_book(text), self.settings.name(path[-1])
        micros = _micros(raw)
        if micros is None:
            raise MalformedError("a snapshot without microtimestamp")
        depth = self._depth.setdefault(symbol, _Depth(since=now, until=now))
        changes = pack(levels(raw.bids), levels(raw.asks), micros)
        yield from self.books.snapshot(symbol, changes, now, time_us=micros)
        depth.snapshot_us = micros
        for at, waited in depth.waiting:
            if at > micros:
                yield from self.books.update(symbol, waited, now, time_us=at)
        depth.waiting.clear()


class BitstampLogParser(FrameParser):
    """Turns lines of the former feed, ``<event> <json>``, into events. They name no market: `settings.name("")` does.

    The log's single orders (`order_created` and the like) start without a full book: `order_book` is the book.
    """

    is_checked = False
    fields = Fields(trade=frozenset(("id", "price", "amount")))

    def _read(self, text: str, now: int) -> Iterator[Event]:
        kind, _, body = text.partition(" ")
        symbol = self.settings.name("")
        if kind == "order_book":
            raw = _decode_book(body)
            yield from self.books.top(symbol, levels(raw.bids), levels(raw.asks), now)
        elif kind == "trade":
            trade = _decode_dict(body)
            yield from self._trade(
                symbol,
                now,
                trade_id=str(trade["id"]),
                timestamp=None,
                side=None,
                price=trade["price"],
                amount=trade["amount"],
                info=trade,
            )


def _micros(raw: _Book) -> int | None:
    return int(raw.microtimestamp) if raw.microtimestamp else None
