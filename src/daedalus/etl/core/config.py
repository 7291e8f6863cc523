"""What to read, what to compute and where to write: plain values, made by the CLI from the settings."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from daedalus.etl.features.config import FeatureConfig
from daedalus.shared.errors import ConfigError
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PARTITION_COLUMNS, sanitize_partition_value
from daedalus.storage.base import Place, Storage
from daedalus.storage.local import as_storage

__all__ = ["FeatureConfig", "FilterSpec", "InputConfig", "OutputConfig", "OutputMode", "parse_instant"]

OutputMode = Literal["overwrite_partition", "append", "error"]
PROCESSED = "processed"
READY = "ready"


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


@dataclass(frozen=True)
class InputConfig:
    """Where the lake is and which names its layers have.

    Parameters
    ----------
    base_dir
        Root of the lake that holds bronze: a directory, or a store.
    source
        The collector that recorded, such as ``coinbase`` or ``ccxt``.
    tier_raw
        Folder of bronze: ``{tier_raw}/ready/{source}/{channel}``.
    tier_features
        Folder of silver under ``processed/{source}/{channel}``.
    processed_base_dir
        Root of the lake that holds silver; None means `base_dir`.
    trades_base_dir
        Root of the lake that holds the trades of bronze; None means `base_dir`.
    """

    base_dir: Path | Storage
    source: str = "coinbase"
    tier_raw: str = "raw"
    tier_features: str = "silver"
    processed_base_dir: Path | Storage | None = None
    trades_base_dir: Path | Storage | None = None

    def bronze(self, channel: str) -> Place:
        """Return the folder of a channel's segments."""
        base = self.trades_base_dir if channel == "trades" and self.trades_base_dir else self.base_dir
        return Place(as_storage(base)) / self.tier_raw / READY / self.source / channel

    def silver(self, channel: str) -> Place:
        """Return the folder of a channel's features."""
        base = as_storage(self.processed_base_dir or self.base_dir)
        return Place(base) / PROCESSED / self.source / channel / self.tier_features


@dataclass(frozen=True)
class OutputConfig:
    """Where and how to write.

    Parameters
    ----------
    base_dir, source, tier_features, tier_aggregates
        As in `InputConfig`; `tier_aggregates` is the folder of gold under ``processed/{source}/bars``.
    partition_cols
        Directory levels, from the outside in. A partition of silver or gold may be coarser than an hour.
    mode
        ``overwrite_partition`` replaces the one file of each partition atomically; ``append`` adds a file beside those
        that are there (one of the same rows replaces itself); ``error`` refuses a partition that is there.
    compression, compression_level
        Codec of the Parquet pages. Level 1 costs a quarter less time than 3 and 8 % more space.

    Raises
    ------
    ConfigError
        If the columns do not keep markets and times apart.
    """

    base_dir: Path | Storage
    source: str = "coinbase"
    tier_features: str = "silver"
    tier_aggregates: str = "gold"
    partition_cols: Sequence[str] = tuple(DEFAULT_PARTITION_COLUMNS)
    mode: OutputMode = "overwrite_partition"
    compression: str = "zstd"
    compression_level: int = 1

    def __post_init__(self) -> None:
        """Check the layout."""
        object.__setattr__(self, "partition_cols", tuple(self.partition_cols))
        check_layout(self.partition_cols)
        if self.mode not in get_args(OutputMode):
            raise ConfigError(f"output mode {self.mode!r} is unknown: {', '.join(get_args(OutputMode))}")

    def silver(self, channel: str) -> Place:
        """Return the folder of a channel's features."""
        return Place(as_storage(self.base_dir)) / PROCESSED / self.source / channel / self.tier_features

    def gold(self) -> Place:
        """Return the folder of bars."""
        return Place(as_storage(self.base_dir)) / PROCESSED / self.source / "bars" / self.tier_aggregates


def check_layout(columns: Sequence[str]) -> None:
    """Refuse directory levels that would put two markets, or times that are not neighbours, into one directory."""
    known = set(columns)
    if unknown := [name for name in columns if name not in PARTITION_COLUMNS]:
        raise ConfigError(f"partition_cols: unknown {unknown[0]!r}, one of {', '.join(PARTITION_COLUMNS)}")
    if len(known) != len(columns):
        raise ConfigError("partition_cols: a column is named twice")
    if not {"exchange", "symbol"} <= known:
        raise ConfigError("partition_cols: exchange and symbol must be among them, or markets would share a file")
    for name, outer in (("month", {"year"}), ("day", {"year", "month"}), ("hour", {"year", "month", "day"})):
        if name in known and not outer <= known and not (name == "hour" and "date" in known):
            raise ConfigError(f"partition_cols: {name} needs {', '.join(sorted(outer))} beside it")
