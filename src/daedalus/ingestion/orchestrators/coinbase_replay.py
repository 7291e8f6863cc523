"""Coinbase's recorded frames through today's parser, as the collector would have handled them live.

What a connection was asked for stands in the frames that were sent. When and why it ended does not: the ledger's rows
about the channel `frames` say it, and each of them stands for all that its connection carried. What the collector
noticed by its clock alone, a stream that fell silent, is in the ledger too, and taken from there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.coinbase_parser import BOOK_CHANNELS, CoinbaseParser
from daedalus.ingestion.collectors.coinbase_settings import Carried
from daedalus.ingestion.collectors.handover import NEW, OLD, Handover, Side
from daedalus.ingestion.collectors.seen_trades import SeenTrades
from daedalus.ingestion.orchestrators.recorded_frames import ConnectionSpan, FrameRow
from daedalus.ingestion.orchestrators.replay_base import DROPS, ENDS, HANDOVER_NS_MAX, failures, like, open_like
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import ALL, Event, Gap, Ticker, Trade, channel_of


class _Request(msgspec.Struct, gc=False):
    type: str = ""
    product_ids: list[str] | None = None


_decode = msgspec.json.Decoder(_Request).decode


@dataclass(eq=False)
class _Process:
    """What one process of the recorder recorded: streams, trades, the last ticker of each symbol, gaps it opened."""

    streams: dict[Stream, None] = field(default_factory=dict)
    seen: SeenTrades = field(default_factory=SeenTrades)
    tickers: dict[str, Ticker] = field(default_factory=dict)
    opened: dict[tuple[Stream, int], Carried] = field(default_factory=dict)


@dataclass(eq=False)
class _Connection:
    """One websocket connection: what was asked for, and the receive clocks of its first and last frame.

    Attributes
    ----------
    carried
        What it knows of those before it.
    handover
        With the connection that it takes over from or that takes over from it, on which side it is, and since when.
    """

    exchange: str
    first_ns: int
    last_ns: int
    products: tuple[str, ...] = ()
    process: _Process | None = None
    carried: Carried | None = None
    parser: CoinbaseParser | None = None
    handover: tuple[Handover, Side, int] | None = None
    is_over: bool = False
    is_awaited: bool = False

    def is_like(self, other: "_Connection") -> bool:
        """Whether both are a collector's: no two collectors have a product in common."""
        return self.exchange == other.exchange and not set(self.products).isdisjoint(other.products)


