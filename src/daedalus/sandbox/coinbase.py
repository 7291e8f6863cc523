"""Coinbase Advanced Trade market data, as https://docs.cdp.coinbase.com describes it and as recorded in 2026.

- One channel a message: ``{"type": "subscribe", "product_ids": [...], "channel": "level2"}``, within 5 s of connecting.
  A `jwt` is accepted and ignored. Data comes first, then the `subscriptions` reply that lists all there are.
- `sequence_num` counts per connection over everything but error frames, from 0.
- `level2` answers as `l2_data`: the whole book, then what changes (sides `bid` and `offer`, absolute sizes).
  Subscribing again gives a fresh book. Some updates are empty.
- `market_trades` first tells of past trades, then of those of each 250 ms of market time, newest first; `side` is the
  maker's.
- `ticker` comes with every match, `ticker_batch` every 5 s of market time, `heartbeats` once a second of wall time.
- An unknown channel or product refuses the whole message, by an error frame that names it.
"""

from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from daedalus.sandbox import coinbase_messages as wire
from daedalus.sandbox.base import FrameKind, OutFrame, Session, WireProtocol
from daedalus.sandbox.updates import BookSnapshot, Kind, LevelChanges, TickerTick, TradeTick, Update
from daedalus.sandbox.view import MarketView

#: Trades are told of in windows of this length, in market time.
TRADE_WINDOW_US = 250_000
TICKER_BATCH_US = 5_000_000
#: One l2 update in so many is followed by an empty one.
EMPTY_EVERY = 40
_KINDS: MappingProxyType[str, Kind | None] = MappingProxyType(
    {"level2": "book", "market_trades": "trades", "ticker": "ticker", "ticker_batch": "ticker", "heartbeats": None}
)


