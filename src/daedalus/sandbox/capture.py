"""Recorded frames as a source: every connection gets its own playback, from the start, in recorded time.

A client that speaks the recorded exchange's protocol gets the frames as they were recorded, byte for byte, paced by the
recorder's clock. Any other protocol tells what the frames say, as it does of a `RecordingSource`; its books are there
from the start on. A REST answer that was recorded in line is given when a client asks, and a playback waits there.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from daedalus.recordings.base import Capture, Unreadable
from daedalus.recordings.registry import capture_reader
from daedalus.sandbox.recording import MESSAGES_MAX, Playback
from daedalus.sandbox.updates import Batch, BookSnapshot, LevelChanges, Recorded, Told, TradeTick, Update
from daedalus.sandbox.venues import Read, Venue, venue_of
from daedalus.sandbox.view import MarketView
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import ConfigError

#: Frames of a product that tell what its prices look like.
SAMPLE_FRAMES = 50


class CaptureSource:
    """A `base.MarketSource` over the captured frames of one exchange, which are read whole at construction.

    Parameters
    ----------
    paths
        The files of one session, each in the order of its clock: one after the other, or side by side.
    form
        Their format, a key of `recordings.registry.CAPTURES`.
    protocol
        What the server will speak.
    speed
        Recorded seconds per wall second; infinity is as fast as the client takes it.
    clock
        Gives the pace.

    Attributes
    ----------
    answers
        By product, the first recorded answer to the REST call for its book.
    sample
        A view with some of everything: what prices and sizes look like.
    controls, unreadable
        Frames that are not played: about the recorded connection, and those that could not be read.

    Raises
    ------
    ConfigError
        If the frames are of an exchange that the sandbox does not know, hold no market data, or are too many.
    NotFoundError, CorruptError
        As the reader.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        form: str,
        protocol: str,
        *,
        speed: float = math.inf,
        clock: Clock | None = None,
    ) -> None:
        if not speed > 0.0:
            raise ConfigError(f"speed {speed:g}: must be above 0")
        self._clock, self._speed = clock or SystemClock(), speed
        self.controls = self.unreadable = 0
        self.name = f"recording {', '.join(path.name for path in paths)}"
        venue, frames = self._read(paths, form)
        self.products: Sequence[str] = tuple(dict.fromkeys(f.product for f in frames))
        self.answers = {f.product: f for f in reversed(frames) if f.kind == "answer"}
        self.sample = _sample(frames, self.products)
        self.linger_s = venue.linger_s
        self._time_us = frames[0].time_us
        self._view, self.updates = MarketView(self.products), list[Update](frames)
        if venue.speaks == protocol:
            self._view.verbatim = frozenset((f.product, f.channel) for f in frames)
        else:
            self._view, self.updates = _told(frames, self.products)

    def _read(self, paths: Sequence[Path], form: str) -> tuple[Venue, list[Recorded]]:
        reader = capture_reader(form)
        venue = venue_of(form, paths[0], reader(paths[0]))
        read = venue.reader()
        merged = heapq.merge(*(reader(path) for path in paths), key=_received_ns)
        frames = [f for capture in merged if (f := self._frame(read, capture)) is not None]
        if len(frames) > MESSAGES_MAX:
            raise ConfigError(f"{self.name}: more than {MESSAGES_MAX} frames: cut it into shorter files")
        frames = venue.arrange(frames)
        if not frames:
            raise ConfigError(f"{self.name}: no market data of {venue.name} in it: nothing to play")
        return venue, frames

    def _frame(self, read: Read, capture: Capture | Unreadable) -> Recorded | None:
        try:
            frame = read(capture) if isinstance(capture, Capture) else None
        except (msgspec.DecodeError, UnicodeError, LookupError, TypeError):
            frame, capture = None, Unreadable(line=capture.line, reason="", text="")
        if frame is None:
            self.controls += isinstance(capture, Capture) and capture.kind == "received"
            self.unreadable += isinstance(capture, Unreadable)
        return frame

    def open(self) -> "CapturePlayback":
        """Return a playback from the start."""
        return CapturePlayback(self._view.copy(), self._time_us, self.updates, self._speed, self._clock)

    async def run(self) -> None:
        """Nothing to drive: playbacks pace themselves."""


class CapturePlayback(Playback):
    """A playback whose batches end with a recorded REST answer, so that the connection can wait there."""

    def _take(self, due_us: float) -> Batch:
        batch = super()._take(due_us)
        for index, update in enumerate(batch.updates, start=1):
            if isinstance(update, Recorded) and update.kind == "answer":
                self._next -= len(batch.updates) - index
                return Batch(batch.time_us, batch.updates[:index])
        return batch


def _received_ns(capture: Capture | Unreadable) -> int:
    # A line that cannot be read has no time of its own: it comes first among what its file has next.
    return capture.received_ns or 0


def _sample(frames: Iterable[Recorded], products: Sequence[str]) -> MarketView:
    view, seen = MarketView(products), Counter[str]()
    for frame in frames:
        if seen[frame.product] < SAMPLE_FRAMES:
            seen[frame.product] += bool(frame.parts())
            view.apply(frame)
    return view


def _told(frames: Sequence[Recorded], products: Sequence[str]) -> tuple[MarketView, list[Update]]:
    """Return the market with the first book of each product, and what frames say from there on, tickers included."""
    view, now = MarketView(products), MarketView(products)
    updates: list[Update] = []
    for part in (_uncounted(part) for frame in frames for part in frame.parts()):
        try:
            now.apply(part)
        except ValueError:  # a price that is no number
            continue
        if isinstance(part, BookSnapshot) and not view.books[part.product].update_id:
            view.apply(part)
        elif not isinstance(part, LevelChanges) or view.books[part.product].update_id:
            updates += _with_ticker(part, now)
    return view, updates


def _uncounted(part: Told) -> Told:
    """Return it without the exchange's numbers, which no other exchange's would go on from."""
    if isinstance(part, BookSnapshot | LevelChanges):
        return msgspec.structs.replace(part, update_id=None)
    return part


def _with_ticker(part: Told, view: MarketView) -> Iterator[Update]:
    yield part
    if isinstance(part, TradeTick):
        yield view.ticker_of(part)
