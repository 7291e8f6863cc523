"""What follows from holes, errors and complaints: ledger rows, books had anew, markets left out.

Imports CCXT: import this module only where it is needed.
"""

import traceback
from collections.abc import Callable
from typing import Any

import structlog
from ccxt.base.errors import BaseError, ChecksumError, InvalidNonce

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.ccxt_client import TapClient
from daedalus.ingestion.collectors.ccxt_errors import Redactor, is_transient
from daedalus.ingestion.collectors.ccxt_losses import BOOK_CHANNELS
from daedalus.ingestion.collectors.ccxt_markets import Call
from daedalus.ingestion.collectors.ccxt_names import MarketNames, channels_of
from daedalus.ingestion.collectors.ccxt_sequence import Hole
from daedalus.ingestion.collectors.ccxt_settings import Carried, Settings
from daedalus.ingestion.collectors.ccxt_subscriptions import Subscriptions
from daedalus.ingestion.collectors.ccxt_tap import Tap
from daedalus.ingestion.collectors.ccxt_venues import Venue
from daedalus.shared.clock import Clock
from daedalus.shared.errors import CollectorError, TransientCollectorError
from daedalus.shared.events import ALL, Event

log = structlog.get_logger(__name__)

#: Tries after which the connection is given up for the sake of one book, once: CCXT may have lost its way.
TRIES_MAX = 5
#: How often, in seconds, and how many different complaints are logged.
SAID_AGAIN_S, SAID_MAX = 60.0, 100


