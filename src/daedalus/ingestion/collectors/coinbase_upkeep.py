"""Keeping the streams of a Coinbase connection whole: books with holes and streams that fell silent are had anew.

One symbol's trouble stays its own: it is asked for again and again, ever more seldom, while the others go on. Only when
nothing but heartbeats comes is the connection itself to blame.
"""

from collections.abc import Callable, Iterable, Sequence

import structlog

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.coinbase_messages import FEEDS, LEVEL2
from daedalus.ingestion.collectors.coinbase_parser import CoinbaseParser
from daedalus.ingestion.collectors.coinbase_settings import Carried
from daedalus.ingestion.collectors.watchdog import Requests
from daedalus.shared.clock import Clock
from daedalus.shared.errors import TransientCollectorError
from daedalus.shared.events import Event

log = structlog.get_logger(__name__)

#: How often silence is looked for.
CHECK_S = 1.0
#: The connection is given up when all it should deliver was asked for so often, and nothing has come since.
TRIES_MAX = 3


class Upkeep:
    """Sees to the streams of one connection.

    Parameters
    ----------
    ask
        Subscribes to a channel of the exchange anew, for some symbols.
    answer_s
        Seconds to wait for what was asked for, at first.
    """

    def __init__(
        self,
        *,
        exchange: str,
        parser: CoinbaseParser,
        carried: Carried,
        streams: Iterable[Stream],
        channels: Sequence[str],
        ask: Callable[[str, tuple[str, ...]], None],
        answer_s: float,
        clock: Clock,
    ) -> None:
        self._exchange, self._parser, self._carried, self._ask, self._clock = exchange, parser, carried, ask, clock
        self._channels = frozenset(channels)
        self._requests: Requests[Stream] = Requests(first=answer_s)
        self._streams = set(streams)
        self._heard_sum, self._heard_at, self._answer_s = 0, 0.0, answer_s
        self._began_ns, self._checked = clock.now_ns(), clock.monotonic()
        carried.watchdog.expect(self._streams, self._began_ns, self._checked)

    def subscribed(self, wire: str, symbols: Iterable[str]) -> None:
        """Note that a first subscription was sent: a book must follow."""
        if wire != LEVEL2:
            return
        heard = self._carried.watchdog.heard
        for symbol in symbols:
            if (symbol, wire) in self._streams and heard.get((symbol, wire), self._began_ns) == self._began_ns:
                self._parser.resync.add(symbol)
                self._requests.want((symbol, wire), self._clock.monotonic(), asked=True)

    def forget(self, symbols: set[str]) -> None:
        """Ask no more for these: the exchange refused them."""
        mine = {stream for stream in self._streams if stream[0] in symbols}
        self._streams -= mine
        self._carried.watchdog.forget(mine)
        for stream in mine:
            self._requests.done(stream)
        self._parser.resync -= symbols

    def tick(self, now_ns: int) -> list[Event]:
        """Do what is due; return the ledger's rows. Called with every frame, and so at least once a second.

        Raises
        ------
        TransientCollectorError
            When the whole connection has fallen silent but for heartbeats.
        """
        now = self._clock.monotonic()
        if now - self._checked < CHECK_S and not self._carried.wanted and not self._has_news():
            return []
        self._checked = now
        self._look(now)
        rows: list[Event] = []
        lost: dict[str, list[str]] = {}
        for stream, tries in self._requests.due(now):
            lost.setdefault(stream[1], []).append(stream[0])
            if tries:
                rows += self._unanswered(stream, tries, now_ns)
        for wire, symbols in lost.items():
            self._ask(wire, tuple(sorted(symbols)))
        self._give_up_if_dead(now)
        return rows

    def _has_news(self) -> bool:
        """Whether a book has just lost its way, and should not wait for the next look."""
        return any((symbol, LEVEL2) not in self._requests for symbol in self._parser.resync)

    def _look(self, now: float) -> None:
        """Find what has to be asked for, and what has come."""
        parser, requests = self._parser, self._requests
        parser.resync |= self._carried.wanted
        parser.resync &= {symbol for symbol, wire in self._streams if wire == LEVEL2}
        self._carried.wanted.clear()
        for silence in self._carried.watchdog.check(now):
            parser.probes[silence.stream] = silence.since
            symbol, wire = silence.stream
            log.info("stream_silent", exchange=self._exchange, symbol=symbol, channel=wire, seconds=silence.seconds)
        wanted = {(symbol, LEVEL2) for symbol in parser.resync} | (parser.probes.keys() & self._streams)
        for stream in wanted:
            requests.want(stream, now)
        for stream in requests.open():
            if stream not in wanted:
                requests.done(stream)

    def _unanswered(self, stream: Stream, tries: int, now_ns: int) -> list[Event]:
        """Enter that a stream was asked for and has not come."""
        symbol, wire = stream
        log.warning("stream_stalled", exchange=self._exchange, symbol=symbol, channel=wire, tries=tries)
        since = self._parser.probes.setdefault(stream, self._carried.watchdog.heard.get(stream, self._began_ns))
        detail = f"{wire} of {symbol} fell silent while the connection lives"
        if wire == LEVEL2:
            return self._parser.lose_books([symbol], since, now_ns, "stall", None, detail)
        streams = [(symbol, c) for c in FEEDS[wire] if c in self._channels]
        return list(self._carried.gaps.open(streams, since=since, now=now_ns, reason="stall", detail=detail))

    def _give_up_if_dead(self, now: float) -> None:
        """End a connection that delivers nothing, or no book of several, however often it is asked: it is to blame."""
        heard = sum(self._carried.watchdog.heard.values())
        if heard != self._heard_sum:
            self._heard_sum, self._heard_at = heard, now
        books = {stream for stream in self._streams if stream[1] == LEVEL2} or self._streams
        late = {stream for stream, tries in self._requests.open().items() if tries > TRIES_MAX}
        if late >= books and (len(books) > 1 or now - self._heard_at > self._answer_s):
            raise TransientCollectorError("the exchange sends heartbeats, but not what it is asked for", reason="stall")
