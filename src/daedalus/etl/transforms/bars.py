"""Silver and trades to gold: time bars and event bars, in one pass (feature catalogue, section 11)."""

import itertools
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa

from daedalus.etl.features.chunks import trade_chunk
from daedalus.etl.transforms.bar_folds import end_open_bar, fold_event_bars, fold_time_bars
from daedalus.etl.transforms.bar_kernel import BookRows, Deals, TradeRows
from daedalus.etl.transforms.bar_layout import STREAM, Records, bar_columns, bar_record, blank_bar
from daedalus.etl.transforms.bar_rules import RULE, EventBar
from daedalus.etl.transforms.bar_trades import DealFold
from daedalus.etl.transforms.base import Input, Layer, Market, Output, Rows, Streams, constant
from daedalus.etl.transforms.beside import GapIntervals
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.errors import ConfigError
from daedalus.shared.schemas import Column, arrow_schema

VERSION = 3
"""Grows when the meaning of a column changes."""
DURATION_MAX_S = 86_400
CHANNELS = ("orderbook", "trades")
"""What bars are made of."""
BUFFER_BARS = 8192

R = TypeVar("R", BookRows, TradeRows)

#: The columns of silver that bars are made of, in the order of `BookRows`; all are in the feature set `core`.
_BOOK_FLOATS = (
    "mid",
    "spread_bps",
    "imbalance_l0",
    "imbalance_n5",
    "microprice_dev_bps",
    "depth_bid_n5",
    "depth_ask_n5",
    "bid_size_l0",
    "ask_size_l0",
    "log_return",
    "mlofi_decay",
    "vpin",
    "kyle_lambda",
)
_TRADES = pa.schema(
    [arrow_schema("trades").field(name) for name in ("collected_at", "timestamp", "side", "price", "amount")]
)
_LEDGER = pa.schema(
    [arrow_schema("gaps").field(name) for name in ("collected_at", "channel", "started_at", "ended_at")]
)
_EXCHANGE = Column("exchange", "string", "", "exchange, as in the path")
_SYMBOL = Column("symbol", "string", "", "symbol, as in the path")
_DURATION = Column("duration", "int32", "s", "width of the bar, as in the path")
_BAR = Column("bar", "string", "", "kind of the bar and its threshold, as in the path")


_MLOFI_LEVELS = 10


def _book_schema(silver: Collection[str] | None) -> tuple[pa.Schema, int]:
    """Return the columns that bars read of those that silver has, and how many levels of MLOFI are among them."""
    levels = _MLOFI_LEVELS
    if silver is not None:
        levels = next(m for m in itertools.count() if f"mlofi_l{m}" not in silver)
    names = [name for name in _BOOK_FLOATS if silver is None or name in silver]
    names += [f"mlofi_l{m}" for m in range(levels)]
    times = [("collected_at", pa.int64()), ("ts", pa.int64())]
    return pa.schema([*times, *((name, pa.float64()) for name in names)]), levels


