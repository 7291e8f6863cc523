"""Time: the only place that reads a clock or sleeps, and the one parser of exchange times.

Units: `_ns` is int64 nanoseconds since the Unix epoch, `_us` microseconds, `_s` float seconds.
"""

import asyncio
import datetime as dt
import time
from functools import lru_cache
from typing import Protocol

NS_PER_SECOND = 1_000_000_000
NS_PER_US = 1_000
# A backward step of the system clock below this is held (the receive clock stands still); a larger one is followed.
STEP_HELD_NS = NS_PER_SECOND


class Clock(Protocol):
    """What drivers ask for time. `testing.FakeClock` implements it for tests."""

    def now_ns(self) -> int:
        """Return the receive clock, ns since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never step, for intervals and deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""


class SystemClock:
    """The machine's clock, with small backward steps held so that receive times do not decrease.

    A step back of a second or more (a Pi without a battery clock that meets its time server) is followed: standing
    still for hours would put rows into the wrong partition.
    """

    def __init__(self) -> None:
        self._last_ns = 0

    def now_ns(self) -> int:
        """Return the receive clock, ns since the epoch."""
        now = time.time_ns()
        if 0 < self._last_ns - now < STEP_HELD_NS:
            return self._last_ns
        self._last_ns = now
        return now

    def monotonic(self) -> float:
        """Return seconds that never step."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)


@lru_cache(maxsize=1024)
def _epoch_seconds(text: str) -> int:
    """Seconds since the epoch of `2026-08-12T19:27:48` (UTC)."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


def parse_rfc3339_us(text: str | None) -> int | None:
    """Parse an RFC 3339 time of 0 to 9 fractional digits into microseconds since the epoch, truncating.

    Exchanges send times of the epoch or of year 1 where they have none ("event_time can be 1970"): those are null.

    Parameters
    ----------
    text
        Such as ``2026-08-24T22:34:13.793075885Z``; None and the empty string mean "not sent".

    Returns
    -------
    int or None
        Microseconds since the epoch, UTC.

    Raises
    ------
    ValueError
        If the text is no such time.

    Examples
    --------
    >>> parse_rfc3339_us("2026-08-24T22:34:13.793075885Z")
    1787610853793075
    >>> parse_rfc3339_us("1970-01-01T00:00:00Z") is None
    True
    """
    if not text:
        return None
    seconds = _epoch_seconds(text[:19])
    digits = text[20:-1]
    if text[19:20] == "." and text[-1] == "Z" and digits.isdecimal() and len(digits) >= 6:
        micros = seconds * 1_000_000 + int(digits[:6])  # As nearly every exchange writes it.
        return micros if micros > 0 else None
    rest = text[19:]
    micros = 0
    if rest.startswith("."):
        end = 1
        while end < len(rest) and rest[end].isdigit():
            end += 1
        micros = int(rest[1:end][:6].ljust(6, "0"))
        rest = rest[end:]
    if rest not in ("Z", "", "+00:00"):
        offset = dt.datetime.fromisoformat(f"2000-01-01T00:00:00{rest}").utcoffset()
        seconds -= int(offset.total_seconds()) if offset else 0
    micros += seconds * 1_000_000
    return micros if micros > 0 else None


def utc(ns: int) -> dt.datetime:
    """Return the UTC datetime of ns since the epoch, truncated to microseconds."""
    return dt.datetime.fromtimestamp(ns // NS_PER_SECOND, dt.UTC).replace(microsecond=ns % NS_PER_SECOND // 1000)
