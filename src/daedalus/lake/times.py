"""How people name times and spans in a notebook, as integers of nanoseconds."""

import datetime as dt
import re

from daedalus.shared.errors import ConfigError
from daedalus.shared.filters import parse_instant

Instant = str | dt.date | int | None
"""ISO text, a date or datetime (naive ones are UTC), ns since the epoch, or None for no bound."""
Span = str | dt.timedelta | int | float
"""Text such as ``100ms``, ``1s``, ``5m``, ``1h`` or ``1d``, a timedelta, or seconds."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_SPAN = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")


def instant_ns(value: Instant) -> int | None:
    """Return a time as ns since the epoch; None stays None.

    Raises
    ------
    ConfigError
        If the text is no time.

    Examples
    --------
    >>> instant_ns("2025-06-19T14:00")
    1750341600000000000
    """
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, str):
        value = parse_instant(value)
    elif not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def span_ns(value: Span) -> int:
    """Return a span as ns.

    Raises
    ------
    ConfigError
        If it is no span, or not longer than nothing.

    Examples
    --------
    >>> span_ns("100ms"), span_ns(1.5)
    (100000000, 1500000000)
    """
    if isinstance(value, str):
        match = _SPAN.fullmatch(value.strip())
        if not match:
            raise ConfigError(f"{value!r} is no span of time: give it as 100ms, 1s, 5m, 1h or 1d")
        ns = round(float(match[1]) * _UNITS[match[2]])
    elif isinstance(value, dt.timedelta):
        ns = value // dt.timedelta(microseconds=1) * 1000
    else:
        ns = round(value * _UNITS["s"])
    if ns <= 0:
        raise ConfigError(f"{value!r}: a span of time is longer than nothing")
    return ns
