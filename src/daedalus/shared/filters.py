"""Which partitions: the one filter by market and time, made from flags or arguments. It knows no store."""

import datetime as dt
from dataclasses import dataclass

from daedalus.shared.errors import ConfigError
from daedalus.shared.partitioning import sanitize_partition_value


@dataclass(frozen=True)
class FilterSpec:
    """Which partitions to process. None selects all; every given field must agree.

    Names are taken in any spelling that the recorder would have put into the same directory: ``BTC/USD`` is
    ``BTC-USD``. The unit is the partition: a range selects every hour that it touches, whole.

    Parameters
    ----------
    exchange, symbol
        Names, sanitised on construction.
    year, month, day, hour
        Parts of the UTC receive time.
    start, end
        Range [start, end) of UTC receive time; naive times are UTC.

    Raises
    ------
    ConfigError
        If a part of the time cannot exist or the range is empty.

    Examples
    --------
    >>> FilterSpec(symbol="BTC/USD").symbol
    'BTC-USD'
    >>> hour = dt.datetime(2025, 6, 19, 14, tzinfo=dt.UTC)
    >>> FilterSpec(hour=14).selects("coinbase", "BTC-USD", hour, hour + dt.timedelta(hours=1))
    True
    """

    exchange: str | None = None
    symbol: str | None = None
    year: int | None = None
    month: int | None = None
    day: int | None = None
    hour: int | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None

    def __post_init__(self) -> None:
        """Bring names and times to their one form and check them."""
        for name in ("exchange", "symbol"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, sanitize_partition_value(value))
        for name, low, high in (("year", 1970, 9999), ("month", 1, 12), ("day", 1, 31), ("hour", 0, 23)):
            if (value := getattr(self, name)) is not None and not low <= value <= high:
                raise ConfigError(f"--{name} {value}: it lies between {low} and {high}")
        for name in ("start", "end"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(
                    self, name, value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
                )
        if self.start and self.end and self.start >= self.end:
            raise ConfigError(f"--from {self.start.isoformat()} is not before --to {self.end.isoformat()}")

    def selects_market(self, exchange: str | None, symbol: str | None) -> bool:
        """Return whether a market may be selected; None stands for a name that is not known yet."""
        return (self.exchange is None or exchange in (None, self.exchange)) and (
            self.symbol is None or symbol in (None, self.symbol)
        )

    def selects_time(self, start: dt.datetime, end: dt.datetime) -> bool:
        """Return whether the span [start, end) of one hour, day, month or year, or of all time, holds selected time."""
        if (self.start and end <= self.start) or (self.end and start >= self.end):
            return False
        span = end - start
        for name, unit in (("year", 366), ("month", 31), ("day", 1)):
            wanted = getattr(self, name)
            if wanted is not None and span <= dt.timedelta(days=unit) and getattr(start, name) != wanted:
                return False
        return self.hour is None or span > dt.timedelta(hours=1) or start.hour == self.hour

    def selects(self, exchange: str, symbol: str, start: dt.datetime, end: dt.datetime) -> bool:
        """Return whether the partition of a market over [start, end) is selected."""
        return self.selects_market(exchange, symbol) and self.selects_time(start, end)

    def describe(self) -> str:
        """Return the filter as the flags that make it."""
        flags = {"start": "from", "end": "to"}
        given = {flags.get(k, k): v for k, v in vars(self).items() if v is not None}
        text = " ".join(f"--{k} {v.isoformat() if isinstance(v, dt.datetime) else v}" for k, v in given.items())
        return text or "no filter"


def parse_instant(text: str) -> dt.datetime:
    """Parse a UTC time in ISO 8601: a date, or a date and a time; without a zone it is UTC.

    Raises
    ------
    ConfigError
        If the text is no such time.

    Examples
    --------
    >>> parse_instant("2025-06-19T14:00").isoformat()
    '2025-06-19T14:00:00+00:00'
    """
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time: give it as 2025-06-19 or 2025-06-19T14:00 (UTC)") from None
    return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