class Reactions:
    """Reacts for one connection.

    Parameters
    ----------
    ends
        Ends the connection for errors that concern all of it; returns whether this was one.
    fail
        Ends the connection.

    Attributes
    ----------
    names
        Of the watched markets; set once they are known.
    """

    def __init__(
        self,
        *,
        exchange: Any,
        settings: Settings,
        carried: Carried,
        venue: Venue,
        tap: Tap,
        redact: Redactor,
        subscriptions: Subscriptions,
        clock: Clock,
        ends: Callable[[BaseException], bool],
        fail: Callable[[CollectorError], None],
    ) -> None:
        self.names = MarketNames()
        self._exchange, self._settings, self._carried, self._venue = exchange, settings, carried, venue
        self._tap, self._redact, self._count = tap, redact, carried.counters
        self._subscriptions = subscriptions
        self._clock, self._ends, self._fail = clock, ends, fail
        self._said: dict[str, float] = {}

    # -- books --------------------------------------------------------------------------------------------------------

    def hole(self, client: TapClient, hole: Hole) -> None:
        """Enter a jump in the venue's numbering, and have the books anew."""
        self._count.sequence_gaps += 1
        mine = {symbol for call in client.calls.values() for symbol in call.symbols}
        symbols = sorted(self.names.of(hole.market) & mine if hole.market else mine)
        since = None if hole.market else (client.heard_ns or None)
        flows = [(ALL, "frames")]
        flows += [(s, c) for s in symbols for c in hole.channels if c not in BOOK_CHANNELS and self._is_wanted(s, c)]
        self._tap.lost(flows, since=since, reason="sequence_gap", missed=hole.missed, detail=hole.detail)
        for symbol in symbols:
            if "orderbook" in hole.channels and self._is_wanted(symbol, "orderbook"):
                self.broken(symbol, "sequence_gap", hole.detail, hole.missed, since)

    def broken(
        self, symbol: str, reason: str, detail: str, missed: int | None = None, since: int | None = None
    ) -> None:
        """Record nothing of a book until it is whole again, and see to that."""
        streams = [(symbol, channel) for channel in BOOK_CHANNELS]
        self._tap.lost(streams, since=since, reason=reason, missed=missed, detail=self._redact.text(detail))
        self._tap.books.invalidate(symbol)
        book = self._exchange.orderbooks.get(symbol)
        if book is not None:
            book.stale = True
        self.names.undone(symbol)

    def fresh(self, symbol: str) -> None:
        """Take note that a book is whole again."""
        self._carried.hopeless.discard(symbol)

    def unanswered(self, stream: Stream, since: int, tries: int, now: int) -> list[Event]:
        """Enter that a stream was asked for and has not come.

        A book that never comes is worth a new connection, but not again and again for the same market.
        """
        symbol, channel = stream
        detail = f"{channel} of {symbol} fell silent while the connection lives"
        if channel == "orderbook":
            self.broken(symbol, "stall", detail, since=since)
            if tries >= TRIES_MAX and symbol not in self._carried.hopeless:
                self._carried.hopeless.add(symbol)
                self._fail(TransientCollectorError(f"the book of {symbol} did not come", reason="stall"))
            return []
        bronze = "trades" if channel == "trades" else "ticker"
        if bronze not in self._settings.record:
            return []
        gaps = self._carried.gaps
        return list(gaps.open([(symbol, bronze)], since=since, now=now, reason="stall", detail=detail))

    # -- errors -------------------------------------------------------------------------------------------------------

    def failed(self, text: str, error: Exception) -> None:
        """Enter a frame that could not be handled: it costs itself, and the books that it may have changed."""
        if isinstance(error, BaseError) and "error" in text[:300].lower():
            self.complained(error)
            return
        streams = [
            (symbol, channel)
            for symbol in sorted(self.names.named_in(text))
            for channel in channels_of(text, traceback.extract_tb(error.__traceback__))
            if self._is_wanted(symbol, channel)
        ]
        books = {symbol for symbol, channel in streams if channel == "orderbook"}
        if books and len(books) == len(streams) and all(symbol in self._tap.resync for symbol in books):
            return  # An update of a book that is being had anew: within its gap.
        self._tap.failed(error, streams)
        for symbol in books:
            self.broken(symbol, "parse_error", f"{type(error).__name__}: {error}", 1)

    def _is_wanted(self, symbol: str, channel: str) -> bool:
        wanted = self._tap.wanted
        if channel == "ticker":
            return symbol in wanted.get("ticker", ()) or symbol in wanted.get("bidsasks", ())
        return symbol in wanted.get(channel, ())

    def rejected(self, call: Call, message_hash: str, error: BaseException) -> None:
        """Tell a subscription that was refused from a book that cannot go on."""
        if self._ends(error):
            return
        symbol, said = call.symbol_in(message_hash), self._redact.text(error)
        if call.channel != "orderbook" or not symbol:
            self._subscriptions.refuse(call, symbol, error)
        elif isinstance(error, InvalidNonce):
            is_checksum = isinstance(error, ChecksumError) and self._venue.checksums
            self.broken(symbol, "checksum" if is_checksum else "sequence_gap", said)
        elif is_transient(error):
            self.broken(symbol, "disconnect", f"the book could not be fetched: {said}")
        elif isinstance(error, BaseError):
            self._subscriptions.refuse(call, symbol, error)
        else:
            self._tap.failed(error, [])
            self.broken(symbol, "parse_error", f"{type(error).__name__}: {said}", 1)

    def complained(self, error: BaseException) -> None:
        """Say what the exchange complained of; it refuses subscriptions that it names and that never came."""
        self._count.complaints += 1
        if self._ends(error):
            return
        said = self._redact.text(error)
        if self._is_news(said):
            log.warning("exchange_complained", exchange=self._settings.exchange, exchange_said=said)
        named = self.names.named_in(f"{self._tap.text} {said}")
        for call in self._subscriptions.calls():
            missing = {s for s in named & set(call.symbols) if (s, call.channel) not in self._tap.live}
            if missing:
                self._subscriptions.refuse(call, next(iter(missing)), error)

    def _is_news(self, said: str) -> bool:
        """Tell whether the like was not said a moment ago: an exchange may complain about every message."""
        now, kind = self._clock.monotonic(), said[:80]
        if now - self._said.get(kind, -SAID_AGAIN_S) < SAID_AGAIN_S:
            return False
        if len(self._said) >= SAID_MAX:
            self._said.clear()
        self._said[kind] = now
        return True
