"""Which calls of CCXT to make: methods and symbols of the configuration, matched with what the exchange has."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.ccxt_settings import FEEDS
from daedalus.ingestion.collectors.ccxt_venues import Venue

#: The bronze channel that each method feeds, its form for one symbol and its form for many.
_METHODS = {
    "watchTicker": ("ticker", "watchTicker", "watchTickers"),
    "watchTickers": ("ticker", "watchTicker", "watchTickers"),
    "watchTrades": ("trades", "watchTrades", "watchTradesForSymbols"),
    "watchTradesForSymbols": ("trades", "watchTrades", "watchTradesForSymbols"),
    "watchOrderBook": ("orderbook", "watchOrderBook", "watchOrderBookForSymbols"),
    "watchOrderBookForSymbols": ("orderbook", "watchOrderBook", "watchOrderBookForSymbols"),
    "watchBidsAsks": ("bidsasks", "", "watchBidsAsks"),
}
#: The coroutine of each method.
_FUNCTIONS = {
    "watchTicker": "watch_ticker",
    "watchTickers": "watch_tickers",
    "watchTrades": "watch_trades",
    "watchTradesForSymbols": "watch_trades_for_symbols",
    "watchOrderBook": "watch_order_book",
    "watchOrderBookForSymbols": "watch_order_book_for_symbols",
    "watchBidsAsks": "watch_bids_asks",
}


@dataclass(frozen=True)
class Call:
    """One call of a watch method.

    Attributes
    ----------
    channel
        What it feeds: trades, orderbook, ticker, or bidsasks (quotes alone, which become `ticker` rows too).
    is_bulk
        Whether the method takes a list of symbols.
    market_type
        spot, swap, future or option: all symbols of a call are of one type.
    """

    method: str
    channel: str
    symbols: tuple[str, ...]
    is_bulk: bool
    market_type: str = "spot"

    @property
    def function(self) -> str:
        """The name of the coroutine."""
        return _FUNCTIONS[self.method]

    def alone(self) -> list["Call"]:
        """Return the same for each symbol by itself."""
        return [Call(self.method, self.channel, (symbol,), self.is_bulk, self.market_type) for symbol in self.symbols]

    def symbol_in(self, text: str) -> str:
        """Return the symbol that a message hash of this call names; empty if it names none."""
        if len(self.symbols) == 1:
            return self.symbols[0]
        return max((symbol for symbol in self.symbols if symbol in text), key=len, default="")


@dataclass
class Plan:
    """What to call, and what of the configuration cannot be had.

    Attributes
    ----------
    unknown
        (method, symbol, nearest symbol or empty) of symbols that the exchange lacks.
    unsupported
        Methods that it lacks.
    aliases
        (symbol, symbol that it stands for).
    conflicts
        Symbols whose best quotes cannot be watched beside their book.
    """

    calls: list[Call] = field(default_factory=list)
    unknown: list[tuple[str, str, str]] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    aliases: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)

    def streams(self) -> list[tuple[str, str]]:
        """Return the (symbol, channel) pairs that calls name."""
        return [(symbol, call.channel) for call in self.calls for symbol in call.symbols]

    def symbols(self, channel: str) -> frozenset[str]:
        """Return the symbols that calls of a channel name."""
        return frozenset(symbol for call in self.calls if call.channel == channel for symbol in call.symbols)


def plan_calls(
    channels: Mapping[str, Sequence[str]],
    has: Mapping[str, Any],
    markets: Mapping[str, Any],
    venue: Venue,
    left_out: Iterable[tuple[str, str]] = (),
) -> Plan:
    """Match the wanted methods and symbols with an exchange.

    Parameters
    ----------
    channels
        Method to symbols; an entry with ``*`` or ``?`` picks from the active markets.
    has, markets
        CCXT's description of the exchange, and its markets by symbol.
    left_out
        (symbol, channel) pairs that the exchange refused before.
    """
    plan, gone = Plan(), set(left_out)
    taken: set[tuple[str, str]] = set()
    books = {s for m in channels if _METHODS[m][0] == "orderbook" for s in _symbols(m, channels[m], markets, Plan())}
    for method, entries in channels.items():
        channel, single, bulk = _METHODS[method]
        symbols = [s for s in _symbols(method, entries, markets, plan) if (s, channel) not in gone | taken]
        if channel == "bidsasks" and venue.quotes_spoil_books:
            plan.conflicts += [symbol for symbol in symbols if symbol in books]
            symbols = [symbol for symbol in symbols if symbol not in books]
        taken |= {(symbol, channel) for symbol in symbols}
        if venue.bulk_ticker_differs and channel == "ticker":
            single, bulk = (single, "") if method == "watchTicker" else ("", bulk)
        can_single, can_bulk = bool(single and has.get(single)), bool(bulk and has.get(bulk) is True)
        if not (can_single or can_bulk):
            plan.unsupported.append(method)
            continue
        for kind, group in _by_type(symbols, markets):
            size = venue.batch if can_bulk and (len(group) > 1 or not can_single) else 1
            chosen, is_bulk = (bulk, True) if size > 1 or not can_single else (single, False)
            for at in range(0, len(group), size):
                plan.calls.append(Call(chosen, channel, tuple(group[at : at + size]), is_bulk, kind))
    return plan


def streams_of(calls: Iterable[Call], record: Container[str], refused: Container[Stream]) -> list[Stream]:
    """Return the (symbol, bronze channel) pairs that calls feed, of those to record and without what was refused."""
    return list(
        {
            (symbol, channel): None
            for call in calls
            for symbol in call.symbols
            if (symbol, call.channel) not in refused
            for channel in FEEDS[call.channel]
            if channel in record
        }
    )


def _symbols(method: str, entries: Sequence[str], markets: Mapping[str, Any], plan: Plan) -> list[str]:
    """Return the symbols that the entries name, each once, in order."""
    found: dict[str, None] = {}
    for entry in entries:
        if "*" in entry or "?" in entry:
            matches = [s for s, m in markets.items() if m.get("active") is not False and fnmatchcase(s, entry)]
            if not matches:
                plan.unknown.append((method, entry, ""))
            found |= dict.fromkeys(sorted(matches))
        elif entry in markets:
            found[_unaliased(entry, markets, plan)] = None
        else:
            plan.unknown.append((method, entry, _nearest(entry, markets)))
    return list(found)


def _unaliased(symbol: str, markets: Mapping[str, Any], plan: Plan) -> str:
    """Return the market under whose name the exchange publishes this one (Coinbase: BTC-USDC is BTC-USD)."""
    info = markets[symbol].get("info")
    alias = info.get("alias") if isinstance(info, dict) else None
    for other, market in markets.items() if alias else ():
        if market["id"] == alias:
            if (symbol, other) not in plan.aliases:
                plan.aliases.append((symbol, other))
            return other
    return symbol


def _nearest(entry: str, markets: Mapping[str, Any]) -> str:
    for symbol, market in markets.items():
        if entry.lower() in (str(market["id"]).lower(), symbol.lower()):
            return symbol
    return next(iter(get_close_matches(entry.upper().replace("-", "/"), markets, 1, 0.5)), "")


def _by_type(symbols: Sequence[str], markets: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield (market type, symbols): one subscription may not mix types."""
    groups: dict[tuple[str, str], list[str]] = {}
    for symbol in symbols:
        market = markets[symbol]
        groups.setdefault((str(market.get("type") or "spot"), str(market.get("subType") or "")), []).append(symbol)
    for (kind, _), group in groups.items():
        yield kind, group
