"""The public REST calls of Kraken that clients make: Assets, AssetPairs, Time, SystemStatus."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from daedalus.sandbox.base import MarketSource, RestReply
from daedalus.sandbox.instruments import Instrument, instruments, step
from daedalus.sandbox.kraken_messages import SIZE_DIGITS, at, encode

#: Currencies with a name of their own at Kraken: (id, alternative name).
_ASSETS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "BTC": ("XXBT", "XBT"),
        "DOGE": ("XXDG", "XDG"),
        **{code: (f"X{code}", code) for code in ("ETC", "ETH", "LTC", "XLM", "XMR", "XRP", "ZEC")},
        **{code: (f"Z{code}", code) for code in ("AUD", "CAD", "EUR", "GBP", "JPY", "USD")},
    }
)


def answer_get(path_qs: str, source: MarketSource) -> RestReply | None:
    """Answer one call, None if there is no such call."""
    prefix, _, call = urlsplit(path_qs).path.rpartition("/")
    if prefix != "/0/public":
        return None
    match call:
        case "Assets":
            return _ok(_assets(instruments(source).values()))
        case "AssetPairs":
            return _ok(dict(_pair(instrument) for instrument in instruments(source).values()))
        case "Time":
            return _ok({"unixtime": _time_us(source) // 1_000_000, "rfc1123": ""})
        case "SystemStatus":
            return _ok({"status": "online", "timestamp": at(_time_us(source))})
    return None


def _ok(result: Any) -> RestReply:
    return RestReply(encode({"error": [], "result": result}))


def _time_us(source: MarketSource) -> int:
    feed = source.open()
    feed.close()
    return feed.time_us


def asset(code: str) -> tuple[str, str]:
    """Return the id and the alternative name of a currency.

    Examples
    --------
    >>> asset("BTC"), asset("SOL")
    (('XXBT', 'XBT'), ('SOL', 'SOL'))
    """
    return _ASSETS.get(code, (code, code))


def _assets(traded: Iterable[Instrument]) -> dict[str, Any]:
    codes = dict.fromkeys(code for instrument in traded for code in (instrument.base, instrument.quote))
    return {
        asset(code)[0]: {
            "aclass": "currency",
            "altname": asset(code)[1],
            "decimals": 10,
            "display_decimals": 5,
            "status": "enabled",
        }
        for code in codes
    }


def _pair(instrument: Instrument) -> tuple[str, dict[str, Any]]:
    (base, base_name), (quote, quote_name) = asset(instrument.base), asset(instrument.quote)
    # Pairs of two currencies with old names are called by the long ones: XXBTZUSD, but SOLUSD.
    is_old = base != base_name and quote != quote_name
    ident = base + quote if is_old else base_name + quote_name
    return ident, {
        "altname": base_name + quote_name,
        "wsname": f"{base_name}/{quote_name}",
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": instrument.price_digits,
        "lot_decimals": SIZE_DIGITS,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4], [10_000, 0.35]],
        "fees_maker": [[0, 0.25], [10_000, 0.2]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": step(4),
        "costmin": "0.5",
        "tick_size": step(instrument.price_digits),
        "status": "online",
    }
