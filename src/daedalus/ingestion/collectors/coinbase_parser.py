"""Coinbase Advanced Trade messages to Events: a pure function of frames and the state of one connection.

Protocol: https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview. What is checked: `sequence_num`, which counts
every message of a connection, so a jump taints all its products.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.coinbase_messages import (
    Counters,
    Envelope,
    SeenTrades,
    decode_dicts,
    decode_envelope,
    decode_l2,
    decode_subscriptions,
    number,
    pack_updates,
)
from daedalus.shared.book import OrderBook
from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import ALL, BookDelta, BookSnapshot, Event, Gap, Ticker, Trade

TRADE_SIDE_IS_MAKERS = True
"""Coinbase's `side` of a trade names the maker's order (measured on its older feeds), so the aggressor took the other.
The raw value stays in `info_json`."""

BOOK_CHANNELS = ("l2", "orderbook")
#: Messages that go back in the sequence in a row before the numbering is taken for broken.
BACKWARD_MAX = 100

_OPPOSITE = {"BUY": "sell", "SELL": "buy"} if TRADE_SIDE_IS_MAKERS else {"BUY": "buy", "SELL": "sell"}
#: The bronze channels that an exchange's channel feeds.
_CARRIES: dict[str, tuple[str, ...]] = {
    "l2_data": BOOK_CHANNELS,
    "market_trades": ("trades",),
    "ticker": ("ticker",),
    "ticker_batch": ("ticker",),
}
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


@dataclass
class _Market:
    book: OrderBook = field(default_factory=OrderBook)
    valid: bool = False
    dirty: bool = False
    emitted_at: int = 0
    event_time: int | None = None
    nonce: int | None = None


class CoinbaseParser:
    """Turns the frames of one connection into events.

    Parameters
    ----------
    exchange, symbols, channels
        The partition's exchange name, the products, the bronze channels to record.
    depth, interval_ms
        Levels a side of an `orderbook` row; least receive time between two rows of a product, 0 = each update.
    gaps, seen
        Carried over connections.

    Attributes
    ----------
    resync
        Products that need a fresh level2 snapshot: the session asks for it and empties the set.
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
        gaps: OpenGaps,
        seen: SeenTrades,
        counters: Counters,
    ) -> None:
        self.resync: set[str] = set()
        self.subscribed: dict[str, set[str]] = {}
        self.refusal = ""
        self._exchange = exchange
        self._symbols = tuple(symbols)
        self._channels = frozenset(channels)
        self._depth, self._interval_ns = depth, interval_ms * 1_000_000
        self._gaps, self._seen, self._count = gaps, seen, counters
        self._markets: dict[str, _Market] = {}
        self._expected, self._backward = 0, 0
        self._last_ns: int | None = None
        self._handlers: dict[str, Callable[[Envelope, int], list[Event]]] = {
            "l2_data": self._l2,
            "market_trades": self._trades,
            "ticker": self._tickers,
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
            envelope = decode_envelope(text)
        except (msgspec.DecodeError, UnicodeError) as error:
            return [self._parse_error(text, error, now)]
        events: list[Event] = []
        if envelope.sequence_num is not None:
            if envelope.sequence_num < self._expected:
                return self._went_back(envelope.sequence_num)
            if envelope.sequence_num > self._expected:
                events += self._sequence_gap(envelope.sequence_num, now)
            self._expected, self._backward = envelope.sequence_num + 1, 0
        since, self._last_ns = self._last_ns or now, now
        try:
            events += self._content(envelope, now)
        except (MalformedError, msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError) as error:
            events += [
                self._parse_error(text, error, now),
                *self._lost(_CARRIES.get(envelope.channel, ()), since, now, "parse_error", 1),
            ]
        return [*events, *self._due(now)]

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
        every = (*BOOK_CHANNELS, "trades", "ticker")
        return self._lost(every, self._last_ns or now, now, "sequence_gap", got - self._expected, detail)

    def _lost(
        self, channels: Sequence[str], since: int, now: int, reason: str, missed: int, detail: str = ""
    ) -> list[Event]:
        """Enter a loss on these channels. Flows end with it; books stay open until their next snapshots."""
        books = list(self.streams(c for c in channels if c in BOOK_CHANNELS))
        if books:
            self.resync.update(symbol for symbol, _ in books)
            for market in self._markets.values():
                market.valid = market.dirty = False
        rows = self._gaps.open(books, since=since, now=now, reason=reason, missed=missed, detail=detail)
        flows, flow_gaps = list(self.streams(c for c in channels if c not in BOOK_CHANNELS)), OpenGaps(self._exchange)
        flow_gaps.open(flows, since=since, now=now, reason=reason, missed=missed, detail=detail)
        return [*rows, *flow_gaps.close(flows, now)]

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

    # -- channels -----------------------------------------------------------------------------------------------------

    def _subscriptions(self, envelope: Envelope, now: int) -> list[Event]:
        merged: dict[str, set[str]] = {}
        for event in decode_subscriptions(envelope.events):
            for channel, products in event.subscriptions.items():
                merged.setdefault(channel, set()).update(products)
        self.subscribed = merged
        live = [(s, "trades") for s in merged.get("market_trades", ())] + [
            (s, "ticker") for s in merged.get("ticker", ())
        ]
        return list(self._gaps.close(live, now))

    def _l2(self, envelope: Envelope, now: int) -> list[Event]:
        out: list[Event] = []
        for event in decode_l2(envelope.events):
            if event.type not in ("snapshot", "update"):
                raise MalformedError(f"l2_data event of type {event.type!r}")
            is_snapshot = event.type == "snapshot"
            changes, event_time = pack_updates(event.updates)
            market = self._markets.setdefault(event.product_id, _Market())
            if is_snapshot:
                market.valid = True
                self.resync.discard(event.product_id)
                out += self._gaps.close([(event.product_id, c) for c in BOOK_CHANNELS], now)
            if not (changes or is_snapshot):
                continue
            if market.valid:
                market.book.apply(changes, is_snapshot)
                market.dirty = True
            market.nonce = envelope.sequence_num
            if event_time is None and market.event_time is None:
                # A snapshot whose levels carry no time: the message's own is the exchange's clock all the same.
                event_time = parse_rfc3339_us(envelope.timestamp)
            market.event_time = event_time if event_time is not None else market.event_time
            if "l2" in self._channels and changes:
                out.append(
                    BookDelta(
                        collected_at=now,
                        exchange=self._exchange,
                        symbol=event.product_id,
                        nonce=envelope.sequence_num,
                        is_snapshot=is_snapshot,
                        changes=changes,
                    )
                )
        return out

    def _due(self, now: int) -> list[Event]:
        """Publish the changed books whose interval is over; in a quiet market a heartbeat brings them."""
        if "orderbook" not in self._channels:
            return []
        out: list[Event] = []
        for product, market in self._markets.items():
            if not market.dirty or now - market.emitted_at < self._interval_ns:
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
        for event in decode_dicts(envelope.events):
            past = event["type"] == "snapshot"
            trades = list(reversed(event["trades"]))
            known = {p: self._seen.knows(p) for p in {t["product_id"] for t in trades}} if past else {}
            for trade in trades:
                product = trade["product_id"]
                new = self._seen.add(product, trade["trade_id"])
                if "trades" not in self._channels or (past and not known[product]):
                    continue
                if not new:
                    self._count.trades_resent += 1
                    continue
                out.append(self._trade(trade, now))
        live = {(event.symbol, "trades") for event in out}
        return [*self._gaps.close(live, now), *out] if self._gaps else out

    def _trade(self, trade: dict[str, Any], now: int) -> Trade:
        rest = {k: v for k, v in trade.items() if k not in ("product_id", "trade_id", "price", "size", "time")}
        return Trade(
            collected_at=now,
            exchange=self._exchange,
            symbol=trade["product_id"],
            trade_id=trade["trade_id"],
            timestamp=parse_rfc3339_us(trade.get("time")),
            side=_OPPOSITE.get(trade.get("side", "")),  # type: ignore[arg-type]
            price=number(trade["price"]),
            amount=number(trade["size"]),
            info_json=msgspec.json.encode(rest).decode() if rest else None,
        )

    def _tickers(self, envelope: Envelope, now: int) -> list[Event]:
        if "ticker" not in self._channels:
            return []
        timestamp = parse_rfc3339_us(envelope.timestamp)
        rows = chain.from_iterable(event["tickers"] for event in decode_dicts(envelope.events))
        return [self._ticker(row, timestamp, now) for row in rows]

    def _ticker(self, row: dict[str, Any], timestamp: int | None, now: int) -> Ticker:
        values = {column: number(row[name]) for name, column in _TICKER_FIELDS.items() if row.get(name)}
        rest = {k: v for k, v in row.items() if k not in _TICKER_FIELDS and k not in ("type", "product_id")}
        return Ticker(
            collected_at=now,
            exchange=self._exchange,
            symbol=row["product_id"],
            timestamp=timestamp,
            info_json=msgspec.json.encode(rest).decode() if rest else None,
            **values,
        )
