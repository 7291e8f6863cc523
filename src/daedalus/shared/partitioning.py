"""Hive partitions: the only place that knows how values become directory names and back.

A value is made safe once, here, and the safe form stands in the path and in the data alike, because every reader
silently believes the path where the two disagree.
"""

import datetime as dt
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from daedalus.shared.clock import utc
from daedalus.shared.errors import SchemaError

DEFAULT_PARTITION_COLUMNS = ["exchange", "symbol", "year", "month", "day", "hour"]
"""The layout of bronze. `date` (YYYY-MM-DD) may stand in for year, month and day."""

PARTITION_COLUMNS = (*DEFAULT_PARTITION_COLUMNS, "date")
_WIDTHS = {"year": 4, "month": 2, "day": 2, "hour": 2}
VALUE_BYTES_MAX = 120
# Separators, what hive readers decode (% and =), what some file systems refuse, and control characters.
_UNSAFE = re.compile(r'[/\\:%=*?"<>|\x00-\x1f\x7f-\x9f]')
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@lru_cache(maxsize=65536)
def sanitize_partition_value(value: object) -> str:
    """Make a value safe as one directory name, the same in path and data. Idempotent.

    Separators, control characters and the characters that hive readers decode become ``-``; leading and trailing dots
    and blanks go; ``..`` becomes ``-``; an over-long name is cut and ends in a hash of it; nothing becomes ``_``.

    Examples
    --------
    >>> sanitize_partition_value("BTC/USDT:USDT")
    'BTC-USDT-USDT'
    >>> sanitize_partition_value("../../etc")
    'etc'
    """
    text = unicodedata.normalize("NFC", str(value))
    text = _UNSAFE.sub("-", text)
    text = re.sub(r"\.{2,}", "-", text).strip(" .")
    if text.startswith("-") and str(value)[:1] != "-":
        text = text.lstrip("- .")
    if text.upper() == _HIVE_NULL:
        text = "null"
    raw = text.encode("utf-8", "replace")
    if len(raw) > VALUE_BYTES_MAX:
        digest = hashlib.sha256(raw).hexdigest()[:12]
        text = raw[: VALUE_BYTES_MAX - 13].decode("utf-8", "ignore").rstrip(" .") + "-" + digest
    return text or "_"


@dataclass(frozen=True, order=True)
class PartitionKey:
    """The hour of one market: where a row lives. Text values are safe after construction."""

    exchange: str
    symbol: str
    year: int
    month: int
    day: int
    hour: int

    def __post_init__(self) -> None:
        """Sanitise the names and check that the time exists."""
        object.__setattr__(self, "exchange", sanitize_partition_value(self.exchange))
        object.__setattr__(self, "symbol", sanitize_partition_value(self.symbol))
        try:
            dt.datetime(self.year, self.month, self.day, self.hour, tzinfo=dt.UTC)
        except ValueError as error:
            raise SchemaError(f"no such hour: {self.year}-{self.month}-{self.day} {self.hour}h ({error})") from None

    @classmethod
    def of(cls, exchange: str, symbol: str, collected_at: int) -> "PartitionKey":
        """Return the key of a row by its receive clock, ns since the epoch."""
        t = utc(collected_at)
        return cls(exchange, symbol, t.year, t.month, t.day, t.hour)

    @property
    def start(self) -> dt.datetime:
        """The first instant of the hour, UTC."""
        return dt.datetime(self.year, self.month, self.day, self.hour, tzinfo=dt.UTC)

    @property
    def date(self) -> dt.date:
        """The day."""
        return dt.date(self.year, self.month, self.day)

    def values(self, columns: Sequence[str] = DEFAULT_PARTITION_COLUMNS) -> dict[str, str | int | dt.date]:
        """Return the values of the layout's columns, as they stand in the data."""
        return {name: getattr(self, name) for name in columns}

    def path(self, columns: Sequence[str] = DEFAULT_PARTITION_COLUMNS) -> str:
        """Return the relative path, such as ``exchange=coinbase/symbol=BTC-USD/year=2025/month=06/day=19/hour=14``."""
        return build_partition_path(self.values(columns), columns)

    @classmethod
    def parse(cls, path: str) -> "PartitionKey":
        """Return the key of a path in the default layout. Raises `SchemaError` if it is not one."""
        values = parse_partition_path(path)
        missing = [name for name in DEFAULT_PARTITION_COLUMNS if name not in values]
        if missing:
            raise SchemaError(f"{path}: no partition value for {', '.join(missing)}")
        return cls(**{name: values[name] for name in DEFAULT_PARTITION_COLUMNS})  # type: ignore[arg-type]


def build_partition_path(values: Mapping[str, object], columns: Sequence[str] = DEFAULT_PARTITION_COLUMNS) -> str:
    """Build ``name=value/...`` in the order of `columns`, values sanitised, numbers zero-padded.

    Raises
    ------
    SchemaError
        If a column is unknown or has no value.

    Examples
    --------
    >>> build_partition_path({"exchange": "x", "symbol": "BTC/USD", "year": 2025, "month": 6, "day": 9, "hour": 4})
    'exchange=x/symbol=BTC-USD/year=2025/month=06/day=09/hour=04'
    """
    parts = []
    for name in columns:
        if name not in PARTITION_COLUMNS:
            raise SchemaError(f"unknown partition column {name!r}: one of {', '.join(PARTITION_COLUMNS)}")
        if name not in values:
            raise SchemaError(f"no value for partition column {name!r}")
        value = values[name]
        width = _WIDTHS.get(name)
        text = f"{int(str(value)):0{width}d}" if width else sanitize_partition_value(value)
        parts.append(f"{name}={text}")
    return "/".join(parts)


def parse_partition_path(path: str) -> dict[str, str | int]:
    """Return the partition values in a path: numbers as int, names as they stand. Other path elements are passed over.

    Examples
    --------
    >>> parse_partition_path("raw/ready/coinbase/trades/exchange=coinbase/symbol=BTC-USD/year=2025/month=06/a.parquet")
    {'exchange': 'coinbase', 'symbol': 'BTC-USD', 'year': 2025, 'month': 6}
    """
    values: dict[str, str | int] = {}
    for part in path.replace("\\", "/").split("/"):
        name, separator, text = part.partition("=")
        if separator and name in PARTITION_COLUMNS:
            try:
                values[name] = int(text) if name in _WIDTHS else text
            except ValueError:
                raise SchemaError(f"{path}: {part!r} is not a number") from None
    return values
