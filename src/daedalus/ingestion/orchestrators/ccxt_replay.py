"""Frames recorded through CCXT, played to the session that records live (`collectors.ccxt_offline`).

What a session watched stands in its opening, the first of its frames. When and why it ended does not: the ledger's rows
about the channel `frames` say it, and each of them stands for all that the session carried. What the collector noticed
by its clock alone, silence or a request that failed, is in the ledger too, and taken from there. Sessions of the same
markets that overlap are a planned rotation: what both brought is recorded once, as it was live.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.ccxt_markets import streams_of
from daedalus.ingestion.collectors.ccxt_opening import Opening, opening_id, parts_of, read_opening
from daedalus.ingestion.collectors.ccxt_settings import Carried, Settings
from daedalus.ingestion.collectors.handover import BOOK_CHANNELS, NEW, OLD, Handover, Side
from daedalus.ingestion.collectors.seen_trades import SeenTrades
from daedalus.ingestion.collectors.watchdog import Watchdog
from daedalus.ingestion.orchestrators.recorded_frames import ConnectionSpan, FrameRow
from daedalus.ingestion.orchestrators.replay_base import DROPS, ENDS, HANDOVER_NS_MAX, failures, like, open_like
from daedalus.shared.events import ALL, Event, Gap, Ticker, Trade, channel_of
from daedalus.shared.partitioning import sanitize_partition_value

if TYPE_CHECKING:
    from daedalus.ingestion.collectors.ccxt_offline import FramePlayer

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: What ends or opens by the collector's clock, not by a frame.
_BY_CLOCK = ("stall", "disconnect")


@dataclass(eq=False)
class _Process:
    """What one process of the recorder knew of an exchange: streams and trades recorded, last tickers, gaps opened."""

    carried: Carried
    streams: dict[Stream, None] = field(default_factory=dict)
    seen: SeenTrades = field(default_factory=SeenTrades)
    tickers: dict[str, Ticker] = field(default_factory=dict)
    opened: set[tuple[Stream, int]] = field(default_factory=set)


@dataclass(eq=False)
class _Session:
    """One session, and the receive clocks of its first and last frame.

    Attributes
    ----------
    carried
        What it knows of those before it.
    handover
        With the session that it takes over from or that takes over from it, on which side it is, since when, and that
        session.
    """

    exchange: str
    first_ns: int
    last_ns: int
    opening: Opening | None = None
    process: _Process | None = None
    carried: Carried | None = None
    player: "FramePlayer | None" = None
    handover: "tuple[Handover, Side, int, _Session] | None" = None
    is_over: bool = False

    def is_like(self, other: "_Session") -> bool:
        """Whether both are a collector's: no two collectors have a market in common."""
        mine, its = (set(one.opening.markets) if one.opening else set() for one in (self, other))
        return self.exchange == other.exchange and not mine.isdisjoint(its)