class CoinbaseReplay:
    """Turns recorded frames into events.

    Parameters
    ----------
    channels, depth, interval_ms
        As for the collector.
    """

    def __init__(self, *, channels: Sequence[str], depth: int, interval_ms: int) -> None:
        self._channels, self._depth, self._interval_ms = tuple(channels), depth, interval_ms
        self._connections: dict[str, _Connection] = {}
        self._processes: dict[str, _Process] = {}
        self._alike: dict[tuple[str, int, int, str], set[str]] = {}

    def prepare(self, sent: Iterable[FrameRow], spans: Iterable[ConnectionSpan]) -> None:
        """Learn what a segment says of connections: what was asked, and when their first and last frames came."""
        for name, exchange, first, last in spans:
            known = self._connections.setdefault(name, _Connection(exchange, first, last))
            known.first_ns, known.last_ns = min(known.first_ns, first), max(known.last_ns, last)
        for row in sent:
            known, request = self._connections[row.connection_id], _request(row.text)
            if request.type == "subscribe" and request.product_ids:
                known.products = tuple(sorted({*known.products, *request.product_ids}))

    def prepare_gaps(self, rows: Iterable[Gap]) -> None:
        """Learn which symbols lost something at one instant: they were of one connection."""
        for row in rows:
            if row.symbol != ALL and row.ended_at is None:
                self._alike.setdefault(_instant(row), set()).add(row.symbol)

    def frame(self, row: FrameRow) -> list[Event]:
        """Return the events of a frame."""
        if row.is_sent:
            return []
        connection = self._connections[row.connection_id]
        if connection.process is None:
            self._begin(connection, row.collected_at)
        parser, process = connection.parser, connection.process
        if parser is None or process is None:
            return []
        try:
            events = self._merged(connection, process, parser.feed(row.text, row.collected_at), row.collected_at)
        except MalformedError:
            return []  # The collector gave the connection up.
        for event in events:
            if not isinstance(event, Gap):
                process.streams[event.symbol, channel_of(event)] = None
        return events

    def gap(self, row: Gap) -> list[Event]:
        """Return what a row of the ledger says of the channels that are made of frames."""
        if row.symbol != ALL:
            return self._silence(row) if row.reason == "stall" and row.channel in self._channels else []
        if row.channel != "frames":
            return []
        process = self._processes.get(row.exchange)
        if row.reason == "crash" or row.reason in DROPS:
            if row.reason == "crash":
                self._processes.pop(row.exchange, None)
            return [like(row, stream) for stream in (process.streams if process else ())]
        if row.ended_at is not None:
            self._note(row, process)
            return []
        return self._end(row)

    def close(self) -> None:
        """Nothing is held."""

    # -- connections --------------------------------------------------------------------------------------------------

    def _begin(self, connection: _Connection, now: int) -> None:
        for other in self._connections.values():
            if other.last_ns < now:
                other.parser = None  # Its books may be large.
        connection.process = self._process(connection.exchange)
        carried = connection.carried = self._carried(connection, connection.process, now)
        connection.parser = CoinbaseParser(
            exchange=connection.exchange,
            symbols=connection.products,
            channels=self._channels,
            depth=self._depth,
            interval_ms=self._interval_ms,
            carried=carried,
        )

    def _process(self, exchange: str) -> _Process:
        return self._processes.setdefault(exchange, _Process())

    def _carried(self, connection: _Connection, process: _Process, now: int) -> Carried:
        """Return what a connection knows: all that the one before it did, or, while that still lives, its trades."""
        mine = [c for c in self._connections.values() if c.process is process and c.carried and c.is_like(connection)]
        before = max((c for c in mine if c is not connection), key=lambda c: c.first_ns, default=None)
        if connection.carried is not None:
            return connection.carried
        if before is None or before.carried is None:
            return Carried(OpenGaps(connection.exchange))
        if before.is_over or before.last_ns <= now:
            return before.carried
        handover = Handover(self._streams(before), process.seen, process.tickers)
        before.handover, connection.handover = (handover, OLD, now), (handover, NEW, now)
        return Carried(OpenGaps(connection.exchange), seen=before.carried.seen.copy())

    def _streams(self, connection: _Connection) -> list[Stream]:
        return [(product, channel) for product in connection.products for channel in self._channels]

    def _merged(self, connection: _Connection, process: _Process, events: list[Event], now: int) -> list[Event]:
        """Return what is recorded of a frame's events: while two connections bring the same, once."""
        if connection.handover is not None:
            handover, side, since = connection.handover
            events = handover.merge(side, events)
            if now - since > HANDOVER_NS_MAX:
                connection.handover = None
        else:
            events = [e for e in events if not isinstance(e, Trade) or process.seen.add(e.symbol, e.trade_id or "")]
        process.tickers.update((event.symbol, event) for event in events if isinstance(event, Ticker))
        return events

    def _end(self, row: Gap) -> list[Event]:
        """Open the gaps of a connection that ended, or, where none was made yet, of the one that comes."""
        connection = self._ended(row) or self._coming(row)
        if connection is None:
            return []
        connection.is_over = connection.process is not None
        process = connection.process or self._process(row.exchange)
        if connection.carried is None:
            connection.carried = Carried(OpenGaps(row.exchange))
        if row.reason in ENDS:
            self._processes.pop(row.exchange, None)
        streams = self._streams(connection)
        connection.carried.gaps.note(streams, row.detail or "")
        return self._open(process, connection.carried, streams, row)

    def _ended(self, row: Gap) -> _Connection | None:
        """Return the connection whose end a row tells of: of those without further frames, the latest before it."""
        able = [
            connection
            for connection in self._of_row(row)
            if connection.process is not None and not connection.is_over and connection.last_ns <= row.collected_at
        ]
        before = [connection for connection in able if connection.last_ns <= row.started_at]
        return max(before or able, key=lambda connection: connection.last_ns, default=None)

    def _coming(self, row: Gap) -> _Connection | None:
        """Return the next connection, where none had been made when a row was written."""
        later = [c for c in self._of_row(row) if c.first_ns > row.collected_at and not c.is_awaited]
        found = min(later, key=lambda connection: connection.first_ns, default=None)
        if found is not None:
            found.is_awaited = True
        return found

    def _of_row(self, row: Gap) -> list[_Connection]:
        """Return the connections that a row may be about: its exchange's, with what else was lost at that instant."""
        symbols = self._alike.get(_instant(row), set())
        return [
            c
            for c in self._connections.values()
            if c.exchange == row.exchange and not (symbols and symbols.isdisjoint(c.products))
        ]

    # -- the ledger ---------------------------------------------------------------------------------------------------

    def _open(self, process: _Process, carried: Carried, streams: Sequence[Stream], row: Gap) -> list[Event]:
        process.opened |= {(stream, row.started_at): carried for stream in streams}
        return open_like(carried.gaps, streams, row)

    def _note(self, row: Gap, process: _Process | None) -> None:
        """Remember failures that the row of the end tells of: those of the streams are to tell the same."""
        count, said = failures(row)
        if process is None:
            return
        for (stream, started), carried in process.opened.items():
            for _ in range(count if started == row.started_at else 0):
                carried.gaps.note([stream], said)

    def _silence(self, row: Gap) -> list[Event]:
        """Enter that a stream had fallen silent while its connection lived."""
        process, stream = self._processes.get(row.exchange), (row.symbol, row.channel)
        if process is None:
            return []
        if row.ended_at is not None:
            return [] if (stream, row.started_at) in process.opened else [row]
        alive = [c for c in self._connections.values() if c.parser is not None and row.symbol in c.products]
        for connection in sorted(alive, key=lambda c: c.first_ns, reverse=True)[:1]:
            assert connection.parser is not None and connection.carried is not None
            if row.channel not in BOOK_CHANNELS:
                return self._open(process, connection.carried, [stream], row)
            process.opened |= {((row.symbol, c), row.started_at): connection.carried for c in BOOK_CHANNELS}
            return connection.parser.lose_books(
                [row.symbol], row.started_at, row.collected_at, row.reason, row.missed, row.detail or ""
            )
        return []


def _instant(row: Gap) -> tuple[str, int, int, str]:
    return row.exchange, row.collected_at, row.started_at, row.reason


def _request(text: str) -> _Request:
    try:
        return _decode(text)
    except msgspec.MsgspecError:
        return _Request()
