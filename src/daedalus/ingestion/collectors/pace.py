"""How fast an exchange may be asked, and how long to wait after it refused: one pace for each host."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from daedalus.shared.clock import Clock

_PORTS = {"wss": 443, "https": 443, "ws": 80, "http": 80}


class Backoff:
    """Capped exponential delays with jitter, without end.

    Parameters
    ----------
    first, cap
        Seconds: the first delay and the longest.
    rng
        Spreads each delay over its upper half, so that many recorders do not come back at the same instant.
    """

    def __init__(self, first: float, cap: float, rng: random.Random) -> None:
        self._first, self._cap, self._rng = first, cap, rng
        self._tries = 0

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        delay = min(self._cap, self._first * 2.0 ** min(self._tries, 32))
        self._tries += 1
        return delay * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start over after a connection that worked."""
        self._tries = 0


class TokenBucket:
    """At most `rate` takes a second and `burst` at once, over all tasks that share it.

    Parameters
    ----------
    rate
        Takes a second, on average.
    burst
        Takes at once after a pause.
    """

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = burst, clock.monotonic()
        self._held_until = self._at

    async def take(self) -> None:
        """Wait for a token. Tasks are served in the order in which they came; after a hold, all line up anew."""
        clock = self._clock
        while True:
            while (left := self._held_until - clock.monotonic()) > 0.0:
                await clock.sleep(left)
            now = clock.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
            self._at = now
            if self._tokens < 0.0:
                await clock.sleep(-self._tokens / self._rate)
            if clock.monotonic() >= self._held_until:
                return

    def hold(self, seconds: float) -> None:
        """Give nothing out for so long: the exchange asked for it. A longer hold stays."""
        self._held_until = max(self._held_until, self._clock.monotonic() + seconds)


@dataclass(frozen=True)
class Limits:
    """What a host allows one address in any second."""

    connects_per_s: float
    messages_per_s: float


#: For hosts whose limits nobody has looked up.
CAREFUL = Limits(connects_per_s=2, messages_per_s=4)


class HostPace:
    """The pace of one host, for everything in this process that talks to it.

    Attributes
    ----------
    connects, messages
        Take from these before connecting, and before each message.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits, self._clock = limits, clock
        self.connects = _within(limits.connects_per_s, clock)
        self.messages = _within(limits.messages_per_s, clock)

    def throttle(self) -> Callable[[object], Awaitable[None]]:
        """Return what CCXT is to await before each message of a new socket.

        Its calls are made at the host's pace; this holds those that send several messages. CCXT's own throttle is that
        of requests, which are dearer: Kraken's second subscription would wait for a second.
        """
        bucket = _within(self.limits.messages_per_s, self._clock)
        return lambda _cost: bucket.take()

    def hold(self, seconds: float) -> None:
        """Let nobody connect or ask for so long: a ban is of the address, and asking again makes it longer."""
        self.connects.hold(seconds)
        self.messages.hold(seconds)


def _within(limit: float, clock: Clock) -> TokenBucket:
    """Return a bucket whose burst and refill of one second together keep to the limit of any second."""
    burst = max(1.0, limit // 4)
    return TokenBucket(max(limit - burst, limit / 2), burst, clock)


class HostPaces:
    """The paces of all hosts. Build one a process and hand it to every collector."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paces: dict[str, HostPace] = {}

    def of(self, url: str, limits: Limits = CAREFUL) -> HostPace:
        """Return the pace of an address' host; who asks first sets the limits.

        Examples
        --------
        >>> from daedalus.shared.clock import SystemClock
        >>> paces = HostPaces(SystemClock())
        >>> paces.of("wss://ws.okx.com:8443/ws/v5/public") is paces.of("wss://ws.okx.com:8443/ws/v5/business")
        True
        """
        host = host_of(url)
        if host not in self._paces:
            self._paces[host] = HostPace(limits, self._clock)
        return self._paces[host]


def host_of(url: str) -> str:
    """Return host and port of an address.

    Examples
    --------
    >>> host_of("wss://Example.com/feed"), host_of("ws://127.0.0.1:8765")
    ('example.com:443', '127.0.0.1:8765')
    """
    parts = urlsplit(url)
    return f"{parts.hostname or ''}:{parts.port or _PORTS.get(parts.scheme, 0)}"
