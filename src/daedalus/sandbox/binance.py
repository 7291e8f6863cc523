"""Binance and Binance US: market data streams of spot, and of the USD-M and COIN-M futures that were recorded.

- ``/stream?streams=a/b`` gives ``{"stream": ..., "data": ...}``, ``/ws/a`` the bare data. Parts of the path that name
  no stream, such as the ``/N`` that ccxt appends, do no harm. Streams may also be named by SUBSCRIBE messages, answered
  by ``{"result": null, "id": ...}``. ``/fstream`` in the path means USD-M, ``/dstream`` COIN-M, else it is spot.
- `<symbol>@trade`, `@aggTrade`, `@bookTicker`, `@ticker`, `@miniTicker`, `@depth[@100ms]`, `!ticker@arr`,
  `!miniTicker@arr`. A stream of a symbol that does not trade is accepted and stays silent, as on the exchange.
- `depthUpdate` carries the numbers of the first and the last change of its window, `U` and `u`; the next one goes on
  from there. Futures add `pu`, the number before.
- The server pings every three minutes.
- A recording's frames go out as they were recorded wherever it has the stream that is asked for.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from daedalus.sandbox import binance_messages as wire
from daedalus.sandbox.base import FrameKind, MarketSource, OutFrame, RestReply, Session, WireProtocol, passed_on
from daedalus.sandbox.binance_frames import Market
from daedalus.sandbox.binance_rest import REST_PATHS, answer_get
from daedalus.sandbox.binance_streams import CHANNELS, Stream, stream_of
from daedalus.sandbox.desk import BookClient, BookDesk
from daedalus.sandbox.instruments import bare_name
from daedalus.sandbox.updates import Kind, LevelChanges, Recorded, TickerTick, Told, TradeTick, Update
from daedalus.sandbox.view import MarketView

PING_S = 180
#: Tickers are told of at most so often, in market time.
TICKER_US = 1_000_000
#: What in a path tells the market.
_MARKETS: Mapping[str, Market] = {"/fstream": "usdm", "/dstream": "coinm"}
_DAY_STREAMS = ("ticker", "miniTicker")


class BinanceSession(BookClient):
    """One client's conversation.

    Parameters
    ----------
    market
        Products of other markets are not there.
    is_combined
        Whether data come wrapped with the name of their stream.
    streams
        Names of streams asked for by the address.
    """

    def __init__(
        self, view: MarketView, time_us: int, market: Market, is_combined: bool, streams: Iterable[str], desk: BookDesk
    ) -> None:
        self.view, self._time_us, self._market, self._is_combined = view, time_us, market, is_combined
        self._desk = desk
        self._products = {
            bare_name(product).lower(): product
            for product in view.books
            if (product.partition(".")[2] or "spot") == market
        }
        self._streams: dict[str, Stream] = {}
        self._answered: set[str] = set()
        self._ticks: dict[str, TickerTick] = {}
        self._ticker_due_us = time_us + TICKER_US
        self._pulses = self._unknown = 0
        for name in streams:
            self._subscribe(name)

    # What the client says

    def receive(self, text: str) -> Iterator[OutFrame]:
        """Answer one text frame of the client."""
        try:
            request = wire.decode_request(text)
        except (msgspec.DecodeError, UnicodeError) as error:
            yield self._control(wire.error(3, f"Invalid JSON: {error}"))
            return
        names = [name for name in request.params if isinstance(name, str)]
        if request.method == "SUBSCRIBE" and all(self._stream(name) for name in names):
            for name in names:
                self._subscribe(name)
        elif request.method == "UNSUBSCRIBE":
            self._unsubscribe(names)
        elif request.method == "LIST_SUBSCRIPTIONS":
            yield self._control({"result": list(self._streams), "id": request.id})
            return
        elif request.method == "SET_PROPERTY" and request.params[:1] == ["combined"]:
            self._is_combined = request.params[1:] == [True]
        else:
            what = "invalid stream" if request.method == "SUBSCRIBE" else f"unknown method {request.method}"
            yield self._control(wire.error(2, f"Invalid request: {what}", request.id))
            return
        yield self._control({"result": None, "id": request.id})

    def _stream(self, name: str) -> Stream | None:
        return stream_of(name, self._market, self._products, self.view.verbatim)

    def _subscribe(self, name: str) -> None:
        stream = self._stream(name)
        if stream is None:
            return
        self._streams.setdefault(name, stream)
        if stream.channel == "depth" and stream.product:
            self._answered.discard(stream.product)
            self._desk.subscribed(self, stream.product)
        self._settle()

    def _unsubscribe(self, names: Iterable[str]) -> None:
        for name in names:
            stream = self._streams.pop(name, None)
            if stream is not None and stream.channel == "depth":
                self._desk.left(self, [stream.product])
        self._settle()

    def _settle(self) -> None:
        kinds: set[Kind] = {CHANNELS.get(stream.channel, "ticker") for stream in self._streams.values()}
        self.kinds = frozenset(kinds)

    def fetched(self, product: str) -> None:
        """Be told that the client has its book."""
        self._answered.add(product)
        super().fetched(product)

    def close(self) -> None:
        """Be told that the connection has ended."""
        self._desk.left(self)

    # What the market does

    def publish(self, update: Update) -> Iterator[OutFrame]:
        """Tell of an update, or pass a recorded frame on."""
        mine = [s for s in self._streams.values() if s.is_of_all or s.product == update.product]
        if not isinstance(update, Recorded):
            yield from self._tell(update, mine)
            return
        for stream in mine:
            if stream.is_verbatim and stream.channel == update.channel:
                yield passed_on(update, self._wrapped(stream, update.text))
        if update.kind == "answer" and any(s.channel == "depth" for s in mine) and update.product not in self._answered:
            self.fetch, self.due = "due", update.product
        made = [stream for stream in mine if not stream.is_verbatim]
        if made and self._products.get(bare_name(update.product).lower()) == update.product:
            for part in update.parts():
                yield from self._tell(part, made)
                if isinstance(part, TradeTick):
                    yield from self._tell(self.view.ticker_of(part), made)

    def _tell(self, told: Told, streams: Iterable[Stream]) -> Iterator[OutFrame]:
        self._time_us = max(self._time_us, told.time_us or 0)
        yield from self._close_windows()
        for stream in streams:
            match told:
                case LevelChanges() if stream.channel == "depth":
                    stream.window.add(told, self.view.books[told.product].update_id)
                    if stream.window.is_over(self._time_us):
                        yield self._depth(stream)
                case LevelChanges() if stream.channel == "bookTicker":
                    yield from self._quotes(stream)
                case TradeTick() if stream.channel in ("trade", "aggTrade"):
                    data = wire.trade(stream.symbol, told, self._market, stream.channel)
                    yield self._frame("trades", stream, wire.encode(data), 1)
                case TickerTick() if stream.channel in _DAY_STREAMS:
                    self._ticks[told.product] = told

    def advance(self, time_us: int) -> Iterator[OutFrame]:
        """Close the windows that are over; tell of tickers once a second."""
        self._time_us = max(self._time_us, time_us)
        yield from self._close_windows()
        if self._time_us >= self._ticker_due_us:
            self._ticker_due_us = self._time_us + TICKER_US
            ticks, self._ticks = self._ticks, {}
            for stream in [s for s in self._streams.values() if s.channel in _DAY_STREAMS and not s.is_verbatim]:
                yield from self._day(stream, ticks)

    def finish(self) -> Iterator[OutFrame]:
        """Tell of the changes of windows that no later market time closes."""
        for stream in self._streams.values():
            if stream.window.end_us is not None:
                yield self._depth(stream)

    def pulse(self) -> Iterator[OutFrame]:
        """Ping when it is time."""
        self._pulses += 1
        if self._pulses % PING_S == 0:
            yield OutFrame(str(self._time_us // 1000).encode(), "ping")

    def _close_windows(self) -> Iterator[OutFrame]:
        for stream in self._streams.values():
            if stream.window.is_over(self._time_us):
                yield self._depth(stream)

    # Frames

    def error_frame(self, message: str) -> OutFrame:
        """Return a complaint that answers no request."""
        return self._control(wire.error(1, message))

    def unknown_frame(self) -> OutFrame:
        """Return an event that does not exist."""
        self._unknown += 1
        stream = Stream("!premonition@arr", "", "", "premonition")
        data = {"e": "premonition", "E": self._time_us // 1000, "n": self._unknown}
        return self._frame("fault", stream, wire.encode(data), 0)

    def _control(self, data: Mapping[str, Any]) -> OutFrame:
        return OutFrame(wire.encode(data), "control")

    def _frame(self, kind: FrameKind, stream: Stream, data: bytes, items: int) -> OutFrame:
        return OutFrame(self._wrapped(stream, data), kind, stream.product, items, is_numbered=kind == "changes")

    def _wrapped(self, stream: Stream, data: bytes) -> bytes:
        return b'{"stream":' + wire.encode(stream.name) + b',"data":' + data + b"}" if self._is_combined else data

    def _depth(self, stream: Stream) -> OutFrame:
        window = stream.window
        time_us = window.end_us or self._time_us
        changes = window.take()
        ids = window.first_id, window.last_id
        data = wire.depth_update(stream.symbol, time_us // 1000, *ids, changes, self._market)
        return self._frame("changes", stream, wire.encode(data), len(changes))

    def _quotes(self, stream: Stream) -> Iterator[OutFrame]:
        """Tell of the best quotes where they have changed."""
        book = self.view.books[stream.product]
        bid, ask = book.best("bid"), book.best("ask")
        if bid is not None and ask is not None and stream.quotes != (bid, ask):
            stream.quotes = bid, ask
            data = wire.book_ticker(stream.symbol, self._time_us // 1000, book.update_id, bid, ask, self._market)
            yield self._frame("ticker", stream, wire.encode(data), 1)

    def _day(self, stream: Stream, ticks: Mapping[str, TickerTick]) -> Iterator[OutFrame]:
        mine = [tick for product, tick in ticks.items() if stream.is_of_all or product == stream.product]
        time_ms, is_mini = self._time_us // 1000, stream.channel == "miniTicker"
        told = [wire.ticker(bare_name(tick.product).upper(), tick, time_ms, is_mini) for tick in mine]
        if told:
            yield self._frame("ticker", stream, wire.encode(told if stream.is_of_all else told[0]), len(told))


class BinanceProtocol(WireProtocol):
    """Binance and Binance US, `wss://stream.binance.us:9443`. One object a server: it knows who fetches books."""

    name = "binance"
    first_message_s = 60.0

    def __init__(self) -> None:
        self.desk = BookDesk()

    def greets(self, path: str) -> bool:
        """Whether the address names streams: then nothing has to be said."""
        return bool(_named_streams(path))

    def session(self, path: str, view: MarketView, time_us: int) -> Session:
        """Begin a conversation; the path tells the market, the form of the data, and perhaps streams."""
        market = next((market for part, market in _MARKETS.items() if part in path), "spot")
        is_combined = "ws" not in urlsplit(path).path.split("/")
        return BinanceSession(view, time_us, market, is_combined, _named_streams(path), self.desk)  # type: ignore[arg-type]

    def rest(self, path_qs: str, source: MarketSource) -> RestReply | None:
        """Answer the calls of ``/api/v3``, ``/fapi/v1`` and ``/dapi/v1`` for the market and for books."""
        return answer_get(path_qs, source, self.desk)

    def ccxt_urls(self, url: str) -> Mapping[str, Any]:
        """Return the addresses for ccxt's `binance` and `binanceus`. It tells spot by the "/stream" in the address."""
        rest = {name: url.replace("ws://", "http://") + path for name, path in REST_PATHS.items()}
        ws = {"spot": "/stream/ws", "margin": "/stream/ws", "linear": "/fstream/ws", "inverse": "/dstream/ws"}
        return {**rest, "ws": {name: url + path for name, path in ws.items()}}


def _named_streams(path: str) -> list[str]:
    parts = urlsplit(path)
    named = "/".join(parse_qs(parts.query).get("streams", [])).split("/")
    return [name for name in [*named, *parts.path.split("/")] if "@" in name or name.startswith("!")]
