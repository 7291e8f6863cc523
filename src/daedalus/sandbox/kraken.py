"""Kraken's websocket v2: https://docs.kraken.com/api/docs/websocket-v2/, channels `book`, `trade`, `ticker`.

- A `status` message comes first. ``{"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"],
  "depth": 10}}`` is answered for each symbol alone; so is a refusal. ``{"method": "ping"}`` is answered by ``pong``.
- `book`: a snapshot of `depth` levels a side, then every change of them; a `qty` of 0 removes. A level that is pushed
  out of the depth is not removed: clients cut it off. `checksum` is the CRC32 of the top 10 after the message.
- `trade`: past trades only if `snapshot` is asked for, then each as it happens; `side` is the taker's.
- `ticker`: at once, then with every trade, or with every new best quote (`event_trigger` "bbo").
- A `heartbeat` comes in a second without anything else. To subscribe twice is refused.
- A recording's frames go out as they were recorded where the depth that is asked for is the recorded one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from daedalus.sandbox import kraken_messages as wire
from daedalus.sandbox.base import FrameKind, MarketSource, OutFrame, RestReply, Session, WireProtocol, passed_on
from daedalus.sandbox.instruments import instrument_of
from daedalus.sandbox.kraken_books import BookMemory, changed_side
from daedalus.sandbox.kraken_frames import DEPTHS
from daedalus.sandbox.kraken_rest import answer_get
from daedalus.sandbox.updates import BookSnapshot, Kind, LevelChanges, Recorded, TickerTick, Told, TradeTick, Update
from daedalus.sandbox.view import MarketView

_KINDS: Mapping[str, Kind] = {"book": "book", "trade": "trades", "ticker": "ticker"}


@dataclass
class Subscription:
    """One channel of one symbol that a client asked for.

    Attributes
    ----------
    channel
        With its depth, for a book: ``book-10``.
    quotes
        What a ticker last told of: best bid and ask.
    """

    params: wire.Params
    channel: str
    product: str
    symbol: str
    is_verbatim: bool
    quotes: tuple[Any, Any] | None = None
    has_told: bool = False


class KrakenSession(Session):
    """One client's conversation."""

    def __init__(self, view: MarketView, time_us: int) -> None:
        self._view, self._time_us = view, time_us
        traded = [instrument_of(product, view) for product in view.books]
        self._products = {f"{i.base}/{i.quote}": i.product for i in reversed(traded)}
        self._asked: dict[tuple[str, str], Subscription] = {}
        self._digits: dict[str, int] = {}
        self._memory = BookMemory()
        self._is_quiet = True

    # What the client says

    def greet(self) -> Iterator[OutFrame]:
        """Tell how the exchange is."""
        yield OutFrame(wire.status(self._time_us), "control")

    def receive(self, text: str) -> Iterator[OutFrame]:
        """Answer one text frame of the client."""
        try:
            request = wire.decode_request(text)
        except (msgspec.DecodeError, UnicodeError):
            yield OutFrame(wire.error("Malformed request", "", self._time_us), "control")
            return
        if request.method == "ping":
            yield OutFrame(wire.answer("pong", None, self._time_us, request.req_id), "control")
        elif request.method not in ("subscribe", "unsubscribe") or request.params.channel not in _KINDS:
            yield self._refusal("Event(s) not found", request)
        else:
            for symbol in request.params.symbols:
                yield from self._answer(request, symbol)
        self.kinds = frozenset(_KINDS[channel] for channel, _ in self._asked)

    def _answer(self, request: wire.Request, symbol: str) -> Iterator[OutFrame]:
        params, key = request.params, (request.params.channel, symbol)
        problem = self._problem(request, symbol)
        if problem:
            yield self._refusal(problem, request, symbol)
            return
        result: dict[str, Any] = {"channel": params.channel, "symbol": symbol}
        if params.channel == "book":
            result = {
                "channel": "book",
                "depth": params.depth,
                "snapshot": params.snapshot is not False,
                "symbol": symbol,
            }
        yield OutFrame(wire.answer(request.method, result, self._time_us, request.req_id), "control")
        if request.method == "unsubscribe":
            del self._asked[key]
            return
        product = self._products[symbol]
        channel = f"book-{params.depth}" if params.channel == "book" else params.channel
        asked = Subscription(params, channel, product, symbol, (product, channel) in self._view.verbatim)
        self._asked[key] = asked
        yield from self._first(asked)

    def _problem(self, request: wire.Request, symbol: str) -> str:
        """Return why a request is refused for a symbol, "" if it is not."""
        params = request.params
        if symbol not in self._products:
            return f"Currency pair not supported {symbol}"
        if params.channel == "book" and params.depth not in DEPTHS:
            return "Subscription depth not supported"
        is_asked = (params.channel, symbol) in self._asked
        if request.method == "subscribe":
            return "Already subscribed" if is_asked else ""
        return "" if is_asked else "Subscription Not Found"

    def _first(self, asked: Subscription) -> Iterator[OutFrame]:
        """Tell what a new subscriber is told at once."""
        params, product = asked.params, asked.product
        if params.channel == "book":
            # Before the first book of a recording there is nothing to tell: it comes with the playback.
            if self._view.books[product].update_id and params.snapshot is not False:
                yield self._snapshot(asked)
        elif params.channel == "trade" and params.snapshot and self._view.trades[product]:
            yield self._trades(asked, list(self._view.trades[product]), "past_trades")
        elif params.channel == "ticker" and params.snapshot is not False:
            yield from self._ticker(asked)

    # What the market does

    def publish(self, update: Update) -> Iterator[OutFrame]:
        """Tell of an update, or pass a recorded frame on."""
        for asked in [asked for asked in self._asked.values() if asked.product == update.product]:
            if not isinstance(update, Recorded):
                yield from self._tell(update, asked)
            elif not asked.is_verbatim:
                for part in update.parts():
                    yield from self._tell(part, asked)
                    if isinstance(part, TradeTick):
                        yield from self._tell(self._view.ticker_of(part), asked)
            elif asked.channel == update.channel:
                yield self._pass_on(update, asked)

    def _tell(self, told: Told, asked: Subscription) -> Iterator[OutFrame]:
        self._time_us = max(self._time_us, told.time_us or 0)
        channel = asked.params.channel
        match told:
            case LevelChanges() if channel == "book":
                yield from self._changes(asked)
            case BookSnapshot() if channel == "book":
                yield self._snapshot(asked)
            case TradeTick() if channel == "trade":
                yield self._trades(asked, [told])
            case TickerTick() if channel == "ticker" and asked.params.event_trigger == "trades":
                yield from self._ticker(asked)
            case LevelChanges() | BookSnapshot() if channel == "ticker" and self._is_news(asked):
                yield from self._ticker(asked)

    def _is_news(self, asked: Subscription) -> bool:
        """Whether a ticker is due with a book: the first one, or new best quotes where they are wanted."""
        book = self._view.books[asked.product]
        quotes = book.best("bid"), book.best("ask")
        return not asked.has_told or (asked.params.event_trigger == "bbo" and quotes != asked.quotes)

    def advance(self, time_us: int) -> Iterator[OutFrame]:
        """Take note of the time: nothing is held back."""
        self._time_us = max(self._time_us, time_us)
        return iter(())

    def pulse(self) -> Iterator[OutFrame]:
        """Beat after a second without anything else."""
        if self._is_quiet and self._asked:
            yield OutFrame(wire.encode({"channel": "heartbeat"}), "heartbeat")
        self._is_quiet = True

    # Losing frames

    def lost(self, frame: OutFrame) -> None:
        """Remember the book that the client is left with."""
        self._memory.lost(frame.product)

    def reveals(self, frame: OutFrame) -> bool:
        """Whether the checksum of a frame disagrees with the book that the client is left with."""
        return self._memory.reveals(frame)

    # Frames

    def error_frame(self, message: str) -> OutFrame:
        """Return a complaint that answers no request."""
        return OutFrame(wire.error(f"EService:Unavailable ({message})", "subscribe", self._time_us), "control")

    def unknown_frame(self) -> OutFrame:
        """Return data of a channel that does not exist."""
        return OutFrame(wire.push("premonitions", "update", [{"timestamp": wire.at(self._time_us)}]), "fault")

    def _refusal(self, message: str, request: wire.Request, symbol: str = "") -> OutFrame:
        return OutFrame(wire.error(message, request.method, self._time_us, request.req_id, symbol), "control")

    def _frame(self, asked: Subscription, kind: FrameKind, data: Sequence[Mapping[str, Any]]) -> OutFrame:
        self._is_quiet = False
        name = (
            "snapshot" if kind in ("snapshot", "past_trades") or (kind == "ticker" and not asked.has_told) else "update"
        )
        asked.has_told = True
        items = sum(len(one.get("bids", ())) + len(one.get("asks", ())) for one in data) or len(data)
        text = wire.push(asked.params.channel, name, data)
        return OutFrame(text, kind, asked.product, items, is_numbered=kind == "changes")

    def _pass_on(self, update: Recorded, asked: Subscription) -> OutFrame:
        self._is_quiet, asked.has_told = False, True
        if asked.params.channel == "book":
            self._memory.told(asked.product, self._tops(asked), asked.params.depth, update.kind == "snapshot")
        return passed_on(update)

    def _tops(self, asked: Subscription) -> wire.Tops:
        book, depth, digits = self._view.books[asked.product], asked.params.depth, self._price_digits(asked.product)
        return wire.exact(book.levels("bid", depth), digits), wire.exact(book.levels("ask", depth), digits)

    def _price_digits(self, product: str) -> int:
        if product not in self._digits:
            digits = instrument_of(product, self._view).price_digits
            if not self._view.books[product].update_id:
                return digits  # a guess, until there are prices
            self._digits[product] = digits
        return self._digits[product]

    def _snapshot(self, asked: Subscription) -> OutFrame:
        tops = self._tops(asked)
        self._memory.told(asked.product, tops, asked.params.depth, is_whole=True)
        time_us = self._view.books[asked.product].time_us or self._time_us
        return self._frame(asked, "snapshot", [wire.book(asked.symbol, *tops, tops, time_us)])

    def _changes(self, asked: Subscription) -> Iterator[OutFrame]:
        """Tell what has changed in the depth that the client has."""
        tops, depth = self._tops(asked), asked.params.depth
        before = self._memory.tops(asked.product)
        bids = changed_side("bid", before[0], tops[0], depth)
        asks = changed_side("ask", before[1], tops[1], depth)
        if bids or asks:
            self._memory.told(asked.product, tops, depth)
            yield self._frame(asked, "changes", [wire.book(asked.symbol, bids, asks, tops, self._time_us)])

    def _trades(self, asked: Subscription, ticks: Sequence[TradeTick], kind: FrameKind = "trades") -> OutFrame:
        digits = self._price_digits(asked.product)
        return self._frame(asked, kind, [wire.trade(asked.symbol, tick, digits) for tick in ticks])

    def _ticker(self, asked: Subscription) -> Iterator[OutFrame]:
        """Tell the latest statistics with the quotes of now; nothing as long as there is no book and no trade."""
        view, product = self._view, asked.product
        book = view.books[product]
        bid, ask = asked.quotes = book.best("bid"), book.best("ask")
        last = view.trades[product][-1] if view.trades[product] else None
        tick = view.tickers.get(product) or TickerTick(
            product=product, time_us=self._time_us, price="" if last is None else last.price
        )
        if bid is not None and ask is not None:
            quotes = {"best_bid": bid[0], "best_bid_size": bid[1], "best_ask": ask[0], "best_ask_size": ask[1]}
            tick = msgspec.structs.replace(tick, **quotes)
        if tick.price or tick.best_bid:
            yield self._frame(asked, "ticker", [wire.ticker(asked.symbol, tick)])


class KrakenProtocol(WireProtocol):
    """Kraken websocket v2, `wss://ws.kraken.com/v2`."""

    name = "kraken"
    first_message_s = 60.0

    def greets(self, path: str) -> bool:
        """Kraken speaks first."""
        return True

    def session(self, path: str, view: MarketView, time_us: int) -> Session:
        """Begin a conversation; any path will do."""
        return KrakenSession(view, time_us)

    def rest(self, path_qs: str, source: MarketSource) -> RestReply | None:
        """Answer the calls of ``/0/public``."""
        return answer_get(path_qs, source)

    def ccxt_urls(self, url: str) -> Mapping[str, Any]:
        """Return the addresses for ccxt's `kraken`, which tells v2 by the "v2" in it."""
        http = url.replace("ws://", "http://")
        return {"public": http, "private": http, "ws": {"publicV2": f"{url}/v2", "public": url}}