class BarAggregationTransform:
    """Time bars and event bars from order book features and trades.

    Bar k of width d is [k d, (k+1) d) on the epoch. An event's time is the exchange's, or the receive time where it
    gives none (T1); in each stream it never runs backwards (T2); at equal times trades come first (T5). Empty bars
    between others are emitted; the bar in which the recording ends only with `partial`. Each width has a directory of
    its own, ``duration=60``, and each kind of event bar too, ``bar=volume-12.5``.

    A silence longer than a day is not filled: the market was not recorded, or an event carries a wrong time.

    Parameters
    ----------
    durations
        Widths in whole seconds, 1 to 86,400.
    event_bars
        Kinds of event bars, as `bar_rules.EventBar` names them.
    partial
        Whether the bar in which the recording ends is emitted.
    max_state_staleness_seconds
        A mid older than this is not carried into a bar.
    silver
        The feature columns that silver has; what is made of others is null. None: all that bars use.
    channels
        What bars are made of: the order book's features, trades, or both. Columns of the other are null or zero.

    Raises
    ------
    ConfigError
        If there is no bar to make, one is out of range or named twice, or nothing to make them of.
    """

    name = "bars"
    layer: Layer = "gold"
    channel = "bars"
    margin = 1  # the partition before gives the previous close, the one after closes the last bars

    def __init__(
        self,
        durations: Sequence[int],
        *,
        event_bars: Sequence[str] = (),
        partial: bool = False,
        max_state_staleness_seconds: float = 300.0,
        silver: Collection[str] | None = None,
        channels: Collection[str] = CHANNELS,
    ) -> None:
        if not channels or not set(channels) <= set(CHANNELS):
            raise ConfigError(f"bars are made of {' and '.join(CHANNELS)}: --channel one of them, or leave it out")
        if not durations and not event_bars:
            raise ConfigError("no bars to make: give whole seconds, such as --durations 1,60, or --event-bars tick-100")
        for duration in durations:
            if not 1 <= duration <= DURATION_MAX_S or list(durations).count(duration) > 1:
                raise ConfigError(f"bar duration {duration}: name each once, from 1 to {DURATION_MAX_S} seconds")
        self._kinds = [EventBar(name) for name in event_bars]
        if len({kind.name for kind in self._kinds}) < len(self._kinds):
            raise ConfigError(f"event bars {', '.join(event_bars)}: name each once")
        self._partial = partial
        self._staleness = round(max_state_staleness_seconds * NS_PER_SECOND)
        self._durations = tuple(durations)
        self._book, self._levels = _book_schema(silver)
        sources = (
            Input("features", "silver", "orderbook", self._book, leads=True),
            Input("trades", "bronze", "trades", _TRADES, leads=True),
        )
        self.inputs: tuple[Input, ...] = (
            *(source for source in sources if source.channel in channels),
            Input("gaps", "bronze", "gaps", _LEDGER, with_all=True),
        )
        self.outputs: tuple[Output, ...] = (
            *(bar_output(duration, self._levels) for duration in durations),
            *(event_bar_output(kind.name, self._levels) for kind in self._kinds),
        )

    def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
        """Fold the streams of a market; see `base.Transform`."""
        gaps = GapIntervals(streams["gaps"])
        book = _Source(streams.get("features", iter(())), self._book_rows, self._book)
        trades = _Source(streams.get("trades", iter(())), _trade_rows, _TRADES)
        deals = DealFold(self._staleness)
        folds = self._folds(market, gaps)
        while book.refill() | trades.refill():
            said = deals.fold(book.rows, book.at, book.ended, trades.rows, trades.at, trades.ended)
            ends = (book.at, trades.at)
            for fold in folds:
                ends = yield from fold.fold(book, trades, said)
            book.at, trades.at = ends
        if self._partial:
            for fold in folds:
                yield from fold.end()

    def _folds(self, market: Market, gaps: GapIntervals) -> "list[_TimeBars | _EventBars]":
        timed, by_event = self.outputs[: len(self._durations)], self.outputs[len(self._durations) :]
        common = (self._levels, self._staleness, market, gaps)
        return [
            *(_TimeBars(output, d, *common) for output, d in zip(timed, self._durations, strict=True)),
            *(_EventBars(output, kind, *common) for output, kind in zip(by_event, self._kinds, strict=True)),
        ]

    def _book_rows(self, table: pa.Table) -> BookRows:
        """Return the columns as rows of one matrix of our own.

        What Arrow hands out is read-only where a column has no nulls and writable where it has: to Numba these are two
        types, and the kernels would be compiled anew for each of the thousands of ways in which nulls can be spread.
        """
        names = (*_BOOK_FLOATS, *(f"mlofi_l{m}" for m in range(self._levels)))
        values = np.full((len(names), table.num_rows), np.nan)
        for row, name in zip(values, names, strict=True):
            if name in table.schema.names:
                row[:] = table[name].to_numpy()
        floats, flow = values[: len(_BOOK_FLOATS)], values[len(_BOOK_FLOATS) :]
        return BookRows._make((np.array(table["ts"].to_numpy()), *floats, flow))


def bar_output(duration: int, levels: int = _MLOFI_LEVELS) -> Output:
    """Return the output of one bar width, seconds."""
    metadata = (("transform", "bars"), ("schema_version", str(VERSION)), ("duration_seconds", str(duration)))
    return _output(f"duration={duration}", _DURATION, levels, metadata)


def event_bar_output(name: str, levels: int = _MLOFI_LEVELS) -> Output:
    """Return the output of one kind of event bar."""
    metadata = (("transform", "bars"), ("schema_version", str(VERSION)), ("bar", name))
    return _output(f"bar={name}", _BAR, levels, metadata)


def _output(folder: str, kind: Column, levels: int, metadata: tuple[tuple[str, str], ...]) -> Output:
    columns = bar_columns(levels)
    return Output(folder, "bars.parquet", (*columns[:2], _EXCHANGE, _SYMBOL, kind, *columns[2:]), "bar_start", metadata)


