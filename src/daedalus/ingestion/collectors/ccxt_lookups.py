"""CCXT's look-ups of fields and markets: the same results, without an exception for each field that is not there.

Handlers ask every message for fields that few have (an error's code, an event's name). CCXT finds out by a `KeyError`,
which takes four times as long as asking; and each list or dict is looked up through three functions. A message has some
twenty look-ups.
"""

from collections.abc import Callable
from typing import Any


def _field_of(kind: type) -> Callable[..., Any]:
    """Return a look-up of fields of one type."""

    def look_up(dictionary: Any, key: Any, default_value: Any = None) -> Any:
        try:
            value = dictionary.get(key) if type(dictionary) is dict else dictionary[key]
            return value if isinstance(value, kind) else default_value
        except Exception:
            return default_value

    return look_up


class QuickLookups:
    """To be put before an exchange's class of CCXT."""

    markets_by_id: Any

    def safe_market(self, marketId: Any = None, market: Any = None, *more: Any, **named: Any) -> Any:  # noqa: N803
        """Return the market of an id: at once where no other market has the id, or only the market is given."""
        if marketId is None and market is not None:
            return market
        known = self.markets_by_id.get(marketId) if self.markets_by_id and marketId is not None else None
        if known is not None and len(known) == 1:
            return known[0]
        return super().safe_market(marketId, market, *more, **named)  # type: ignore[misc]

    @staticmethod
    def safe_value(dictionary: Any, key: Any, default_value: Any = None) -> Any:
        """Return a field that is neither None nor empty."""
        try:
            value = dictionary.get(key) if type(dictionary) is dict else dictionary[key]
            return default_value if value is None or value == "" else value
        except Exception:
            return default_value

    @staticmethod
    def safe_string(dictionary: Any, key: Any, default_value: Any = None) -> Any:
        """Return a text that is not empty, or a number as text."""
        try:
            value = dictionary.get(key) if type(dictionary) is dict else dictionary[key]
            kind = type(value)
            if kind is str:
                return value or default_value
            return str(value) if kind is int or kind is float else default_value
        except Exception:
            return default_value

    @staticmethod
    def safe_string_2(dictionary: Any, key1: Any, key2: Any, default_value: Any = None) -> Any:
        """Return the first of two texts that is there."""
        found = QuickLookups.safe_string(dictionary, key1)
        return QuickLookups.safe_string(dictionary, key2, default_value) if found is None else found

    @staticmethod
    def safe_integer(dictionary: Any, key: Any, default_value: Any = None) -> Any:
        """Return a number without its decimals, also of a text."""
        try:
            value = dictionary.get(key) if type(dictionary) is dict else dictionary[key]
            return default_value if value is None else int(float(value))
        except Exception:
            return default_value

    safe_dict = staticmethod(_field_of(dict))
    safe_list = staticmethod(_field_of(list))