class CcxtReplay:
    """Turns recorded frames of any exchanges of CCXT into events.

    Parameters
    ----------
    settings
        What to make of each exchange's frames, by its name in the lake; of others as `default` says.
    """

    def __init__(self, settings: Mapping[str, Settings], default: Settings) -> None:
        self._settings, self._default = settings, default
        self._sessions: dict[str, _Session] = {}
        self._processes: dict[str, _Process] = {}
        self._loop = asyncio.new_event_loop()
        self._begun: dict[tuple[str, int, str], set[Stream]] = {}

    def prepare(self, sent: Iterable[FrameRow], spans: Iterable[ConnectionSpan]) -> None:
        """Learn what a segment says of sessions: what they watched, and when their first and last frames came."""
        for name, exchange, first, last in spans:
            session = self._sessions.setdefault(parts_of(name).session, _Session(exchange, first, last))
            session.first_ns, session.last_ns = min(session.first_ns, first), max(session.last_ns, last)
        for row in sent:
            name = parts_of(row.connection_id).session
            if row.connection_id == opening_id(name):
                self._sessions[name].opening = _opening(row)

    def prepare_gaps(self, rows: Iterable[Gap]) -> None:
        """Learn when sessions ended, and which streams lost something at that instant."""
        for row in rows:
            if row.ended_at is None:
                self._begun.setdefault(_instant(row), set()).add((row.symbol, row.channel))

    def frame(self, row: FrameRow) -> Sequence[Event]:
        """Return the events of a frame."""
        parts = parts_of(row.connection_id)
        session = self._sessions[parts.session]
        if session.player is None and not session.is_over:
            self._begin(session, row)
        if session.player is None or session.process is None or (row.is_sent and not parts.again):
            return []
        events = self._run(session.player.feed(row.connection_id, row.text, row.collected_at))
        events = self._merged(session, session.process, events, row.collected_at)
        for event in events:
            if type(event) is not Gap:
                session.process.streams[event.symbol, channel_of(event)] = None
        return events

    def gap(self, row: Gap) -> Sequence[Event]:
        """Return what a row of the ledger says of the channels that are made of frames."""
        if row.symbol != ALL:
            return self._by_clock(row) if row.reason in _BY_CLOCK and not self._is_end(row) else []
        if row.channel != "frames":
            return []
        process = self._processes.get(row.exchange)
        if row.reason == "crash" or row.reason in DROPS:
            events: list[Event] = []
            if row.reason == "crash":
                self._processes.pop(row.exchange, None)
                events, _ = self._end(row)
            return [*events, *(like(row, stream) for stream in (process.streams if process else ()))]
        if row.ended_at is not None:
            self._note(row, process)
            return []
        return self._ended(row)

    def close(self) -> None:
        """Let go of everything."""
        for session in self._sessions.values():
            self._drop(session)
        self._loop.close()

    # -- sessions -----------------------------------------------------------------------------------------------------

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(doing)

    def _begin(self, session: _Session, row: FrameRow) -> None:
        """Begin a session, and let go of those that it has replaced; the ledger tells of all other ends."""
        from daedalus.ingestion.collectors.ccxt_offline import FramePlayer

        for other in self._sessions.values():
            if other.last_ns < row.collected_at and other.is_like(session):
                self._drop(other)
        if session.opening is None:
            session.is_over = True
            log.error("session_without_opening", exchange=row.exchange, connection=row.connection_id, frames="left out")
            return
        process = session.process = self._process(row.exchange)
        process.carried = session.carried = self._carried(session, process, row.collected_at)
        wanted = self._settings.get(row.exchange, self._default)
        settings = replace(wanted, exchange=row.exchange, exchange_id=session.opening.exchange_id)
        session.player = FramePlayer(settings, session.carried, session.opening)
        self._run(session.player.begin(row.collected_at))

    def _process(self, exchange: str) -> _Process:
        return self._processes.setdefault(exchange, _Process(Carried(OpenGaps(exchange), Watchdog({}))))

    def _carried(self, session: _Session, process: _Process, now: int) -> Carried:
        """Return what a session knows: all that the one before it did, or, while that still lives, its trades."""
        mine = [s for s in self._sessions.values() if s.process is process and s.player and s.is_like(session)]
        before = max((s for s in mine if s is not session), key=lambda s: s.first_ns, default=None)
        if before is None or before.carried is None or before.last_ns <= now:
            return process.carried
        handover = Handover(self._streams(before), process.seen, process.tickers)
        before.handover, session.handover = (handover, OLD, now, session), (handover, NEW, now, before)
        its = before.carried
        return Carried(OpenGaps(session.exchange), Watchdog({}), memory=its.memory.copy(), refused=set(its.refused))

    def _merged(self, session: _Session, process: _Process, events: Sequence[Event], now: int) -> Sequence[Event]:
        """Return what is recorded of a frame's events: while two sessions bring the same, once."""
        if session.handover is None:
            events = [
                e for e in events if type(e) is not Trade or not e.trade_id or process.seen.add(e.symbol, e.trade_id)
            ]
        else:
            handover, side, since, other = session.handover
            switched = set(handover.switched)
            events = handover.merge(side, events)
            if side == NEW and session.carried is not None and other.carried is not None:
                # Whatever the old session's books were missing ends with the new one's, and it cannot end the rest.
                books = [(s, c) for s in handover.switched.keys() - switched for c in BOOK_CHANNELS]
                events = [*other.carried.gaps.close(books, now), *events]
                if other.last_ns < now:
                    other.carried.gaps.move(self._streams(other), session.carried.gaps)
            if now - since > HANDOVER_NS_MAX:
                session.handover = None
        process.tickers.update((event.symbol, event) for event in events if type(event) is Ticker)
        return events

    def _drop(self, session: _Session) -> None:
        session.is_over = session.player is not None or session.is_over
        if session.player is not None:
            self._run(session.player.close())
            session.player = None

    # -- the ledger ---------------------------------------------------------------------------------------------------

    def _ended(self, row: Gap) -> Sequence[Event]:
        """Open the gaps of a session that ended, or, where none was made yet, of the one that comes."""
        events, session = self._end(row)
        session = session or self._coming(row)
        if session is None or session.opening is None:
            return events
        process = session.process or self._process(row.exchange)
        if row.reason in ENDS:
            self._processes.pop(row.exchange, None)
        streams, gaps = self._streams(session), process.carried.gaps
        # What ended a gap may have come in the last instant, and not have been handed on.
        begun = self._begun[_instant(row)]
        gaps.close([(s, c) for s, c in streams if (sanitize_partition_value(s), c) in begun], row.collected_at)
        gaps.note(streams, row.detail or "")
        process.opened |= {(stream, row.started_at) for stream in streams}
        return [*events, *open_like(gaps, streams, row)]

    def _end(self, row: Gap) -> tuple[list[Event], _Session | None]:
        """End the session that a row tells of: of those without further frames, the latest."""
        able = [
            session
            for session in self._sessions.values()
            if session.exchange == row.exchange and session.player is not None and session.last_ns <= row.collected_at
        ]
        session = max(able, key=lambda session: session.last_ns, default=None)
        if session is None or session.player is None or session.process is None:
            return [], None
        last = session.player.until(row.started_at)
        events = list(self._merged(session, session.process, last, row.started_at))
        self._drop(session)
        return events, session

    def _coming(self, row: Gap) -> _Session | None:
        later = [s for s in self._sessions.values() if s.exchange == row.exchange and s.first_ns > row.collected_at]
        return min(later, key=lambda session: session.first_ns, default=None)

    def _streams(self, session: _Session) -> list[Stream]:
        """Return what a session's collector records, but for frames."""
        assert session.opening is not None
        record = self._settings.get(session.exchange, self._default).record
        refused = session.carried.refused if session.carried is not None else ()
        return streams_of(session.opening.calls, record, refused)

    def _note(self, row: Gap, process: _Process | None) -> None:
        """Remember failures that the row of the end tells of: those of the streams are to tell the same."""
        count, said = failures(row)
        if process is not None:
            for _ in range(count):
                process.carried.gaps.note({stream for stream, _ in process.opened}, said)

    def _by_clock(self, row: Gap) -> Sequence[Event]:
        """Open a gap that the collector noticed by its clock alone; it ends by frames, or its end is in the row."""
        session = self._alive(row.exchange)
        if session is None or session.player is None or session.opening is None or session.process is None:
            return []
        symbols = {sanitize_partition_value(symbol): symbol for symbol in session.opening.markets}
        symbol = symbols.get(row.symbol)
        if symbol is None or (symbol, row.channel) not in self._streams(session):
            return []
        row = msgspec.structs.replace(row, symbol=symbol)
        stream = (symbol, row.channel)
        if row.ended_at is not None:
            return [] if (stream, row.started_at) in session.process.opened else [row]
        session.process.opened.add((stream, row.started_at))
        return self._run(session.player.lose(row))

    def _is_end(self, row: Gap) -> bool:
        """Tell whether a row is of the end of a session, for which the row of its frames stands."""
        return (ALL, "frames") in self._begun.get(_instant(row), ())

    def _alive(self, exchange: str) -> _Session | None:
        alive = [s for s in self._sessions.values() if s.exchange == exchange and s.player is not None]
        return max(alive, key=lambda session: session.first_ns, default=None)


def _opening(row: FrameRow) -> Opening | None:
    try:
        return read_opening(row.text)
    except msgspec.MsgspecError as error:
        log.error("opening_unreadable", exchange=row.exchange, connection=row.connection_id, error=str(error))
        return None


def _instant(row: Gap) -> tuple[str, int, str]:
    return row.exchange, row.collected_at, row.reason
