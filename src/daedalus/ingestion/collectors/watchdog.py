"""Streams that have fallen silent while their connection lives, and what was asked of an exchange and has not come.

A market may be quiet, so silence is a suspicion: the collector asks for the stream anew, and the answer tells. What
turns out to have been quiet is given twice the patience; ten spans without such a silence bring it back.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from daedalus.ingestion.collectors.base import Stream

#: The longest patience that a quiet stream is given, seconds (more if its channel's own is longer).
PATIENCE_MAX_S = 3600.0
#: So many spans without a long silence, and the patience is the channel's own again.
CALM_SPANS = 10.0

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Silence:
    """A stream that has said nothing for longer than its patience.

    Attributes
    ----------
    since
        Receive clock of the last that came, or of the moment from which it was expected, ns.
    seconds
        How long ago that is, by the monotonic clock.
    """

    stream: Stream
    since: int
    seconds: float


@dataclass
class _Watched:
    heard_ns: int
    at: float
    patience: float
    restless_at: float
    is_silent: bool = False


class Watchdog:
    """Finds silent streams, each by the patience of its channel.

    Whoever receives writes `heard[stream] = now` (receive clock, ns) and nothing else, so watching costs one assignment
    a frame; `check` is called about once a second. Silence is measured with the monotonic clock: a step of the system's
    clock alarms nobody.

    Parameters
    ----------
    timeouts
        Patience by channel, seconds; a channel that is not named, or None, is not watched.

    Attributes
    ----------
    heard
        When each stream was last heard, ns since the epoch.

    Examples
    --------
    >>> dog = Watchdog({"l2": 60.0})
    >>> dog.expect([("BTC-USD", "l2"), ("BTC-USD", "trades")], now_ns=0, now=0.0)
    >>> [silence.stream for silence in dog.check(now=61.0)], dog.check(now=62.0)
    ([('BTC-USD', 'l2')], [])
    >>> dog.heard["BTC-USD", "l2"] = 63_000_000_000
    >>> dog.check(now=63.0), dog.is_silent(("BTC-USD", "l2"))
    ([], False)
    """

    def __init__(self, timeouts: Mapping[str, float | None]) -> None:
        self.heard: dict[Stream, int] = {}
        self._timeouts = {channel: timeout for channel, timeout in timeouts.items() if timeout is not None}
        self._watched: dict[Stream, _Watched] = {}

    def expect(self, streams: Iterable[Stream], now_ns: int, now: float) -> None:
        """Watch these streams and no others, from now on: a new connection. What was learnt of them stays."""
        known, self._watched = self._watched, {}
        self.heard.clear()
        for stream in streams:
            timeout = self._timeouts.get(stream[1])
            if timeout is None:
                continue
            patience = known[stream].patience if stream in known else timeout
            self._watched[stream] = _Watched(now_ns, now, patience, now)
            self.heard[stream] = now_ns

    def forget(self, streams: Iterable[Stream]) -> None:
        """Watch these no more: the exchange refused them."""
        for stream in streams:
            self._watched.pop(stream, None)

    def is_silent(self, stream: Stream) -> bool:
        """Whether a stream was reported and has not been heard since."""
        watched = self._watched.get(stream)
        return watched is not None and watched.is_silent and watched.heard_ns == self.heard[stream]

    def check(self, now: float) -> list[Silence]:
        """Return the streams that have become silent since the last check; each is told once until it is heard again.

        Parameters
        ----------
        now
            Monotonic seconds.
        """
        found = []
        for stream, watched in self._watched.items():
            heard = self.heard[stream]
            if heard != watched.heard_ns:
                self._returned(stream, watched, now)
                watched.heard_ns, watched.at = heard, now
            elif now - watched.at > watched.patience and not watched.is_silent:
                watched.is_silent = True
                found.append(Silence(stream, watched.heard_ns, now - watched.at))
        return found

    def _returned(self, stream: Stream, watched: _Watched, now: float) -> None:
        """Learn from a stream that was heard: it is quiet by nature, or it is not any more."""
        timeout = self._timeouts[stream[1]]
        if watched.is_silent:
            watched.is_silent = False
            watched.patience = min(watched.patience * 2.0, max(PATIENCE_MAX_S, timeout))
        if now - watched.at > timeout:
            watched.restless_at = now
        elif now - watched.restless_at > CALM_SPANS * timeout:
            watched.patience = timeout


@dataclass
class _Request:
    tries: int = 0
    asked_at: float = 0.0
    due: float = 0.0
    is_open: bool = True


@dataclass
class Requests(Generic[Key]):
    """What an exchange was asked for and has not sent: when to ask, and when to ask again, without end.

    Parameters
    ----------
    spacing
        Least seconds between two requests for the same thing, however often it is wanted.
    first, cap
        Seconds to wait for an answer, the first time and at the most; they double.
    """

    spacing: float = 2.0
    first: float = 20.0
    cap: float = 300.0
    _requests: dict[Key, _Request] = field(default_factory=dict)

    def want(self, key: Key, now: float, asked: bool = False) -> None:
        """Want something, unless it is wanted already. With `asked` it was asked for by other means."""
        request = self._requests.get(key)
        if request is not None and request.is_open:
            return
        last = request.asked_at if request is not None else now - self.spacing
        self._requests[key] = _Request(asked_at=last, due=max(now, last + self.spacing))
        if asked:
            self._asked(self._requests[key], now)

    def done(self, key: Key) -> None:
        """Note that it came. The time of the request is remembered, for the spacing."""
        request = self._requests.get(key)
        if request is not None:
            request.is_open = False

    def due(self, now: float) -> list[tuple[Key, int]]:
        """Return what to ask for now, each with how often it was asked for in vain."""
        found = []
        for key, request in list(self._requests.items()):
            if request.is_open and now >= request.due:
                found.append((key, request.tries))
                self._asked(request, now)
            elif not request.is_open and now - request.asked_at > self.spacing:
                del self._requests[key]
        return found

    def _asked(self, request: _Request, now: float) -> None:
        request.asked_at = now
        request.due = now + min(self.cap, self.first * 2.0 ** min(request.tries, 10))
        request.tries += 1

    def open(self) -> dict[Key, int]:
        """Return what is wanted and has not come, each with how often it was asked for."""
        return {key: request.tries for key, request in self._requests.items() if request.is_open}

    def __contains__(self, key: Key) -> bool:
        """Whether it is wanted and has not come."""
        return key in self._requests and self._requests[key].is_open
