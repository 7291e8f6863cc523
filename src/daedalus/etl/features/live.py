"""The live face: events in, feature rows out, by the same computation as batch and to the same bit.

A gap event makes the next book row of its market a first row (S2). What a row may not see yet waits in the state (T5),
so rows do not depend on how events are handed over, as long as that happens in the order of receipt.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from daedalus.etl.features.base import NULL_INT, Outputs
from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.cleaning import clean_side
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.one_row import OneRow
from daedalus.etl.features.registry import Table
from daedalus.etl.features.state import State
from daedalus.etl.features.tickers import tickers_of
from daedalus.shared.events import ALL, BookSnapshot, Event, Gap, Ticker, Trade

if TYPE_CHECKING:
    import pyarrow as pa


class Market(NamedTuple):
    """What tells markets apart."""

    exchange: str
    symbol: str


@dataclass(frozen=True)
class FeatureRows:
    """The rows that one call made for one market.

    Attributes
    ----------
    market
        Whose they are.
    outputs
        Columns by name, at once: NaN and sentinels stand for null (`base`).
    """

    market: Market
    outputs: Outputs
    _features: FeatureSet

    @cached_property
    def features(self) -> "pa.RecordBatch":
        """The same as Arrow, made when it is first asked for."""
        return self._features.to_arrow(self.outputs)


@dataclass(slots=True)
class Passed:
    """Events of one market, by stream, in arrival order; whether each book is a reset."""

    books: list[BookSnapshot] = field(default_factory=list)
    resets: list[bool] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    tickers: list[Ticker] = field(default_factory=list)

    def take(self, event: BookSnapshot | Trade | Ticker, is_reset: bool = False) -> None:
        """Put an event behind those of its stream."""
        if isinstance(event, BookSnapshot):
            self.books.append(event)
            self.resets.append(is_reset)
        elif isinstance(event, Trade):
            self.trades.append(event)
        else:
            self.tickers.append(event)

    def __len__(self) -> int:
        return len(self.books) + len(self.trades) + len(self.tickers)


def apply(features: FeatureSet, state: State, events: Passed) -> tuple[State, Outputs]:
    """Hand events to a feature set; what it does not look at is left out."""
    book = book_of(events.books, features.levels, events.resets) if events.books else None
    trades = trades_of(events.trades) if events.trades else None
    tickers = tickers_of(events.tickers) if events.tickers and features.sees_tickers else None
    return features.apply(state, book, trades, tickers)


class FeatureEngine:
    """Features of any number of markets as their events come in.

    Parameters
    ----------
    config
        What to compute.
    table
        Of which events there are rows: "orderbook", "trades" or "ticker". Hand it the events of the other streams too;
        for rows of several kinds make an engine for each.

    Attributes
    ----------
    states
        By market. To keep them over a restart: `daedalus.etl.utils.live_state`.
    resets
        Markets whose next book is a first row (S2).

    Examples
    --------
    >>> from daedalus.shared.events import pack_levels
    >>> engine = FeatureEngine(FeatureConfig(max_levels=1, include=("mid",)))
    >>> sides = {"bids": pack_levels([(99.0, 2.0)]), "asks": pack_levels([(101.0, 6.0)])}
    >>> rows = engine.update([BookSnapshot(collected_at=1, exchange="x", symbol="BTC-USD", **sides)])
    >>> rows[0].features.column("mid").to_pylist()
    [100.0]
    """

    def __init__(self, config: FeatureConfig, table: Table = "orderbook") -> None:
        self.features = FeatureSet(config, table=table)
        self.states: dict[Market, State] = {}
        self.resets: set[Market] = set()
        self._one_rows: dict[Market, OneRow] = {}

    def update(self, events: Iterable[Event]) -> list[FeatureRows]:
        """Take the next events, in arrival order, and return the new rows of each market that has some.

        Events that no feature looks at are passed over.

        Raises
        ------
        StateError
            If a bound of the state would be exceeded; the market's state must then be dropped.
        """
        events = list(events)
        if len(events) == 1 and isinstance(events[0], BookSnapshot) and self.features.replays:
            one = self._one(events[0])
            if one is not None:
                return one
        rows: list[FeatureRows] = []
        for market, passed in self._by_market(events).items():
            state = self.states.get(market) or self.features.new_state()
            self.states[market], outputs = apply(self.features, state, passed)
            if market in self._one_rows:
                self._one_rows[market].is_checked = False
            if outputs.rows:
                rows.append(FeatureRows(market, outputs, self.features))
        return rows

    def _one(self, book: BookSnapshot) -> list[FeatureRows] | None:
        """Return the row of a book by itself; None if it must go with what waits for it."""
        market = Market(book.exchange, book.symbol)
        state = self.states.get(market)
        if state is None:
            return None
        one = self._one_rows.get(market)
        if one is None or one.state is not state:
            one = self._one_rows[market] = OneRow(self.features, state)
        outputs = one.apply(book, market in self.resets)
        if outputs is None:
            return None
        self.resets.discard(market)
        return [FeatureRows(market, outputs, self.features)] if outputs.rows else []

    def _by_market(self, events: Iterable[Event]) -> dict[Market, Passed]:
        """Sort events by market; a gap marks the next book of its market, or of all."""
        groups: dict[Market, Passed] = {}
        for event in events:
            market = Market(event.exchange, event.symbol)
            if isinstance(event, Gap) and event.channel in (ALL, "orderbook"):
                known = {*self.states, *groups}
                self.resets |= {m for m in known if m == market or (market.symbol, market.exchange) == (ALL, m[0])}
            elif isinstance(event, BookSnapshot | Trade | Ticker):
                groups.setdefault(market, Passed()).take(event, market in self.resets)
                if isinstance(event, BookSnapshot):
                    self.resets.discard(market)
        return groups


def book_of(books: list[BookSnapshot], max_levels: int, resets: list[bool]) -> BookChunk:
    """Return snapshots of one market, in arrival order, as a chunk; cleaned by B1-B3."""
    sides = [_side([getattr(book, name) for book in books], max_levels, sign) for name, sign in _SIDES]
    seq = np.array([NULL_INT if book.nonce is None else book.nonce for book in books], np.int64)
    received = np.array([book.collected_at for book in books], np.int64)
    return BookChunk(_times(books), received, seq, np.array(resets, np.bool_), *sides[0], *sides[1])


_SIDES = (("bids", 1.0), ("asks", -1.0))


def _side(packed: list[bytes], max_levels: int, sign: float) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.zeros(len(packed) + 1, np.int64)
    np.cumsum([len(side) // 16 for side in packed], out=offsets[1:])
    levels = np.frombuffer(b"".join(packed), "<f8").reshape(-1, 2)
    price, size = np.ascontiguousarray(levels[:, 0]), np.ascontiguousarray(levels[:, 1])
    price.flags.writeable = size.flags.writeable = False  # the kernel is compiled for read-only input
    return clean_side(offsets, price, size, max_levels, sign)


def _times(events: "list[BookSnapshot] | list[Trade]") -> np.ndarray:
    times = [event.collected_at if event.timestamp is None else event.timestamp * 1000 for event in events]
    return np.array(times, np.int64)


def trades_of(trades: list[Trade]) -> TradeChunk:
    """Return trades of one market, in arrival order, as a chunk."""
    return TradeChunk(
        _times(trades),
        np.array([trade.collected_at for trade in trades], np.int64),
        np.array([np.nan if trade.price is None else trade.price for trade in trades], np.float64),
        np.array([np.nan if trade.amount is None else trade.amount for trade in trades], np.float64),
        np.array([{"buy": 1, "sell": -1}.get(trade.side or "", 0) for trade in trades], np.int8),
    )