class CoinbaseSession(Session):
    """One client's conversation."""

    def __init__(self, view: MarketView, time_us: int) -> None:
        self._view, self._time_us = view, time_us
        self._sequence = self._beats = self._l2_updates = 0
        self._channels: dict[str, dict[str, None]] = {channel: {} for channel in _KINDS}
        self._windows: dict[str, list[TradeTick]] = {}
        self._window_ends: dict[str, int] = {}
        self._batch_due_us = time_us + TICKER_BATCH_US
        self._batched: dict[str, TickerTick] = {}

    # What the client says

    def receive(self, text: str) -> Iterator[OutFrame]:
        """Answer one text frame of the client."""
        try:
            request = wire.decode_request(text)
        except (msgspec.DecodeError, UnicodeError) as error:
            yield self.error_frame(f"cannot read the message: {error}")
            return
        refusal = self._refusal(request)
        if refusal:
            yield self.error_frame(refusal)
            return
        products = request.product_ids or (["heartbeats"] if request.channel == "heartbeats" else [])
        if request.type == "subscribe":
            for product in dict.fromkeys(products):
                yield from self._subscribe(request.channel, product)
        else:
            self._unsubscribe(request.channel, products)
        self._settle()
        yield self._subscriptions()

    def _refusal(self, request: wire.Request) -> str | None:
        """Return why a request is refused as a whole, None if it is not."""
        if request.type not in ("subscribe", "unsubscribe"):
            return f"unknown type '{request.type}': subscribe or unsubscribe"
        if request.channel not in _KINDS:
            return f"unknown channel '{request.channel}'"
        unknown = [product for product in request.product_ids or () if product not in self._view.books]
        if unknown:
            return f"unknown product {', '.join(unknown)}: {request.type} {request.channel} refused"
        if not request.product_ids and request.channel != "heartbeats":
            return f"product_ids missing: {request.type} {request.channel} refused"
        return None

    def _subscribe(self, channel: str, product: str) -> Iterator[OutFrame]:
        self._channels[channel]["heartbeats" if channel == "heartbeats" else product] = None
        if channel == "level2":
            yield self._book(product)
        elif channel == "market_trades":
            yield from self._flush(product)
            yield self._trades("past_trades", "snapshot", product, self._view.trades[product])
        elif channel in ("ticker", "ticker_batch") and product in self._view.tickers:
            yield self._ticker(channel, "snapshot", [self._view.tickers[product]])

    def _unsubscribe(self, channel: str, products: Iterable[str]) -> None:
        for product in ["heartbeats"] if channel == "heartbeats" else products:
            self._channels[channel].pop(product, None)
            if channel == "market_trades":
                self._windows.pop(product, None)
                self._window_ends.pop(product, None)

    def _settle(self) -> None:
        kinds = {kind for channel, kind in _KINDS.items() if kind and self._channels[channel]}
        self.kinds = frozenset(kinds)

    # What the market does

    def publish(self, update: Update) -> Iterator[OutFrame]:
        """Tell of an update; trades wait for the end of their window."""
        self._time_us = max(self._time_us, update.time_us or 0)
        if self._window_ends:
            yield from self._close_windows()
        match update:
            case LevelChanges() if update.product in self._channels["level2"]:
                yield from self._changes(update)
            case TradeTick() if update.product in self._channels["market_trades"]:
                self._windows.setdefault(update.product, []).append(update)
                start = update.time_us - update.time_us % TRADE_WINDOW_US
                self._window_ends.setdefault(update.product, start + TRADE_WINDOW_US)
            case TickerTick():
                if update.product in self._channels["ticker"]:
                    yield self._ticker("ticker", "update", [update])
                if update.product in self._channels["ticker_batch"]:
                    self._batched[update.product] = update
            case BookSnapshot() if update.product in self._channels["level2"]:
                yield self._book(update.product)

    def advance(self, time_us: int) -> Iterator[OutFrame]:
        """Close the trade windows that are over, and tell of tickers every 5 s."""
        self._time_us = max(self._time_us, time_us)
        yield from self._close_windows()
        if self._time_us >= self._batch_due_us:
            self._batch_due_us = self._time_us + TICKER_BATCH_US
            if self._batched:
                yield self._ticker("ticker_batch", "update", list(self._batched.values()))
                self._batched.clear()

    def finish(self) -> Iterator[OutFrame]:
        """Tell of the trades of windows that no later market time closes."""
        for product in tuple(self._windows):
            yield from self._flush(product)

    def pulse(self) -> Iterator[OutFrame]:
        """Beat, if the client asked for it."""
        if self._channels["heartbeats"]:
            self._beats += 1
            beat = wire.heartbeat(self._time_us, self._beats)
            yield self._frame("heartbeat", "heartbeats", [beat])

    def _close_windows(self) -> Iterator[OutFrame]:
        for product in [p for p, end_us in self._window_ends.items() if end_us <= self._time_us]:
            yield from self._flush(product)

    def _flush(self, product: str) -> Iterator[OutFrame]:
        trades = self._windows.pop(product, None)
        self._window_ends.pop(product, None)
        if trades:
            yield self._trades("trades", "update", product, trades)

    # Frames

    def error_frame(self, message: str) -> OutFrame:
        """Return an error frame: the only kind without a sequence number."""
        return OutFrame(msgspec.json.encode({"type": "error", "message": message}), "control")

    def unknown_frame(self) -> OutFrame:
        """Return a message of a channel that does not exist; it takes a sequence number."""
        return self._frame("fault", "premonitions", [{"type": "update", "premonitions": []}])

    def _frame(
        self, kind: FrameKind, channel: str, events: Sequence[Any], product: str = "", items: int = 0
    ) -> OutFrame:
        sequence, self._sequence = self._sequence, self._sequence + 1
        data = wire.encode(wire.Envelope(channel, wire.time_text(self._time_us * 1000, 9), sequence, events))
        return OutFrame(data, kind, product, items)

    def _subscriptions(self) -> OutFrame:
        listed = {channel: list(products) for channel, products in self._channels.items() if products}
        return self._frame("control", "subscriptions", [{"subscriptions": listed}])

    def _book(self, product: str) -> OutFrame:
        levels = wire.book_levels(self._view.books[product])
        event = wire.L2Event("snapshot", product, levels)
        return self._frame("snapshot", "l2_data", [event], product, len(levels))

    def _changes(self, update: LevelChanges) -> Iterator[OutFrame]:
        levels = wire.changed_levels(update)
        yield self._frame(
            "changes", "l2_data", [wire.L2Event("update", update.product, levels)], update.product, len(levels)
        )
        self._l2_updates += 1
        if self._l2_updates % EMPTY_EVERY == 0:
            yield self._frame("changes", "l2_data", [wire.L2Event("update", update.product, [])], update.product)

    def _trades(self, kind: FrameKind, event: str, product: str, trades: Iterable[TradeTick]) -> OutFrame:
        listed = [wire.trade(trade) for trade in trades][::-1]
        return self._frame(kind, "market_trades", [wire.TradesEvent(event, listed)], product, len(listed))

    def _ticker(self, channel: str, event: str, ticks: Sequence[TickerTick]) -> OutFrame:
        listed = [wire.ticker(tick) for tick in ticks]
        product = ticks[0].product if len(ticks) == 1 else ""
        return self._frame("ticker", channel, [wire.TickerEvent(event, listed)], product, len(listed))


class CoinbaseProtocol(WireProtocol):
    """Coinbase Advanced Trade, `wss://advanced-trade-ws.coinbase.com`."""

    name = "coinbase"
    first_message_s = 5.0

    def session(self, path: str, view: MarketView, time_us: int) -> Session:
        """Begin a conversation; any path will do."""
        return CoinbaseSession(view, time_us)
