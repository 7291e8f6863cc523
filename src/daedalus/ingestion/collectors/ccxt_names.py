"""Which markets a frame is about, from its text alone: for frames that no handler understood."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

_TOKEN = re.compile(r"[A-Za-z0-9_/-]{3,}")
#: How much of a frame is looked at.
_HEAD, _WHOLE = 256, 100_000
#: Length and number of beginnings of frames that are remembered as data.
_PREFIX, _PREFIXES_MAX = 56, 1024
#: Words of frames that are no data: answers to subscriptions, and complaints.
_CONTROL = ("subscri", "error")
#: What handlers and streams are called, by what they carry.
_WORDS = {
    "orderbook": ("order_book", "orderbook", "depth", "book", "delta", "l2"),
    "trades": ("trade",),
    "ticker": ("ticker", "bid_ask", "bids_asks", "bidask", "bbo"),
}


class _Place(Protocol):
    name: str


class MarketNames:
    """The ids under which the watched markets appear in frames.

    Parameters
    ----------
    markets
        CCXT's markets by symbol.
    """

    def __init__(self, markets: Mapping[str, Any] | None = None) -> None:
        self._symbols: dict[str, set[str]] = {}
        self._done: set[str] = set()
        self._prefixes: set[str] = set()
        for symbol, market in (markets or {}).items():
            info = market.get("info")
            names = {str(market["id"]), symbol, str(info.get("wsname") or symbol) if isinstance(info, dict) else symbol}
            for name in names | {n.lower() for n in names} | {n.upper() for n in names}:
                self._symbols.setdefault(name, set()).add(symbol)

    def of(self, market_id: str) -> set[str]:
        """Return the symbols of an id; several where spot and futures share it."""
        return self._symbols.get(market_id, set())

    def named_in(self, text: str) -> set[str]:
        """Return the symbols that a text names."""
        tokens = set(_TOKEN.findall(text, 0, _WHOLE))
        return {symbol for token in tokens & self._symbols.keys() for symbol in self._symbols[token]}

    def done(self, symbol: str) -> None:
        """Have frames of this market not handled any more."""
        for name, symbols in self._symbols.items():
            if symbol in symbols:
                self._done.add(name)

    def undone(self, symbol: str) -> None:
        """Have frames of this market handled again."""
        self._done = {name for name in self._done if symbol not in self._symbols[name]}
        self._prefixes.clear()

    def is_done_with(self, text: str) -> bool:
        """Tell whether a frame is data of a market whose frames need not be handled."""
        prefix = text[:_PREFIX]
        if prefix in self._prefixes:
            return True
        for match in _TOKEN.finditer(text, 0, _HEAD):
            if match.group() not in self._done:
                continue
            head = text[:_HEAD]
            if any(word in head for word in _CONTROL):
                return False
            if match.end() < _PREFIX:
                # The beginning names the market: the next frame of the stream is known by it.
                self._remember(prefix)
            return True
        return False

    def _remember(self, prefix: str) -> None:
        if len(self._prefixes) >= _PREFIXES_MAX:
            self._prefixes.clear()
        self._prefixes.add(prefix)


def channels_of(text: str, places: Iterable[_Place]) -> list[str]:
    """Return what a frame carried: by the handlers on the way to the error, else by its words, else all there is."""
    names = " ".join(place.name for place in places)
    head = text[:_HEAD].lower()
    for where in (names, head):
        found = [channel for channel, words in _WORDS.items() if any(word in where for word in words)]
        if found:
            return found
    return list(_WORDS)
