"""`Tap`: takes what CCXT's handlers make at the moment they make it, and holds it as events for the driver.

Everything here runs inside CCXT's receive loop, frame by frame: `begin`, then what the handler stores and resolves,
then `end`. So the order is that of arrival, and a live book is copied before it changes again.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Literal

import msgspec

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.ccxt_books import BookTap
from daedalus.ingestion.collectors.ccxt_buffer import EventBuffer
from daedalus.ingestion.collectors.ccxt_events import ticker_event, time_us, trade_event
from daedalus.ingestion.collectors.ccxt_losses import Losses
from daedalus.ingestion.collectors.ccxt_settings import Carried, Settings
from daedalus.ingestion.collectors.ccxt_venues import Venue
from daedalus.shared.clock import Clock
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import ALL, Frame, Gap, Ticker, Trade

#: Where in a frame an exchange says what kind of message it is.
HEAD = 400


class Tap:
    """Turns one connection's life into events.

    Parameters
    ----------
    settings
        What was asked for.
    carried
        What is known over connections; written to.
    on_broken
        Called with a symbol whose book must be had anew, and why.

    Attributes
    ----------
    wanted
        Symbols by what is watched of them: trades, orderbook, ticker, bidsasks. Set once they are known.
    live
        (symbol, what) of which something came.
    resync, probes
        See `upkeep.Taker`.
    """

    def __init__(
        self,
        settings: Settings,
        carried: Carried,
        venue: Venue,
        clock: Clock,
        on_broken: Callable[[str, str, str], None],
        on_fresh: Callable[[str], None],
    ) -> None:
        self.buffer = EventBuffer()
        self.losses = Losses(settings.exchange, carried.gaps)
        self.wanted: Mapping[str, frozenset[str]] = {}
        self.live: set[Stream] = set()
        self.frame_number = 0
        self._exchange, self._record, self._venue = settings.exchange, frozenset(settings.record), venue
        self._clock, self._gaps, self._memory, self._count = clock, carried.gaps, carried.memory, carried.counters
        self._on_broken, self._skew, self._heard = on_broken, carried.skew, carried.watchdog.heard
        self.books = BookTap(
            exchange=settings.exchange,
            record=self._record,
            depth=settings.depth,
            interval_ms=settings.interval_ms,
            buffer=self.buffer,
            gaps=carried.gaps,
            losses=self.losses,
            counters=carried.counters,
            on_fresh=on_fresh,
        )
        self.resync, self.probes = self.books.invalid, self.books.probes
        self._now: int | None = None
        self._text = ""
        self._is_past: bool | None = None
        self._first_seen: set[str] = set()
        self._trades_ns: dict[str, int] = {}
        self._asked_ns: dict[Stream, int] = {}
        self._quoted: dict[str, Ticker] = {}

    # -- frames -------------------------------------------------------------------------------------------------------

    def begin(self, text: str, now: int) -> None:
        """Begin a frame; what follows until `end` came with it."""
        self.frame_number += 1
        self._now, self._text, self._is_past = now, text, None
        if now >= self.books.due_ns:
            self.publish(now)  # Before the frame changes the books.

    def end(self) -> None:
        """End the frame."""
        if self._quoted:
            self._flush_quotes()
        self._now, self._text = None, ""
        if self._first_seen:
            self._first_seen.clear()
        self.buffer.commit()

    @property
    def text(self) -> str:
        """The frame in hand; empty between frames."""
        return self._text

    def now(self) -> int:
        """Return the receive clock of the frame in hand, or the clock's time between frames."""
        return self._clock.now_ns() if self._now is None else self._now

    def frame(self, text: str, direction: Literal["in", "out"], connection_id: str, now: int) -> None:
        """Record a frame as it is."""
        if self._gaps:
            self.buffer.extend(self._gaps.close([(ALL, "frames")], now))
        self.buffer.append(
            Frame(
                collected_at=now,
                exchange=self._exchange,
                symbol=ALL,
                connection_id=connection_id,
                direction=direction,
                frame=text,
            )
        )

    def publish(self, now: int) -> None:
        """Publish the books whose interval is over."""
        while now >= self.books.due_ns:
            try:
                self.books.due(now)
            except MalformedError as error:
                self.failed(error, [])

    def tick(self, now: int) -> None:
        """Publish what waited for its time."""
        self.publish(now)
        self.buffer.extend(self.losses.due(now))
        self.buffer.commit()

    def finish(self) -> None:
        """Publish what would have waited, at the end."""
        self.buffer.extend(self.losses.due(inf))
        self.buffer.commit()

    # -- what handlers make -------------------------------------------------------------------------------------------

    def trade(self, trade: Mapping[str, Any]) -> None:
        """Take a trade that CCXT has just parsed: once, and not as live flow what the exchange sends as past."""
        symbol = trade.get("symbol") or ""
        if symbol not in self.wanted.get("trades", ()):
            return
        self.live.add((symbol, "trades"))
        self._heard[symbol, "trades"] = self.now()
        probed = self._answered(symbol, "trades") if self.probes else None
        if "trades" not in self._record:
            return
        is_past = self._past_frame()
        if is_past and not self._memory.knows(symbol):
            self._first_seen.add(symbol)
        trade_id, skipped = trade.get("id"), 0
        if trade_id is not None:
            new = self._memory.add(symbol, str(trade_id))
            if new is None:
                self._count.trades_resent += 1
                return
            skipped = new
        if symbol in self._first_seen:
            self._count.trades_past += 1
            return
        now = self.now()
        try:
            event = trade_event(trade, now, self._exchange, symbol, self._venue.fields, self._count)
        except MalformedError as error:
            self.failed(error, [(symbol, "trades")])
            return
        self._measure(now, event.timestamp)
        self._missing_trades(symbol, skipped if self._venue.trade_ids_consecutive else 0, now)
        if probed is not None:
            self._late(event, *probed)
        self._trades_ns[symbol] = now
        self.buffer.append(event)

    def _past_frame(self) -> bool:
        """Tell whether the frame in hand carries trades of the past."""
        if self._is_past is None:
            marker = self._venue.past_trades
            self._is_past = marker is not None and marker.search(self._text, 0, HEAD) is not None
        return self._is_past

    def _missing_trades(self, symbol: str, skipped: int, now: int) -> None:
        """Enter a jump in the ids, as the size of the gap that was open, or as a gap of its own."""
        stream = (symbol, "trades")
        closed = self._gaps.close([stream], now) if self._gaps else []
        if closed and skipped:
            closed = [msgspec.structs.replace(row, missed=skipped) for row in closed]
        elif skipped:
            self._count.sequence_gaps += 1
            detail = f"trade ids jump by {skipped + 1}"
            since = self._trades_ns.get(symbol, now)
            closed = self.losses.rows(
                [stream], since=since, now=now, reason="sequence_gap", missed=skipped, detail=detail
            )
        self.buffer.extend(closed)

    def _measure(self, now: int, exchange_us: int | None) -> None:
        """Let the clocks be compared by what came in a frame just now."""
        if self._now is not None and self._skew.is_due(now):
            self._skew.add(now, exchange_us)

    def probe(self, stream: Stream, book: Any) -> None:
        """Note that a silent stream is asked for anew; `book` is what the symbol's is like, None if there is none."""
        if stream[1] == "orderbook":
            self.books.probe(stream[0], book)
        else:
            self._asked_ns.setdefault(stream, self._clock.now_ns())

    def is_missing(self, channel: str, symbol: str) -> bool:
        """Tell whether a book has a hole, or a stream is silent."""
        return (symbol, channel) in self.probes or (channel == "orderbook" and symbol in self.resync)

    def _answered(self, symbol: str, channel: str) -> tuple[int, int] | None:
        """Take a stream that speaks out of those that are silent; return since when, and when it was asked for."""
        since, asked = self.probes.pop((symbol, channel), None), self._asked_ns.pop((symbol, channel), None)
        return None if since is None or asked is None else (since, asked)

    def _late(self, event: Trade, since: int, asked: int) -> None:
        """Enter that a silent stream was not quiet: what it tells of at last had happened before it was asked for."""
        reading = self._skew.reading()
        offset_us = reading.offset_ms * 1000 if reading else 0.0
        if event.timestamp is not None and event.timestamp + offset_us < asked / 1000:
            stream, detail = (event.symbol, "trades"), "trades had happened while nothing came"
            rows = self.losses.ended([stream], since=since, now=event.collected_at, reason="stall", detail=detail)
            self.buffer.extend(rows)

    def ticker(self, ticker: Any, kind: Literal["ticker", "bidsasks"]) -> None:
        """Take a ticker, or best quotes alone, that CCXT has just stored."""
        symbol = (ticker.get("symbol") or "") if isinstance(ticker, Mapping) else ""
        if kind == "ticker" and symbol not in self.wanted.get(kind, ()):
            kind = "bidsasks"  # Kraken's quotes are tickers, only more of them.
        if symbol not in self.wanted.get(kind, ()):
            return
        self.live.add((symbol, kind))
        self._heard[symbol, kind] = self.now()
        if self.probes:
            self._answered(symbol, kind)
        if "ticker" not in self._record:
            return
        try:
            event = ticker_event(ticker, self.now(), self._exchange, symbol, self._venue.fields, self._count)
        except MalformedError as error:
            self.failed(error, [(symbol, "ticker")])
            return
        if kind == "bidsasks" and self._now is not None:
            # Some venues make both of one frame, the quotes first: the ticker then says it all.
            self._quoted[symbol] = event
            return
        self._quoted.pop(symbol, None)
        self._ticker(event)

    def _flush_quotes(self) -> None:
        for event in self._quoted.values():
            self._ticker(event)
        self._quoted.clear()

    def _ticker(self, event: Ticker) -> None:
        self._measure(event.collected_at, event.timestamp)
        if self._gaps:
            self.buffer.extend(self._gaps.close([(event.symbol, "ticker")], event.collected_at))
        self.buffer.append(event)

    def book(self, symbol: str, book: Any, message_hash: str, nonce: int | None, came_ns: int | None = None) -> None:
        """Take a book that CCXT has just changed; `came_ns` is when what it was made of came, if not with a frame."""
        if symbol not in self.wanted.get("orderbook", ()):
            return
        stream = (symbol, "orderbook")
        self.live.add(stream)
        now = came_ns if came_ns is not None and self._now is None else self.now()
        self._heard[stream] = now
        if self._now is not None and self._skew.is_due(now):
            self._skew.add(now, time_us(book["timestamp"], now, self._count))
        try:
            self.books.updated(symbol, book, message_hash, self.frame_number, now, nonce)
        except MalformedError as error:
            self.failed(error, [])
            self._on_broken(symbol, "parse_error", str(error))
        if self._now is None:
            # Outside of a frame: a snapshot by REST.
            self.frame_number += 1
            self.buffer.commit()

    # -- losses -------------------------------------------------------------------------------------------------------

    def failed(self, error: BaseException, streams: Iterable[Stream]) -> None:
        """Enter the frame in hand as one that could not be read, and the streams that it was about."""
        self._count.malformed += 1
        head = self._text[:200]
        detail = f"{type(error).__name__}: {error!s:.300}; frame of {len(self._text)} characters begins {head!r}"
        recorded = [s for s in streams if s[1] in self._record]
        self.buffer.extend(self.losses.failed(f"{type(error).__name__} {error!s:.60}", detail, recorded, self.now()))

    def lost(
        self, streams: Iterable[Stream], *, since: int | None, reason: str, missed: int | None, detail: str
    ) -> list[Gap]:
        """Enter a loss on the streams that are recorded, from `since` or from the last row known to be whole."""
        now, rows = self.now(), []
        for symbol, channel in streams:
            if channel not in self._record:
                continue
            start = since if since is not None else self._last_ns(symbol, channel, now)
            rows += self.losses.rows(
                [(symbol, channel)], since=start, now=now, reason=reason, missed=missed, detail=detail
            )
        self.buffer.extend(rows)
        if self._now is None:
            self.buffer.commit()
        return rows

    def _last_ns(self, symbol: str, channel: str, now: int) -> int:
        last = self._trades_ns.get(symbol) if channel == "trades" else self.books.last_update_ns(symbol)
        return last or now
