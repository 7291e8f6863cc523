"""OKX v5, public channels: https://www.okx.com/docs-v5, sections "Order Book Trading" and "Public Data".

- ``{"op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}, ...]}``; each argument is answered alone.
  The text ``ping`` is answered by ``pong``. A `login` is accepted and means nothing.
- `books` (400 levels, every 100 ms), `books-l2-tbt` and `books50-l2-tbt` (every change): a snapshot, then updates, in
  which a size of "0" removes. ``prevSeqId`` is the ``seqId`` of the message before, -1 in a snapshot; numbers jump. The
  same number twice is a sign of life. `checksum` is 0, as since 2026.
- `books5` (every 100 ms) and `bbo-tbt` (every change): the top levels, whole. `tickers`: every 100 ms.
- `trades`, `trades-all`: the last trade at once, though it is past; then each as it happens, `side` the taker's.
- Whoever is subscribed and subscribes again is answered, but gets no second snapshot: unsubscribe first.
- A recording's frames go out as they were recorded, without numbers and with a checksum where they are older.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from daedalus.sandbox import okx_messages as wire
from daedalus.sandbox.base import FrameKind, MarketSource, OutFrame, RestReply, Session, WireProtocol, passed_on
from daedalus.sandbox.desk import BookClient, BookDesk
from daedalus.sandbox.okx_channels import CHANNELS, Subscription, changed_levels
from daedalus.sandbox.okx_rest import INST_TYPES, answer_get
from daedalus.sandbox.updates import BookSnapshot, Level, LevelChanges, Recorded, TickerTick, Told, TradeTick, Update
from daedalus.sandbox.view import MarketView

#: Seconds without a change of a book after which the exchange shows that it lives.
KEEP_ALIVE_S = 60


class OkxSession(BookClient):
    """One client's conversation."""

    def __init__(self, view: MarketView, time_us: int, desk: BookDesk) -> None:
        self.view, self._time_us, self._desk = view, time_us, desk
        self._conn_id = f"{time_us & 0xFFFFFFFF:08x}"
        self._asked: dict[tuple[str, str], Subscription] = {}
        self._numbered: dict[str, bool] = {}

    # What the client says

    def receive(self, text: str) -> Iterator[OutFrame]:
        """Answer one text frame of the client."""
        if text == "ping":
            yield OutFrame(b"pong", "control")
            return
        try:
            request = wire.decode_request(text)
        except (msgspec.DecodeError, UnicodeError):
            yield self._refusal("60012", f"Illegal request: {text[:200]}")
            return
        for arg in request.args:
            if request.op == "login":
                yield OutFrame(
                    wire.encode({"event": "login", "code": "0", "msg": "", "connId": self._conn_id}), "control"
                )
            else:
                yield from self._answer(request.op, arg)
        if request.op not in ("subscribe", "unsubscribe", "login"):
            yield self._refusal("60012", f"Illegal request: {text[:200]}")
        self.kinds = frozenset(asked.rule.kind for asked in self._asked.values())

    def _answer(self, op: str, arg: Mapping[str, Any]) -> Iterator[OutFrame]:
        channel, product = str(arg.get("channel")), str(arg.get("instId"))
        if channel not in CHANNELS or product not in self.view.books:
            what = f"channel:{channel},instId:{product} doesn't exist"
            yield self._refusal("60018", f"Wrong URL or {what}. Please use the correct URL, channel and parameters.")
        elif op == "unsubscribe":
            self._asked.pop((channel, product), None)
            if CHANNELS[channel].depth:
                self._desk.left(self, [product])
            yield OutFrame(wire.event(op, arg, self._conn_id), "control")
        elif op == "subscribe":
            yield OutFrame(wire.event(op, arg, self._conn_id), "control")
            if (channel, product) not in self._asked:
                is_verbatim = (product, channel) in self.view.verbatim
                asked = self._asked[channel, product] = Subscription(channel, product, is_verbatim)
                yield from self._first(asked)

    def _first(self, asked: Subscription) -> Iterator[OutFrame]:
        """Tell what a new subscriber is told at once."""
        product = asked.product
        if asked.rule.depth:
            self._desk.subscribed(self, product)
            # Before the first book of a recording there is nothing to tell: it comes with the playback.
            if self.view.books[product].update_id:
                yield from self._snapshot(asked)
        elif asked.rule.kind == "trades" and self.view.trades[product]:
            yield self._trade(asked, self.view.trades[product][-1], "past_trades")
        elif asked.rule.kind == "ticker" and product in self.view.tickers:
            yield self._ticker(asked, self.view.tickers[product])

    def close(self) -> None:
        """Be told that the connection has ended."""
        self._desk.left(self)

    # What the market does

    def publish(self, update: Update) -> Iterator[OutFrame]:
        """Tell of an update, or pass a recorded frame on."""
        mine = [asked for asked in self._asked.values() if asked.product == update.product]
        if not isinstance(update, Recorded):
            yield from self._tell(update, mine)
            return
        if update.kind == "changes":
            self._numbered[update.product] = b'"seqId"' in update.text
        for asked in mine:
            if asked.is_verbatim and asked.channel == update.channel:
                yield passed_on(update)
        made = [asked for asked in mine if not asked.is_verbatim]
        for part in update.parts() if made else ():
            yield from self._tell(part, made)
            if isinstance(part, TradeTick):
                yield from self._tell(self.view.ticker_of(part), made)

    def _tell(self, told: Told, asked_for: Iterable[Subscription]) -> Iterator[OutFrame]:
        self._time_us = max(self._time_us, told.time_us or 0)
        yield from self._close_windows()
        for asked in asked_for:
            match told:
                case LevelChanges() if asked.rule.depth:
                    asked.wait(self._time_us)
                    if not asked.rule.span_us:
                        yield from self._due(asked)
                case BookSnapshot() if asked.rule.depth:
                    yield from self._snapshot(asked)
                case TradeTick() if asked.rule.kind == "trades":
                    yield self._trade(asked, told)
                case TickerTick() if asked.channel == "tickers":
                    asked.tick = told
                    asked.wait(self._time_us)

    def advance(self, time_us: int) -> Iterator[OutFrame]:
        """Close the windows that are over."""
        self._time_us = max(self._time_us, time_us)
        yield from self._close_windows()

    def finish(self) -> Iterator[OutFrame]:
        """Tell what no later market time closes."""
        for asked in self._asked.values():
            if asked.due_us is not None:
                yield from self._due(asked)

    def pulse(self) -> Iterator[OutFrame]:
        """Show that books live which have not changed for a minute."""
        for asked in self._asked.values():
            if asked.rule.has_updates and not asked.is_verbatim:
                asked.quiet_s += 1
                if asked.quiet_s >= KEEP_ALIVE_S:
                    yield self._update(asked, [], [], asked.seq_id, 0)

    def _close_windows(self) -> Iterator[OutFrame]:
        for asked in self._asked.values():
            if asked.due_us is not None and asked.due_us <= self._time_us:
                yield from self._due(asked)

    def _due(self, asked: Subscription) -> Iterator[OutFrame]:
        asked.due_us = None
        if asked.rule.has_updates:
            yield from self._changes(asked)
        elif asked.rule.depth:
            yield from self._top(asked)
        elif asked.tick is not None:
            tick, asked.tick = asked.tick, None
            yield self._ticker(asked, tick)

    # Frames

    def error_frame(self, message: str) -> OutFrame:
        """Return a complaint that answers no request."""
        return self._refusal("50026", message)

    def unknown_frame(self) -> OutFrame:
        """Return data of a channel that does not exist."""
        arg = {"channel": "premonitions", "instId": next(iter(self.view.books), "")}
        return OutFrame(wire.push(arg, [{"ts": str(self._time_us // 1000)}]), "fault")

    def _refusal(self, code: str, message: str) -> OutFrame:
        return OutFrame(wire.error(code, message, self._conn_id), "control")

    def _tops(self, asked: Subscription) -> tuple[list[Level], list[Level]]:
        book, depth = self.view.books[asked.product], asked.rule.depth
        return book.levels("bid", depth), book.levels("ask", depth)

    def _snapshot(self, asked: Subscription) -> Iterator[OutFrame]:
        """Tell of the whole book, or the top of it where a channel has no updates."""
        if not asked.rule.has_updates:
            yield from self._top(asked)
            return
        asked.bids, asked.asks = self._tops(asked)
        asked.seq_id, asked.due_us = self.view.books[asked.product].update_id, None
        book: dict[str, Any] = {"asks": wire.levels(asked.asks), "bids": wire.levels(asked.bids), "ts": self._ts(asked)}
        # Who was told of a recorded book goes on with its checksum, and with numbers only if it had some.
        book["checksum"] = wire.checksum(asked.bids, asked.asks) if asked.is_verbatim else 0
        if self._numbered.get(asked.product, not asked.is_verbatim):
            book |= {"prevSeqId": -1, "seqId": asked.seq_id}
        data = wire.push(asked.arg, [book], "snapshot")
        yield OutFrame(data, "snapshot", asked.product, len(asked.bids) + len(asked.asks))

    def _changes(self, asked: Subscription) -> Iterator[OutFrame]:
        bids, asks = self._tops(asked)
        before = asked.bids, asked.asks
        asked.bids, asked.asks = bids, asks
        sides = [changed_levels(old, new) for old, new in zip(before, (bids, asks), strict=True)]
        if sides[0] or sides[1]:
            seq_id = self.view.books[asked.product].update_id
            yield self._update(asked, sides[0], sides[1], seq_id, len(sides[0]) + len(sides[1]))

    def _update(self, asked: Subscription, bids: Any, asks: Any, seq_id: int, items: int) -> OutFrame:
        previous, asked.seq_id, asked.quiet_s = asked.seq_id, seq_id, 0
        book = {"asks": asks, "bids": bids, "ts": self._ts(asked), "checksum": 0}
        data = wire.push(asked.arg, [{**book, "prevSeqId": previous, "seqId": seq_id}], "update")
        return OutFrame(data, "changes", asked.product, items)

    def _top(self, asked: Subscription) -> Iterator[OutFrame]:
        bids, asks = self._tops(asked)
        if (bids, asks) != (asked.bids, asked.asks):
            asked.bids, asked.asks = bids, asks
            book: dict[str, Any] = {"asks": wire.levels(asks), "bids": wire.levels(bids), "instId": asked.product}
            book |= {"ts": self._ts(asked), "seqId": self.view.books[asked.product].update_id}
            kind: FrameKind = "ticker" if asked.rule.kind == "ticker" else "snapshot"
            yield OutFrame(wire.push(asked.arg, [book]), kind, asked.product, len(bids) + len(asks))

    def _trade(self, asked: Subscription, tick: TradeTick, kind: FrameKind = "trades") -> OutFrame:
        return OutFrame(wire.push(asked.arg, [wire.trade(tick)]), kind, asked.product, 1, is_numbered=False)

    def _ticker(self, asked: Subscription, tick: TickerTick) -> OutFrame:
        parts = asked.product.split("-")
        inst_type = INST_TYPES["spot" if len(parts) == 2 else "swap" if parts[-1] == "SWAP" else "future"]
        return OutFrame(wire.push(asked.arg, [wire.ticker(tick, inst_type)]), "ticker", asked.product, 1)

    def _ts(self, asked: Subscription) -> str:
        return str((self.view.books[asked.product].time_us or self._time_us) // 1000)


class OkxProtocol(WireProtocol):
    """OKX v5, `wss://ws.okx.com:8443/ws/v5/public`. One object a server: it knows who fetches books."""

    name = "okx"
    first_message_s = 30.0

    def __init__(self) -> None:
        self.desk = BookDesk()

    def session(self, path: str, view: MarketView, time_us: int) -> Session:
        """Begin a conversation; any path will do."""
        return OkxSession(view, time_us, self.desk)

    def rest(self, path_qs: str, source: MarketSource) -> RestReply | None:
        """Answer the public calls of ``/api/v5``."""
        return answer_get(path_qs, source, self.desk)

    def ccxt_urls(self, url: str) -> Mapping[str, Any]:
        """Return the addresses for ccxt's `okx`, which appends ``/public``."""
        return {"rest": url.replace("ws://", "http://"), "ws": f"{url}/ws/v5"}
