"""Binance's market streams to Events: spot, USD-M and COIN-M futures, and Binance US. A pure function of frames.

Trades (`m`: the buyer is the maker, so the aggressor sold), bookTicker and 24hrTicker, depth diffs, and the answers to
the REST request for the depth, without which diffs build no book. Quantities of COIN-M are contracts.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.binance_depth import DepthSync, Diff, Snapshot
from daedalus.ingestion.collectors.ccxt_venues import venue_of
from daedalus.ingestion.collectors.frame_parser import FrameParser, ParserSettings
from daedalus.ingestion.collectors.market_books import levels, pack
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import Event

MarketType = Literal["spot", "usdm", "coinm"]

#: Answers that no market could be found for yet are kept, this many.
ORPHANS_MAX = 16
#: Settled in coin: BTCUSD_PERP, BTCUSD_240927.
_COIN_M = re.compile(r"USD_(PERP|\d{6})\b", re.IGNORECASE)
_QUOTES = {"b": "bid", "B": "bid_volume", "a": "ask", "A": "ask_volume"}
_STATISTICS = {
    **_QUOTES,
    "c": "last",
    "o": "open",
    "h": "high",
    "l": "low",
    "w": "vwap",
    "p": "change",
    "P": "percentage",
}


class _Frame(msgspec.Struct, gc=False):
    """A frame of a combined stream. A frame of a single one is the data itself."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Depth(msgspec.Struct, gc=False):
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    E: int | None = None
    pu: int | None = None


class _Answer(msgspec.Struct, gc=False, rename="camel"):
    """The book that the REST call answers; only futures give times, only COIN-M the symbol."""

    last_update_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    symbol: str = ""
    T: int | None = msgspec.field(default=None, name="T")


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_depth = msgspec.json.Decoder(_Depth).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_dict = msgspec.json.Decoder(dict[str, Any]).decode
_EVENT = re.compile(r'"e":\s*"(\w+)"')


def market_type(text: str) -> MarketType:
    """Say which of Binance's markets a frame or an answer comes from, by the fields that only one of them sends."""
    head = text[:240]
    if _COIN_M.search(head):
        return "coinm"
    if '"trade"' in head or '"aggTrade"' in head:
        return "spot" if '"M":' in text[-12:] else "usdm"
    if '"depthUpdate"' in head:
        return "usdm" if '"pu":' in head else "spot"
    if '"lastUpdateId"' in head:
        return "usdm" if '"E":' in head else "spot"
    return "usdm" if '"e":"bookTicker"' in head else "spot"


