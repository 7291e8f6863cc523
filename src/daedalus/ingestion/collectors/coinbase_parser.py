"""Coinbase Advanced Trade messages to Events: a pure function of frames and the state of one connection.

Protocol: https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview. What is checked: `sequence_num`, which counts
every message of a connection, so a jump taints all its products.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from math import inf

import msgspec

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.coinbase_market import Market
from daedalus.ingestion.collectors.coinbase_messages import (
    FEEDS,
    LEVEL2,
    MATCHES,
    TICKER,
    BookMessage,
    Envelope,
    Head,
    L2Event,
    decode_dicts,
    decode_l2,
    decode_message,
    decode_subscriptions,
    pack_updates,
)
from daedalus.ingestion.collectors.coinbase_rows import ticker_row, trade_row
from daedalus.ingestion.collectors.coinbase_settings import Carried
from daedalus.shared.book import OrderBook
from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import ALL, BookDelta, BookSide, BookSnapshot, Event, Gap, Trade

BOOK_CHANNELS = FEEDS[LEVEL2]
#: Past trades that are younger than this, us, are those that a subscription always brings.
LATE_US = 2_000_000
#: Messages that go back in the sequence in a row before the numbering is taken for broken.
BACKWARD_MAX = 100

_SIDES: tuple[BookSide, ...] = ("bid", "ask")
#: The bronze channels that a message of a channel is about.
_CARRIES = {"l2_data": BOOK_CHANNELS, MATCHES: ("trades",), TICKER: ("ticker",), "ticker_batch": ("ticker",)}


class CoinbaseParser:
    """Turns the frames of one connection into events.

    Parameters
    ----------
    exchange, symbols, channels
        The partition's exchange name, the products, the bronze channels to record.
    depth, interval_ms
        Levels a side of an `orderbook` row; least receive time between two rows of a product, 0 = each update.
    carried
        What outlives the connection.

    Attributes
    ----------
    resync
        Symbols whose next level2 snapshot is awaited, because none has come yet or the book has a hole.
    probes
        Streams, by the exchange's channel, that are asked for anew because they said nothing, and since when (ns).
        What comes for one of them takes it out; if it shows that something was missed, the ledger says so.
    subscribed
        Products by the exchange's channel name, as it last acknowledged them.
    refusal
        The text of the last error frame.
    """

    def __init__(
        self,
        *,
        exchange: str,
        symbols: Iterable[str],
        channels: Iterable[str],
        depth: int,
        interval_ms: int,
        carried: Carried,
    ) -> None:
        self.resync: set[str] = set()
        self.probes: dict[Stream, int] = {}
        self.subscribed: dict[str, set[str]] = {}
        self.refusal = ""
        self._exchange = exchange
        self._symbols = tuple(symbols)
        self._channels = frozenset(channels)
        self._depth, self._interval_ns = depth, interval_ms * 1_000_000
        self._gaps, self._seen, self._count = carried.gaps, carried.seen, carried.counters
        self._heard, self._skew = carried.watchdog.heard, carried.skew
        # Products of USDC come under the name of those of USD.
        self._names = {s.removesuffix("C"): s for s in self._symbols if s.endswith("-USDC")}
        self._names |= {s: s for s in self._symbols}
        self._markets: dict[str, Market] = {}
        self._of_product: dict[str, Market] = {}
        self._expected, self._backward = 0, 0
        self._last_ns: int | None = None
        self._has_books, self._has_l2, self._due_ns = "orderbook" in self._channels, "l2" in self._channels, inf
        self._handlers: dict[str, Callable[[Envelope, int], list[Event]]] = {
            "l2_data": lambda envelope, now: self._l2(envelope, decode_l2(envelope.events), now),
            MATCHES: self._trades,
            TICKER: self._tickers,
            "ticker_batch": self._tickers,
            "subscriptions": self._subscriptions,
            "heartbeats": lambda envelope, now: [],
        }

    def feed(self, text: str, now: int) -> list[Event]:
        """Return the events of one frame received at `now` (ns). Never raises for what a frame holds.

        A frame that is no JSON costs itself and a ledger row; one with wrong content also a resync of the books.

        Raises
        ------
        MalformedError
            If the exchange's numbering went back for `BACKWARD_MAX` messages in a row: only a new connection helps.
        """
        self._count.frames += 1
        try:
            envelope = decode_message(text)
        except (msgspec.DecodeError, UnicodeError) as error:
            return [self._parse_error(text, error, now)]
        events: list[Event] = []
        if (number := envelope.sequence_num) is not None:
            if number < self._expected:
                return self._went_back(number)
            if number > self._expected:
                events += self._sequence_gap(number, now)
            self._expected, self._backward = number + 1, 0
        if self._skew.is_due(now):
            self._time(envelope, now)
        since, self._last_ns = self._last_ns or now, now
        try:
            if isinstance(envelope, BookMessage):
                rows = self._l2(envelope, envelope.events, now)
                events = events + rows if events else rows
            else:
                events += self._content(envelope, now)
        except (MalformedError, msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError) as error:
            events += [
                self._parse_error(text, error, now),
                *self._lost(_CARRIES.get(envelope.channel, ()), since, now, "parse_error", 1),
            ]
        if now >= self._due_ns:
            events += self._due(now)
        return events

    def streams(self, channels: Iterable[str]) -> Iterable[Stream]:
        """Return the recorded (symbol, channel) pairs of some channels."""
        return ((symbol, c) for c in channels if c in self._channels for symbol in self._symbols)

    def _content(self, envelope: Envelope, now: int) -> list[Event]:
        if envelope.type == "error":
            self._count.errors += 1
            self.refusal = envelope.message
            return []
        handler = self._handlers.get(envelope.channel)
        if handler is None:
            self._count.unknown += 1
            return []
        return handler(envelope, now)

    # -- the sequence -------------------------------------------------------------------------------------------------

    def _went_back(self, got: int) -> list[Event]:
        self._count.duplicates += 1
        self._backward += 1
        if self._backward > BACKWARD_MAX:
            raise MalformedError(f"sequence_num stays below {self._expected} (now {got})")
        return []

    def _sequence_gap(self, got: int, now: int) -> list[Event]:
        self._count.sequence_gaps += 1
        detail = f"sequence_num {got} where {self._expected} was due"
        since, missed = self._last_ns or now, got - self._expected
        rows = self._lost((*BOOK_CHANNELS, "trades", "ticker"), since, now, "sequence_gap", missed, detail)
        if "frames" in self._channels:
            rows += self._missed([(ALL, "frames")], since, now, "sequence_gap", missed, detail)
        return rows

    def _lost(
        self, channels: Sequence[str], since: int, now: int, reason: str, missed: int | None, detail: str = ""
    ) -> list[Event]:
        """Enter a loss on these channels. Flows end with it; books stay open until their next snapshots."""
        rows: list[Event] = []
        if set(channels) & set(BOOK_CHANNELS):
            rows += self.lose_books(self._symbols, since, now, reason, missed, detail)
        flows = self.streams(c for c in channels if c not in BOOK_CHANNELS)
        return rows + self._missed(flows, since, now, reason, missed, detail)

    def lose_books(
        self, symbols: Iterable[str], since: int, now: int, reason: str, missed: int | None = None, detail: str = ""
    ) -> list[Event]:
        """Give these books up until their next snapshots; return the ledger's rows."""
        rows: list[Event] = []
        for symbol in symbols:
            streams = [(symbol, c) for c in BOOK_CHANNELS if c in self._channels]
            if not streams:
                continue
            self.resync.add(symbol)
            market = self._markets.get(symbol)
            if market is not None:
                market.valid = market.dirty = False
            rows += self._gaps.open(streams, since=since, now=now, reason=reason, missed=missed, detail=detail)
        return rows

    def _missed(
        self, streams: Iterable[Stream], since: int, now: int, reason: str, missed: int | None, detail: str = ""
    ) -> list[Event]:
        """Return rows of a loss that is over, for streams that are open for no other."""
        known, gaps = list(streams), OpenGaps(self._exchange)
        gaps.open(known, since=since, now=now, reason=reason, missed=missed, detail=detail)
        return list(gaps.close(known, now))

    def _time(self, envelope: Head, now: int) -> None:
        with suppress(ValueError):
            self._skew.add(now, parse_rfc3339_us(envelope.timestamp))

    def _parse_error(self, text: str, error: Exception, now: int) -> Gap:
        self._count.malformed += 1
        return Gap(
            collected_at=now,
            exchange=self._exchange,
            symbol=ALL,
            channel=ALL,
            started_at=now,
            ended_at=now,
            reason="parse_error",
            missed=1,
            detail=f"{type(error).__name__}: {error}; frame of {len(text)} characters begins {text[:200]!r}",
        )

    # -- what is live -------------------------------------------------------------------------------------------------

    def live(self) -> set[Stream]:
        """Return the streams that this connection delivers: books with their snapshot, flows that were acknowledged."""
        found = {(s, c) for s, market in self._markets.items() if market.valid for c in BOOK_CHANNELS}
        for wire in (MATCHES, TICKER):
            found |= {(self._name(p), c) for p in self.subscribed.get(wire, ()) for c in FEEDS[wire]}
        return {stream for stream in found if stream[1] in self._channels}

    def _name(self, product: str) -> str:
        return self._names.get(product, product)

    def _hear(self, symbol: str, wire: str, now: int, missed: str = "") -> list[Event]:
        """Note that a stream spoke; `missed` says how it shows that a probed one was not merely quiet."""
        self._heard[symbol, wire] = now
        since = self.probes.pop((symbol, wire), None) if self.probes else None
        if since is None or not missed:
            return []
        streams = [(symbol, c) for c in FEEDS[wire] if c in self._channels and (symbol, c) not in self._gaps]
        return self._missed(streams, since, now, "stall", None, missed)

    # -- channels -----------------------------------------------------------------------------------------------------

    def _subscriptions(self, envelope: Envelope, now: int) -> list[Event]:
        merged: dict[str, set[str]] = {}
        for event in decode_subscriptions(envelope.events):
            for channel, products in event.subscriptions.items():
                merged.setdefault(channel, set()).update(products)
        self.subscribed = merged
        acknowledged = [(self._name(p), wire) for wire in (MATCHES, TICKER) for p in merged.get(wire, ())]
        # A stream that is being probed is live when something comes, whatever the exchange says.
        live = [(s, c) for s, wire in acknowledged if (s, wire) not in self.probes for c in FEEDS[wire]]
        return list(self._gaps.close(live, now))

    def _market(self, product: str) -> Market:
        symbol = self._name(product)
        market = self._markets.setdefault(symbol, Market(symbol, (symbol, LEVEL2)))
        self._of_product[product] = market
        return market

    def _l2(self, envelope: Head, events: Sequence[L2Event], now: int) -> list[Event]:
        out: list[Event] = []
        nonce = envelope.sequence_num
        for event in events:
            is_snapshot = event.type == "snapshot"
            if not is_snapshot and event.type != "update":
                raise MalformedError(f"l2_data event of type {event.type!r}")
            changes, event_time = pack_updates(event.updates)
            market = self._of_product.get(event.product_id) or self._market(event.product_id)
            if is_snapshot:
                out += self._snapshot(market, changes, now)
            else:
                self._heard[market.stream] = now
            if not (changes or is_snapshot):
                continue
            if market.valid:
                market.book.apply(changes, is_snapshot)
                if self._has_books and not market.dirty:
                    market.dirty = True
                    self._due_ns = min(self._due_ns, market.emitted_at + self._interval_ns)
            market.nonce = nonce
            if event_time is not None:
                market.event_time = event_time
            elif market.event_time is None:
                # A snapshot whose levels carry no time: the message's own is the exchange's clock all the same.
                market.event_time = parse_rfc3339_us(envelope.timestamp)
            if self._has_l2 and changes:
                out.append(
                    BookDelta(
                        collected_at=now,
                        exchange=self._exchange,
                        symbol=market.symbol,
                        nonce=nonce,
                        is_snapshot=is_snapshot,
                        changes=changes,
                    )
                )
        return out

    def _snapshot(self, market: Market, changes: bytes, now: int) -> list[Event]:
        """Take note of a whole book, and of what it tells of one that had fallen silent."""
        missed, symbol = "", market.symbol
        if market.valid and (symbol, LEVEL2) in self.probes:
            whole = OrderBook()
            whole.apply(changes, is_snapshot=True)
            if any(whole.levels(side) != market.book.levels(side) for side in _SIDES):
                missed = "the book had changed while nothing came"
        market.valid = True
        self.resync.discard(symbol)
        rows = self._hear(symbol, LEVEL2, now, missed)
        return [*rows, *self._gaps.close([(symbol, c) for c in BOOK_CHANNELS], now)]

    def _due(self, now: int) -> list[Event]:
        """Publish the changed books whose interval is over; in a quiet market a heartbeat brings them."""
        out: list[Event] = []
        self._due_ns = inf
        for product, market in self._markets.items():
            due_ns = market.emitted_at + self._interval_ns
            if not market.dirty or now < due_ns:
                self._due_ns = min(self._due_ns, due_ns) if market.dirty else self._due_ns
                continue
            market.dirty, market.emitted_at = False, now
            bids, asks = market.book.top(self._depth)
            out.append(
                BookSnapshot(
                    collected_at=now,
                    exchange=self._exchange,
                    symbol=product,
                    timestamp=market.event_time,
                    nonce=market.nonce,
                    bids=bids,
                    asks=asks,
                )
            )
        return out

    def _trades(self, envelope: Envelope, now: int) -> list[Event]:
        """Live trades, oldest first. A snapshot holds past ones: only those missed since the last connection count."""
        out: list[Event] = []
        heard: dict[str, str] = {}
        for event in decode_dicts(envelope.events):
            past = event["type"] == "snapshot"
            trades = list(reversed(event["trades"]))
            symbols = {self._name(t["product_id"]) for t in trades}
            known = {s: self._seen.knows(s) for s in symbols} if past else {}
            # A past without trades names no product: it answers for all that were asked for.
            heard |= dict.fromkeys(symbols or {s for s, wire in self.probes if wire == MATCHES}, "")
            for trade in trades:
                symbol = self._name(trade["product_id"])
                new = self._seen.add(symbol, trade["trade_id"])
                if "trades" not in self._channels or (past and not known[symbol]):
                    continue
                if not new:
                    self._count.trades_resent += 1
                    continue
                row = trade_row(trade, symbol, self._exchange, now)
                if past and _is_late(row, envelope):
                    heard[symbol] = "trades had happened while nothing came"
                out.append(row)
        rows = [row for symbol, missed in heard.items() for row in self._hear(symbol, MATCHES, now, missed)]
        if self._gaps:
            rows += self._gaps.close([(symbol, "trades") for symbol in heard], now)
        return [*rows, *out]

    def _tickers(self, envelope: Envelope, now: int) -> list[Event]:
        timestamp = parse_rfc3339_us(envelope.timestamp)
        out: list[Event] = []
        for row in chain.from_iterable(event["tickers"] for event in decode_dicts(envelope.events)):
            symbol = self._name(row["product_id"])
            event = ticker_row(row, symbol, self._exchange, timestamp, now)
            self._hear(symbol, TICKER, now)
            if self._gaps:
                out += self._gaps.close([(symbol, "ticker")], now)
            if "ticker" in self._channels:
                out.append(event)
        return out


def _is_late(trade: Trade, envelope: Envelope) -> bool:
    """Tell whether a trade should have come before: by the exchange's clock, it happened long before the message."""
    sent = parse_rfc3339_us(envelope.timestamp)
    return sent is None or trade.timestamp is None or sent - trade.timestamp > LATE_US