class _Source(Generic[R]):
    """The rows of a stream that are not folded yet.

    Attributes
    ----------
    rows
        The chunk at hand.
    at
        First row of it that is not folded yet.
    ended
        Whether all rows are folded and none will come.
    """

    def __init__(self, chunks: Iterator[pa.Table], convert: Callable[[pa.Table], R], schema: pa.Schema) -> None:
        self._chunks = chunks
        self._convert: Callable[[pa.Table], R] = convert
        self._newest = np.iinfo(np.int64).min
        self._none: R = convert(schema.empty_table())
        self.rows: R = self._none
        self.at = 0
        self.ended = False

    def refill(self) -> bool:
        """Take the next chunk when the last one is used up; return whether there is one to fold."""
        while not self.ended and self.at == len(self.rows.ts):
            table = next(self._chunks, None)
            self.at = 0
            self.ended = table is None
            self.rows = self._none if table is None else self._in_order(self._convert(table))
        return not self.ended

    def _in_order(self, rows: R) -> R:
        """Replace each time by the newest seen so far (T2)."""
        effective = np.maximum(np.maximum.accumulate(rows.ts), self._newest)
        self._newest = int(effective[-1]) if len(effective) else self._newest
        return rows._replace(ts=effective)


class _Bars:
    """The fold of one kind of bar: its state, and the records that its kernel fills."""

    def __init__(self, output: Output, levels: int, staleness: int, market: Market, gaps: GapIntervals) -> None:
        self._output, self._staleness, self._market, self._gaps = output, staleness, market, gaps
        self._blank = blank_bar(levels)
        self._carried: tuple[Records, Records, Records] = (np.zeros(1, STREAM), self._blank.copy(), self._blank)
        self._out: Records = np.zeros(BUFFER_BARS, bar_record(levels))
        self._identity: dict[str, object] = {"exchange": market.exchange, "symbol": market.symbol}

    def fold(
        self, book: "_Source[BookRows]", trades: "_Source[TradeRows]", deals: Deals
    ) -> Generator[Rows, None, tuple[int, int]]:
        """Fold what both sources hold, as far as their order is certain; return the next row of each."""
        book_at, trade_at, filled = book.at, trades.at, BUFFER_BARS
        while filled == BUFFER_BARS:
            book_at, trade_at, filled = self._walk(
                (book.rows, book_at, book.ended, trades.rows, deals, trade_at, trades.ended, self._out)
            )
            if filled:
                yield self._output, self._batch(filled)
        return book_at, trade_at

    def end(self) -> Iterator[Rows]:
        """Emit the open bar as a partial one."""
        if end_open_bar(*self._carried[:2], self._staleness, self._out):
            yield self._output, self._batch(1)

    def _walk(self, events: tuple[Any, ...]) -> tuple[int, int, int]:
        raise NotImplementedError

    def _batch(self, filled: int) -> pa.RecordBatch:
        out, schema = self._out[:filled], self._output.schema
        gaps = self._gaps.overlap(out["bar_start"], out["bar_end"])
        columns = []
        for field in schema:
            if field.name in self._identity:
                columns.append(constant(self._identity[field.name], field.type, filled))
            elif field.name == "has_gap":
                columns.append(pa.array(gaps.astype(np.int8)))
            else:
                level = field.name.removeprefix("mlofi_l").removesuffix("_sum")
                values = out["mlofi"][:, int(level)] if level.isdigit() else out[field.name]
                columns.append(pa.array(np.ascontiguousarray(values), type=field.type, from_pandas=True))
        return pa.record_batch(columns, schema=schema)


class _TimeBars(_Bars):
    def __init__(self, output: Output, duration: int, *common: Any) -> None:
        super().__init__(output, *common)
        self._duration = duration * NS_PER_SECOND
        self._identity["duration"] = duration

    def _walk(self, events: tuple[Any, ...]) -> tuple[int, int, int]:
        return fold_time_bars(*self._carried, self._duration, self._staleness, *events)


class _EventBars(_Bars):
    def __init__(self, output: Output, kind: EventBar, *common: Any) -> None:
        super().__init__(output, *common)
        self._rule, self._state = kind.values(), np.zeros(1, RULE)
        self._identity["bar"] = kind.name

    def _walk(self, events: tuple[Any, ...]) -> tuple[int, int, int]:
        return fold_event_bars(*self._carried, self._rule, self._state, self._staleness, *events)


def _trade_rows(table: pa.Table) -> TradeRows:
    """Return the valid trades; the others are no events at all."""
    trades = trade_chunk(table)
    valid = np.isfinite(trades.price) & np.isfinite(trades.amount) & (trades.price > 0) & (trades.amount > 0)
    return TradeRows(trades.ts[valid], trades.price[valid], trades.amount[valid], trades.side[valid])
