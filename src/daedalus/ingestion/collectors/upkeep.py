"""Keeping the streams of a connection whole: books with holes and streams that fell silent are had anew.

One symbol's trouble stays its own: it is asked for again and again, ever more seldom, while the others go on. Only when
nothing of all that was asked for comes is the connection itself to blame.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.watchdog import Requests, Watchdog
from daedalus.shared.clock import Clock
from daedalus.shared.errors import TransientCollectorError
from daedalus.shared.events import Event

log = structlog.get_logger(__name__)

#: How often silence is looked for.
CHECK_S = 1.0
#: The connection is given up when all it should deliver was asked for so often, and nothing has come since.
TRIES_MAX = 3


class Taker(Protocol):
    """What takes the frames of a connection, and so knows what has come.

    Attributes
    ----------
    resync
        Symbols whose book is to be had anew; what makes one whole takes it out.
    probes
        Silent streams that are asked for anew, and since when (ns). What comes for one of them takes it out; if it
        shows that something was missed, the ledger says so.
    """

    resync: set[str]
    probes: dict[Stream, int]


class Upkeep:
    """Sees to the streams of one connection. A stream is named by its symbol and by what carries it.

    Parameters
    ----------
    book
        The channel that carries books: they alone can have holes.
    ask
        Subscribes to a channel anew, for some symbols.
    unanswered
        Called with a stream that was asked for and has not come, since when, and how often it was asked for; returns
        the ledger's rows.
    answer_s
        Seconds to wait for what was asked for, at first.
    """

    def __init__(
        self,
        *,
        exchange: str,
        taker: Taker,
        watchdog: Watchdog,
        streams: Iterable[Stream],
        book: str,
        ask: Callable[[str, tuple[str, ...]], None],
        unanswered: Callable[[Stream, int, int, int], Sequence[Event]],
        answer_s: float,
        clock: Clock,
    ) -> None:
        self._exchange, self._taker, self._watchdog, self._book = exchange, taker, watchdog, book
        self._ask, self._on_unanswered, self._clock = ask, unanswered, clock
        self._requests: Requests[Stream] = Requests(first=answer_s)
        self._streams = set(streams)
        self._heard_sum, self._heard_at, self._answer_s = 0, 0.0, answer_s
        self._began_ns, self._checked = clock.now_ns(), clock.monotonic()
        watchdog.expect(self._streams, self._began_ns, self._checked)

    def subscribed(self, channel: str, symbols: Iterable[str]) -> None:
        """Note that a first subscription was sent: a book must follow."""
        if channel != self._book:
            return
        heard = self._watchdog.heard
        for symbol in symbols:
            stream = (symbol, channel)
            if stream in self._streams and heard.get(stream, self._began_ns) == self._began_ns:
                self._taker.resync.add(symbol)
                self._requests.want(stream, self._clock.monotonic(), asked=True)

    def forget(self, streams: Iterable[Stream]) -> None:
        """Ask no more for these: the exchange refused them."""
        mine = self._streams & set(streams)
        self._streams -= mine
        self._watchdog.forget(mine)
        for stream in mine:
            self._requests.done(stream)
        self._taker.resync -= {symbol for symbol, channel in mine if channel == self._book}

    def tick(self, now_ns: int) -> list[Event]:
        """Do what is due; return the ledger's rows. To be called at least once a second.

        Raises
        ------
        TransientCollectorError
            When the whole connection delivers nothing of what it should.
        """
        now = self._clock.monotonic()
        if now - self._checked < CHECK_S and not self._has_news():
            return []
        self._checked = now
        self._look(now)
        rows: list[Event] = []
        lost: dict[str, list[str]] = {}
        for stream, tries in self._requests.due(now):
            lost.setdefault(stream[1], []).append(stream[0])
            if tries:
                rows += self._unanswered(stream, tries, now_ns)
        for channel, symbols in lost.items():
            self._ask(channel, tuple(sorted(symbols)))
        self._give_up_if_dead(now)
        return rows

    def _has_news(self) -> bool:
        """Whether a book has just lost its way, and should not wait for the next look."""
        return any((symbol, self._book) not in self._requests for symbol in self._taker.resync)

    def _look(self, now: float) -> None:
        """Find what has to be asked for, and what has come."""
        taker, requests = self._taker, self._requests
        for silence in self._watchdog.check(now):
            taker.probes[silence.stream] = silence.since
            symbol, channel = silence.stream
            log.info("stream_silent", exchange=self._exchange, symbol=symbol, channel=channel, seconds=silence.seconds)
        wanted = {(symbol, self._book) for symbol in taker.resync} | taker.probes.keys()
        wanted &= self._streams
        for stream in wanted:
            requests.want(stream, now)
        for stream in requests.open():
            if stream not in wanted:
                requests.done(stream)

    def _unanswered(self, stream: Stream, tries: int, now_ns: int) -> Sequence[Event]:
        symbol, channel = stream
        log.warning("stream_stalled", exchange=self._exchange, symbol=symbol, channel=channel, tries=tries)
        since = self._taker.probes.setdefault(stream, self._watchdog.heard.get(stream, self._began_ns))
        return self._on_unanswered(stream, since, tries, now_ns)

    def _give_up_if_dead(self, now: float) -> None:
        """End a connection that delivers nothing, or no book of several, however often it is asked: it is to blame."""
        heard = sum(self._watchdog.heard.values())
        if heard != self._heard_sum:
            self._heard_sum, self._heard_at = heard, now
        books = {stream for stream in self._streams if stream[1] == self._book} or self._streams
        late = {stream for stream, tries in self._requests.open().items() if tries > TRIES_MAX}
        if late >= books and (len(books) > 1 or now - self._heard_at > self._answer_s):
            words = "the exchange shows signs of life, but does not send what it is asked for"
            raise TransientCollectorError(words, reason="stall")