class BinanceParser(FrameParser):
    """Turns the frames and depth answers of one of Binance's markets into events."""

    consecutive_ids = True
    fields = venue_of("binance").fields

    def __init__(self, settings: ParserSettings) -> None:
        super().__init__(settings)
        self.depth: dict[str, DepthSync] = {}
        self._orphans: list[Snapshot] = []
        self._flows: dict[str, str] = {}

    def interrupted(self, since: int, now: int, detail: str, streams: Collection[Stream] | None = None) -> list[Event]:
        """Enter an interval in which nothing was recorded. The numbering of books will tell whether they missed any."""
        return self._open(self.streams() if streams is None else streams, since, now, "disconnect", detail)

    def finish(self, now: int, detail: str) -> list[Event]:
        """End the recording, and say of which books there was no snapshot."""
        rows: list[Event] = []
        for symbol, sync in self.depth.items():
            if sync.applied or sync.nonce is not None or sync.waiting_since is None:
                continue
            words = f"{symbol}: no snapshot of the book in the recording, so no depth is published"
            self.notes.append(words)
            streams, since = self.books.streams([symbol]), sync.waiting_since
            rows += self.gaps.open(streams, since=since, now=sync.waiting_until, reason="sequence_gap", detail=words)
            rows += self.gaps.close(streams, sync.waiting_until)
        return [*rows, *super().finish(now, detail)]

    def _read(self, text: str, now: int) -> Iterator[Event]:
        frame = _decode_frame(text)
        data = bytes(frame.data) or text.encode()
        channel = frame.stream.partition("@")[2].partition("@")[0] or _event_of(text)
        if channel in ("depth", "depthUpdate"):
            yield from self._diff(data, now)
        elif channel in ("trade", "aggTrade"):
            yield from self._trades(channel, _decode_dict(data), now)
        elif channel in ("bookTicker", "ticker", "24hrTicker"):
            yield from self._tickers(_decode_dict(data), now)

    def _trades(self, kind: str, trade: dict[str, Any], now: int) -> Iterator[Event]:
        market = trade["s"]
        if self._flows.setdefault(market, kind) != kind:
            return  # Trades and aggregate trades tell of the same executions: the kind that came first counts.
        yield from self._trade(
            self.settings.name(market),
            now,
            trade_id=str(trade["t" if kind == "trade" else "a"]),
            timestamp=self._time_us(trade["T"], now),
            side="sell" if trade["m"] else "buy",
            price=trade["p"],
            amount=trade["q"],
            info=trade,
        )

    def _tickers(self, row: dict[str, Any], now: int) -> Iterator[Event]:
        is_statistic = row.get("e") == "24hrTicker"
        values = {c: row.get(name) for name, c in (_STATISTICS if is_statistic else _QUOTES).items()}
        if is_statistic:
            inverse = _COIN_M.search(row["s"]) is not None
            values["base_volume"] = row.get("q" if inverse else "v")
            values["quote_volume"] = None if inverse else row.get("q")
        at = row.get("C", row.get("E")) if is_statistic else row.get("E")
        timestamp = self._time_us(at, now)
        yield from self._ticker(self.settings.name(row["s"]), now, values, timestamp=timestamp, info=row)

    # -- depth --------------------------------------------------------------------------------------------------------

    def _diff(self, data: bytes, now: int) -> Iterator[Event]:
        raw = _decode_depth(data)
        time_us = self._time_us(raw.E, now)
        changes = pack(levels(raw.b), levels(raw.a), time_us, asks_first=True)
        diff = Diff(raw.U, raw.u, raw.pu, time_us, changes)
        symbol = self.settings.name(raw.s)
        sync = self.depth.setdefault(symbol, DepthSync())
        if sync.nonce is None:
            yield from self._wait(symbol, sync, diff, now)
            return
        due = sync.nonce
        match sync.next(diff):
            case True:
                yield from self.books.update(symbol, diff.changes, now, time_us=time_us, nonce=diff.last)
            case False:
                yield from self._broken(symbol, sync, diff, due, now)

    def _wait(self, symbol: str, sync: DepthSync, diff: Diff, now: int) -> Iterator[Event]:
        sync.wait(diff, now)
        for snapshot in self._orphans:
            if diff.joins(snapshot.nonce):
                self._orphans.remove(snapshot)
                yield from self._joined(symbol, sync, snapshot, now)
                return

    def _broken(self, symbol: str, sync: DepthSync, diff: Diff, due: int, now: int) -> Iterator[Event]:
        self.count.sequence_gaps += 1
        numbers = (f"pu {diff.previous}", due) if diff.previous is not None else (f"U {diff.first}", due + 1)
        yield from self.books.lost(
            [symbol],
            now=now,
            reason="sequence_gap",
            missed=diff.missed_after(due),
            detail=f"{numbers[0]} where {numbers[1]} was due",
        )
        sync.break_off()
        yield from self._wait(symbol, sync, diff, now)

    def _read_answer(self, url: str, text: str, now: int) -> Iterator[Event]:
        raw = _decode_answer(text)
        snapshot = Snapshot(raw.last_update_id, self._time_us(raw.T, now), levels(raw.bids), levels(raw.asks))
        named = raw.symbol or parse_qs(urlsplit(url).query).get("symbol", [""])[0]
        symbol = self.settings.name(named) if named else self._market_of(snapshot)
        if not symbol:
            self._orphans = [*self._orphans, snapshot][-ORPHANS_MAX:]
            return
        sync = self.depth.setdefault(symbol, DepthSync())
        if sync.nonce is not None:
            return  # The book stands; a second snapshot says nothing new.
        if not sync.fits(snapshot):
            raise MalformedError(f"the snapshot {snapshot.nonce} of {symbol} is older than all diffs that wait for it")
        yield from self._joined(symbol, sync, snapshot, now)

    def _joined(self, symbol: str, sync: DepthSync, snapshot: Snapshot, now: int) -> Iterator[Event]:
        whole = sync.join(snapshot)
        yield from self.books.snapshot(symbol, whole.changes, now, time_us=whole.time_us, nonce=whole.nonce)

    def _market_of(self, snapshot: Snapshot) -> str:
        """Return the market that a snapshot without a name belongs to, as far as ids tell; empty if they do not."""
        able = {s: sync for s, sync in self.depth.items() if sync.nonce is None and sync.waiting}
        able = {s: sync for s, sync in able.items() if sync.fits(snapshot)}
        sure = [s for s, sync in able.items() if _reaches(sync.waiting, snapshot.nonce)]
        return sure[0] if len(sure) == 1 else next(iter(able)) if len(able) == 1 else ""


def _reaches(waiting: Iterable[Diff], nonce: int) -> bool:
    return any(diff.joins(nonce) for diff in waiting)


def _event_of(text: str) -> str:
    match = _EVENT.search(text, 0, 240)
    return match[1] if match else "bookTicker" if '"B":' in text[:240] and '"A":' in text[:240] else ""
