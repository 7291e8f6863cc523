"""A recording as a source: every connection gets its own playback, from the start, in recorded time.

Nothing is added to what was recorded but a ticker after each trade, made of the trade and the best quotes at that time.
Statistics of a day, which a session does not hold, are left out. Texts of prices and sizes stay as recorded.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path

from daedalus.recordings.base import Book, Changes, Control, Match, Message, Unreadable
from daedalus.recordings.registry import reader
from daedalus.sandbox.updates import Batch, BookSnapshot, LevelChanges, TradeTick, Update
from daedalus.sandbox.view import MarketView
from daedalus.shared.clock import NS_PER_US, Clock, SystemClock
from daedalus.shared.errors import ConfigError

#: Messages held in memory at most; a session of ten busy minutes has some 20,000.
MESSAGES_MAX = 5_000_000
#: Updates of one batch at most.
BATCH_UPDATES_MAX = 200
#: Wall seconds between two batches of a paced playback at most.
STEP_S = 0.1


class RecordingSource:
    """A `base.MarketSource` over one recorded file, which is read whole at construction.

    Parameters
    ----------
    path
        The file.
    form
        Its format, a key of `recordings.registry.FORMATS`.
    speed
        Recorded seconds per wall second; infinity is as fast as the client takes it.
    clock
        Gives the pace.

    Attributes
    ----------
    controls, unreadable
        Messages that are not played: about the recorded connection, and those that could not be read.

    Raises
    ------
    ConfigError
        If the recording holds no book and no trade, or is too long.
    NotFoundError, CorruptError
        As the reader.
    """

    linger_s = 1.0

    def __init__(
        self,
        path: Path,
        form: str = "coinbase-exchange",
        *,
        speed: float = math.inf,
        clock: Clock | None = None,
    ) -> None:
        if not speed > 0.0:
            raise ConfigError(f"speed {speed:g}: must be above 0")
        self._clock, self._speed = clock or SystemClock(), speed
        self.controls = self.unreadable = 0
        messages = list(self._market_messages(path, reader(form)(path)))
        self.products: Sequence[str] = tuple(dict.fromkeys(m.product for m in messages))
        if not messages:
            raise ConfigError(f"{path}: no book and no trade in it: nothing to play")
        self.name = f"recording {path.name}"
        self._time_us = _first_time_us(messages)
        self._view, self.updates = _prepare(messages, self.products, self._time_us)

    def _market_messages(self, path: Path, messages: Iterable[Message]) -> Iterator[Book | Changes | Match]:
        for message in messages:
            match message:
                case Book() | Changes() | Match():
                    yield message
                case Control():
                    self.controls += 1
                case Unreadable():
                    self.unreadable += 1
            if message.line > MESSAGES_MAX:
                raise ConfigError(f"{path}: more than {MESSAGES_MAX} messages: cut it into shorter files")

    def open(self) -> "Playback":
        """Return a playback from the start."""
        return Playback(self._view.copy(), self._time_us, self.updates, self._speed, self._clock)

    async def run(self) -> None:
        """Nothing to drive: playbacks pace themselves."""


class Playback:
    """One connection's playback. See `base.Feed`. Its time begins with the first batch that is asked for."""

    def __init__(self, view: MarketView, time_us: int, updates: Sequence[Update], speed: float, clock: Clock) -> None:
        self.view, self.time_us = view, time_us
        self._updates, self._speed, self._clock = updates, speed, clock
        self.overrun = asyncio.Event()  # never: nothing is held, the playback waits
        self._next = 0
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[Batch]:
        """Yield what is due, in recorded order, until the recording ends."""
        began, first_us = self._clock.monotonic(), self.time_us
        while self._next < len(self._updates) and not self._is_closed:
            elapsed = self._clock.monotonic() - began
            due_us = math.inf if math.isinf(self._speed) else first_us + elapsed * self._speed * 1e6
            yield self._take(due_us)
            await self._wait(due_us)

    def _take(self, due_us: float) -> Batch:
        """Return the updates due. Recorded times step back at times; the order of arrival is kept."""
        end = self._next
        while end < len(self._updates) and end - self._next < BATCH_UPDATES_MAX:
            if (time_us := _time_us(self._updates[end], self.time_us)) > due_us:
                break
            self.time_us = max(self.time_us, time_us)
            end += 1
        if not math.isinf(due_us) and end - self._next < BATCH_UPDATES_MAX:
            self.time_us = max(self.time_us, int(due_us))
        batch = Batch(self.time_us, self._updates[self._next : end])
        self._next = end
        return batch

    async def _wait(self, due_us: float) -> None:
        """Sleep until the next update is due, or let others run."""
        if math.isinf(due_us) or self._next >= len(self._updates):
            await asyncio.sleep(0)
            return
        ahead_s = (_time_us(self._updates[self._next], self.time_us) - due_us) / self._speed / 1e6
        await self._clock.sleep(min(STEP_S, max(0.0, ahead_s)))

    def close(self) -> None:
        """End the playback."""
        self._is_closed = True


def _time_us(update: Update, default: int) -> int:
    return update.time_us if update.time_us is not None else default


def _is_live(message: Book | Changes | Match) -> bool:
    """Whether it happened during the recording: books and past trades tell of what was before."""
    return isinstance(message, Changes) or (isinstance(message, Match) and not message.is_past)


def _first_time_us(messages: Sequence[Book | Changes | Match]) -> int:
    """Return the time of the first live message; without any, the first receive time."""
    for message in messages:
        if message.time_us is not None and _is_live(message):
            return message.time_us
    return next((m.received_ns // NS_PER_US for m in messages if m.received_ns is not None), 0)


def _prepare(
    messages: Sequence[Book | Changes | Match], products: Sequence[str], time_us: int
) -> tuple[MarketView, list[Update]]:
    """Return the market before the first live message, and the updates from there on, tickers included."""
    view = MarketView(products)
    start = next((i for i, message in enumerate(messages) if _is_live(message)), len(messages))
    for message in messages[:start]:
        for update in _updates(message, view, time_us):
            view.apply(update)
    now, updates = view.copy(), []
    for message in messages[start:]:
        # What a reconnect in mid-recording tells of the past is no new trade.
        if isinstance(message, Match) and message.is_past:
            continue
        for update in _updates(message, now, time_us):
            time_us = _time_us(update, time_us)
            now.apply(update)
            updates.append(update)
    return view, updates


def _updates(message: Book | Changes | Match, view: MarketView, time_us: int) -> Iterator[Update]:
    """Yield what one message says; where it has no time, the last one's stands."""
    product = message.product
    match message:
        case Book():
            yield BookSnapshot(product, message.time_us, message.bids, message.asks)
        case Changes():
            yield LevelChanges(product, message.time_us or time_us, message.changes)
        case Match():
            at = message.time_us or time_us
            trade = TradeTick(product, at, message.trade_id, message.price, message.size, message.maker_side)
            yield trade
            yield view.ticker_of(trade)
