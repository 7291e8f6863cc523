"""From one connection to the next without a hole: which events of two that bring the same streams are recorded."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.seen_trades import SeenTrades
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.events import BookDelta, BookSnapshot, Event, Frame, Gap, Ticker, Trade, channel_of

BOOK_CHANNELS = ("l2", "orderbook")
Side = Literal[0, 1]
OLD: Side = 0
NEW: Side = 1
#: An exchange holds some messages back, trades of a quarter of a second say, and then tells of them on connections that
#: were there in time: so long a new one has to be there before it is known to bring all.
MARGIN_NS = NS_PER_SECOND


class Handover:
    """Merges the events of an old connection and of a new one.

    A trade is recorded once, by its id. Of tickers, and of trades without ids, as many alike are recorded as the richer
    connection brought. A book comes from the old one until the new one has brought it whole, and from the new one from
    then on. Frames are recorded of both, each under its own connection.

    Batches of two connections may be handed over in another order than they were received in. So that rows in the order
    of `collected_at` make the book that was seen, what the new connection tells of a book that the old one had told
    later news of is stamped just after that: some ms later than it was received, at the handover only.

    Parameters
    ----------
    streams
        What the old connection records.
    seen
        Trades recorded so far.
    tickers
        The last of each symbol, which the new connection will repeat.

    Attributes
    ----------
    switched
        Symbols whose book comes from the new connection, and since when (ns).
    """

    def __init__(self, streams: Iterable[Stream], seen: SeenTrades, tickers: Mapping[str, Ticker]) -> None:
        wanted = set(streams)
        self._seen = seen
        self._flows = {stream for stream in wanted if stream[1] in ("trades", "ticker")}
        self._books = {stream for stream in wanted if stream[1] in BOOK_CHANNELS}
        self._deltas = {symbol for symbol, channel in wanted if channel == "l2"}
        self._counts: dict[Hashable, list[int]] = {_content(ticker): [1, 0] for ticker in tickers.values()}
        self.switched: dict[str, int] = {}
        self._live: dict[Stream, int] = {}
        self._told: dict[str, int] = {}
        self._stamps: dict[tuple[str, int], int] = {}

    def torn(self) -> set[str]:
        """Return the symbols whose `l2` rows no longer follow from those of the old connection."""
        return self._deltas & self.switched.keys()

    def note_live(self, live: Collection[Stream], now: int) -> None:
        """Note that the new connection brings these streams."""
        for stream in self._flows - self._live.keys():
            if stream in live:
                self._live[stream] = now

    def _since(self) -> dict[Stream, int | None]:
        """Return since when the new connection brings each stream; None is not yet."""
        return {s: self.switched.get(s[0]) for s in self._books} | {s: self._live.get(s) for s in self._flows}

    def missing(self) -> list[Stream]:
        """Return what the new connection does not bring yet."""
        return sorted(stream for stream, since in self._since().items() if since is None)

    def uncovered(self, last_ns: int) -> dict[Stream, int]:
        """Return the streams that neither may have brought for a while, and when the new one took over.

        Parameters
        ----------
        last_ns
            When the old connection, which has died, was last heard.
        """
        safe = last_ns - MARGIN_NS
        return {stream: since for stream, since in self._since().items() if since is not None and since > safe}

    def merge(self, side: Side, events: Sequence[Event]) -> list[Event]:
        """Return what is to be recorded of a batch of one side."""
        return [self._in_order(side, event) for event in events if self._passes(side, event)]

    def _in_order(self, side: Side, event: Event) -> Event:
        """Return an event with a stamp that is not before what was recorded of its book."""
        if not isinstance(event, BookDelta | BookSnapshot):
            return event
        symbol, at = event.symbol, event.collected_at
        if side == OLD:
            self._told[symbol] = max(at, self._told.get(symbol, at))
        elif at <= self._told.get(symbol, -1):
            stamp = self._stamps.get((symbol, at))
            if stamp is None:
                stamp = self._stamps[symbol, at] = self._told[symbol] = self._told[symbol] + 1
            return msgspec.structs.replace(event, collected_at=stamp)
        return event

    def _passes(self, side: Side, event: Event) -> bool:
        match event:
            case BookDelta() | BookSnapshot():
                return self._book_passes(side, event)
            case Trade() if event.trade_id is not None:
                return self._seen.add(event.symbol, event.trade_id)
            case Trade() | Ticker():
                counts = self._counts.setdefault(_content(event), [0, 0])
                counts[side] += 1
                return counts[side] > counts[1 - side]
            case Gap():
                return self._gap_passes(side, event)
            case Frame():
                return True
        return side == OLD

    def _book_passes(self, side: Side, event: BookDelta | BookSnapshot) -> bool:
        symbol = event.symbol
        if side == NEW and symbol not in self.switched:
            is_whole = event.is_snapshot if isinstance(event, BookDelta) else symbol not in self._deltas
            if is_whole:
                self.switched[symbol] = event.collected_at
        return (symbol in self.switched) == (side == NEW)

    def _gap_passes(self, side: Side, gap: Gap) -> bool:
        """Pass what one side misses only where the other does not bring it; frames that nobody could read always."""
        stream = (gap.symbol, gap.channel)
        if stream in self._books:
            return (gap.symbol in self.switched) == (side == NEW)
        return side == OLD or stream not in self._flows


def _content(event: Event) -> Hashable:
    """Return what an event says, without when it came; an exchange may stamp each connection's message anew."""
    names = event.__struct_fields__
    return (channel_of(event), *(getattr(event, n) for n in names if n not in ("collected_at", "timestamp")))
