"""What a venue's own ticker fields say of a derivative: mark, index, open interest and funding (section 10).

Bronze keeps the exchange's fields that no column carries in `info_json`; this is the one place that reads them, by the
table `VENUES`, first match of the exchange's name. Spot tickers have no such fields, so their values are null, as are
those of a venue that is not in the table. Numbers come as text or as numbers; what is no finite number is null.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from daedalus.etl.features.base import NULL_INT

_MS = 1_000_000
_HOUR_MS = 3_600_000
#: The earliest time in ms since the epoch that is believed (2009): a duration lies far below it.
_OLDEST_MS = 1_230_768_000_000


class Derivative(NamedTuple):
    """NaN (and `NULL_INT` for the time, ns since the epoch) where the venue did not say."""

    mark_price: float = math.nan
    index_price: float = math.nan
    open_interest: float = math.nan
    funding_rate: float = math.nan
    funding_interval_h: float = math.nan
    next_funding_ts: int = NULL_INT


NOTHING = Derivative()
Info = dict[str, Any]


@dataclass(frozen=True)
class Venue:
    """Names under which a venue sends each value; the first that is there counts.

    Attributes
    ----------
    interval_h
        Sent as hours.
    hours
        The venue's interval where the ticker does not say; None: unknown.
    next_ts
        Times in ms since the epoch.
    following_ts
        The funding after the next one; the distance between the two is the interval.
    """

    mark: tuple[str, ...]
    index: tuple[str, ...]
    open_interest: tuple[str, ...]
    funding_rate: tuple[str, ...]
    next_ts: tuple[str, ...]
    interval_h: tuple[str, ...] = ()
    following_ts: tuple[str, ...] = ()
    hours: float | None = None


#: Binance: REST names, and those of the stream markPriceUpdate, whose letters other streams use for other things.
_BINANCE = Venue(
    mark=("markPrice",),
    index=("indexPrice",),
    open_interest=("openInterest",),
    funding_rate=("lastFundingRate",),
    next_ts=("nextFundingTime",),
    hours=8.0,
)
_BINANCE_MARK = Venue(mark=("p",), index=("i",), open_interest=(), funding_rate=("r",), next_ts=("T",), hours=8.0)
#: OKX: channels mark-price, index-tickers, open-interest (in coin), funding-rate (this funding and the one after).
_OKX = Venue(
    mark=("markPx",),
    index=("idxPx",),
    open_interest=("oiCcy",),
    funding_rate=("fundingRate",),
    next_ts=("fundingTime",),
    following_ts=("nextFundingTime",),
)
_BYBIT = Venue(
    mark=("markPrice",),
    index=("indexPrice",),
    open_interest=("openInterest",),
    funding_rate=("fundingRate",),
    next_ts=("nextFundingTime",),
    interval_h=("fundingIntervalHour",),
    hours=8.0,
)
#: Kraken Futures: `funding_rate` is in quote units a contract, so the relative one counts; it is the rate of one hour.
_KRAKEN = Venue(
    mark=("markPrice",),
    index=("index", "indexPrice"),
    open_interest=("openInterest",),
    funding_rate=("relative_funding_rate",),
    next_ts=("next_funding_rate_time",),
    hours=1.0,
)


def _binance(info: Info) -> Venue:
    return _BINANCE_MARK if info.get("e", "") == "markPriceUpdate" or {"p", "i", "r", "T"} <= info.keys() else _BINANCE


#: Beginning of the exchange's name, and the names to look for. OKX's entities share one wire format, as do Bybit's.
VENUES: tuple[tuple[str, Callable[[Info], Venue]], ...] = (
    ("binance", _binance),
    ("okx", lambda _: _OKX),
    ("myokx", lambda _: _OKX),
    ("bybit", lambda _: _BYBIT),
    ("kraken", lambda _: _KRAKEN),
)

_decode = msgspec.json.Decoder().decode


def derivative(exchange: str, info_json: str | None) -> Derivative:
    """Return what a ticker's own fields say.

    Parameters
    ----------
    exchange
        Name of the exchange, as in bronze.
    info_json
        The column of that name.

    Examples
    --------
    >>> derivative("bybit", '{"markPrice": "101", "indexPrice": "100", "fundingIntervalHour": "4"}')[:2]
    (101.0, 100.0)
    >>> derivative("coinbase", '{"markPrice": "101"}') == NOTHING
    True
    """
    choose = next((choose for name, choose in VENUES if exchange.startswith(name)), None)
    if choose is None or not info_json:
        return NOTHING
    try:
        info = _decode(info_json)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return NOTHING
    if not isinstance(info, dict):
        return NOTHING
    return _read(info, choose(info))


def _read(info: Info, venue: Venue) -> Derivative:
    at, after = _time_ms(info, venue.next_ts), _time_ms(info, venue.following_ts)
    hours = _number(info, venue.interval_h)
    if not hours > 0.0:
        hours = (after - at) / _HOUR_MS if at is not None and after is not None and after > at else math.nan
    rate = _number(info, venue.funding_rate)
    if math.isnan(hours) and venue.hours is not None and not math.isnan(rate):
        hours = venue.hours
    return Derivative(
        _number(info, venue.mark),
        _number(info, venue.index),
        _number(info, venue.open_interest),
        rate,
        hours,
        NULL_INT if at is None else at * _MS,
    )


def _number(info: Info, names: tuple[str, ...]) -> float:
    """Return the first of the named values; NaN if there is none, or it is no finite number."""
    value = next((info[name] for name in names if name in info), None)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _time_ms(info: Info, names: tuple[str, ...]) -> int | None:
    """Return the first of the named times; None if there is none, or it cannot be one in ms."""
    value = _number(info, names)
    return int(value) if _OLDEST_MS < value < 10 * _OLDEST_MS else None
