"""What parsers of recorded frames share: books, trades that count once, frames that cannot be read, the ledger.

A parser is a pure function of frames, their receive clocks and what it has seen before: no clock, no connection. So
the same frames give the same rows, whoever recorded them and however often they are read.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.ccxt_events import CcxtCounters, Fields, info_json, number, time_us
from daedalus.ingestion.collectors.ccxt_losses import Losses
from daedalus.ingestion.collectors.ccxt_trades import TradeMemory
from daedalus.ingestion.collectors.market_books import BOOK_CHANNELS, MarketBooks
from daedalus.recordings.base import Message
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import Event, Side, Ticker, Trade

CHANNELS = ("ticker", "trades", "l2", "orderbook")
#: What a frame with wrong content may raise.
FAULTS = (
    MalformedError,
    msgspec.MsgspecError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
)
_QUOTED = 200


@dataclass(frozen=True)
class ParserSettings:
    """What a parser is told.

    Attributes
    ----------
    exchange
        The exchange's name in the lake.
    channels
        Bronze channels to record.
    depth, interval_ms
        Levels a side of an `orderbook` row; least receive time between two rows of a market, 0 = each update.
    name
        The exchange's id of a market to the symbol in the lake.
    """

    exchange: str
    channels: frozenset[str] = frozenset(CHANNELS)
    depth: int = 20
    interval_ms: int = 0
    name: Callable[[str], str] = field(default=str, compare=False)


class FrameParser:
    """Turns the frames of one exchange into events. Subclasses implement `_read` or `_typed`, as generators.

    Attributes
    ----------
    consecutive_ids
        Whether a market's trade ids grow by one, so that a jump tells how many trades are missing.
    is_checked
        Whether frames carry what tells of a lost one (numbers, checksums). Where they do not, a frame that cannot be
        read leaves the books unknown until their next snapshots.
    fields
        Which of the exchange's own fields columns carry; `info_json` keeps the others.
    notes
        What a person should know of the whole recording.
    """

    consecutive_ids: ClassVar[bool] = False
    is_checked: ClassVar[bool] = True
    fields: ClassVar[Fields] = Fields()

    def __init__(self, settings: ParserSettings) -> None:
        self.settings, self.count, self.notes = settings, CcxtCounters(), list[str]()
        self.gaps = OpenGaps(settings.exchange)
        self.losses = Losses(settings.exchange, self.gaps)
        self.books = MarketBooks(
            exchange=settings.exchange,
            channels=settings.channels,
            depth=settings.depth,
            interval_ms=settings.interval_ms,
            gaps=self.gaps,
        )
        self._memory = TradeMemory()
        self._last_ns: dict[Stream, int] = {}
        self._has_trades, self._has_tickers = "trades" in settings.channels, "ticker" in settings.channels

    # -- what drivers call --------------------------------------------------------------------------------------------

    def feed(self, text: str, now: int) -> list[Event]:
        """Return the events of a frame received at `now` (ns). Never raises for what a frame holds."""
        self.count.frames += 1
        return self._events(self._read(text, now), text, now)

    def take(self, message: Message, now: int) -> list[Event]:
        """Return the events of a message that a reader has typed. Never raises for what it holds."""
        return self._events(self._typed(message, now), message, now)

    def answered(self, url: str, text: str, now: int) -> list[Event]:
        """Return the events of an answer to a REST request. Never raises for what it holds."""
        return self._events(self._read_answer(url, text, now), text, now)

    def unreadable(self, reason: str, text: str, now: int, streams: Collection[Stream] | None = None) -> list[Event]:
        """Enter something that was recorded and cannot be read; `streams` are what it may be of, None for all."""
        self.count.malformed += 1
        detail = printable(f"{reason}; it begins {text[:_QUOTED]!r}")
        rows: list[Event] = list(self.losses.failed(reason[:60], detail, (), now))
        if not self.is_checked:
            carried = self.books.streams() if streams is None else streams
            books = dict.fromkeys(symbol for symbol, channel in carried if channel in BOOK_CHANNELS)
            whole = [symbol for symbol in books if self.books.market(symbol).valid]
            rows += self.books.lost(whole, now=now, reason="parse_error", missed=1, detail=detail)
        return rows

    def interrupted(self, since: int, now: int, detail: str, streams: Collection[Stream] | None = None) -> list[Event]:
        """Enter an interval in which nothing of these streams, or of all, was recorded. Books are unknown after it."""
        chosen = self.streams() if streams is None else streams
        books = dict.fromkeys(symbol for symbol, channel in chosen if channel in BOOK_CHANNELS)
        rows = self.books.lost(books, now=now, reason="disconnect", detail=detail)
        return rows + self._open([s for s in chosen if s[1] not in BOOK_CHANNELS], since, now, "disconnect", detail)

    def streams(self) -> list[Stream]:
        """Return the (symbol, channel) pairs of which something came."""
        return [*self.books.streams(), *self._last_ns]

    def finish(self, now: int, detail: str) -> list[Event]:
        """End the recording: what comes after it is missing, until somebody records again."""
        return [*self.losses.due(2**63 - 1), *self._open(self.streams(), now, now, "shutdown", detail)]

    # -- what subclasses implement and use ----------------------------------------------------------------------------

    def _read(self, text: str, now: int) -> Iterator[Event]:
        raise NotImplementedError

    def _typed(self, message: Message, now: int) -> Iterator[Event]:
        raise NotImplementedError

    def _read_answer(self, url: str, text: str, now: int) -> Iterator[Event]:
        return iter(())

    def _trade(
        self,
        symbol: str,
        now: int,
        *,
        trade_id: str | None,
        timestamp: int | None,
        side: Side | None,
        price: object,
        amount: object,
        info: Any,
        is_past: bool = False,
    ) -> Iterator[Event]:
        """Yield a trade, once, and what of the ledger goes with it.

        A past one, which an exchange sends on subscribing, counts only if the market was recorded before it.
        """
        skipped, is_past = 0, is_past and not self._memory.knows(symbol)
        if trade_id is not None:
            new = self._memory.add(symbol, trade_id)
            if new is None:
                self.count.trades_resent += 1
                return
            skipped = new if self.consecutive_ids else 0
        if is_past:
            self.count.trades_past += 1
            return
        if not self._has_trades:
            return
        event = Trade(
            collected_at=now,
            exchange=self.settings.exchange,
            symbol=symbol,
            trade_id=trade_id,
            timestamp=timestamp,
            side=side,
            price=number(price),
            amount=number(amount),
            info_json=info_json(info, self.fields.trade, self.count),
        )
        yield from self._missing_trades((symbol, "trades"), skipped, now)
        self._last_ns[symbol, "trades"] = now
        yield event

    def _missing_trades(self, stream: Stream, skipped: int, now: int) -> Iterator[Event]:
        """Enter a jump in the ids, as the size of the gap that was open, or as a gap of its own."""
        closed = self.gaps.close([stream], now) if self.gaps else []
        if closed and skipped:
            closed = [msgspec.structs.replace(row, missed=skipped) for row in closed]
        elif skipped:
            self.count.sequence_gaps += 1
            closed = self.losses.rows(
                [stream],
                since=self._last_ns.get(stream, now),
                now=now,
                reason="sequence_gap",
                missed=skipped,
                detail=f"trade ids jump by {skipped + 1}",
            )
        yield from closed

    def _ticker(
        self, symbol: str, now: int, values: Mapping[str, object], *, timestamp: int | None, info: Any
    ) -> Iterator[Event]:
        """Yield a ticker; `values` by column."""
        if not self._has_tickers:
            return
        event = Ticker(
            collected_at=now,
            exchange=self.settings.exchange,
            symbol=symbol,
            timestamp=timestamp,
            info_json=info_json(info, self.fields.ticker, self.count),
            **{column: number(value) for column, value in values.items()},
        )
        stream = (symbol, "ticker")
        if self.gaps:
            yield from self.gaps.close([stream], now)
        self._last_ns[stream] = now
        yield event

    def _time_us(self, ms: Any, now: int) -> int | None:
        """Return a time in ms as microseconds, None if it cannot be one."""
        return time_us(ms, now, self.count)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _events(self, read: Iterator[Event], source: object, now: int) -> list[Event]:
        events: list[Event] = []
        try:
            for event in read:
                events.append(event)  # one by one: what came before a fault stays
        except FAULTS as error:
            events += self.unreadable(f"{type(error).__name__}: {error!s:.300}", str(source), now)
        return [*events, *self.books.due(now), *self.losses.due(now)]

    def _open(self, streams: Iterable[Stream], since: int, now: int, reason: str, detail: str) -> list[Event]:
        return list(self.gaps.open(dict.fromkeys(streams), since=since, now=now, reason=reason, detail=detail))


def printable(text: str) -> str:
    """Return a text that every column takes: what is no Unicode becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
