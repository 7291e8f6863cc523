"""Silver and trades to gold: time bars of several widths in one pass (feature catalogue, section 11)."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa

from daedalus.etl.features.chunks import trade_chunk
from daedalus.etl.transforms.bar_kernel import BookRows, TradeRows, end_open_bar, fold_bars
from daedalus.etl.transforms.bar_layout import ACCUMULATOR, BAR_COLUMNS, BAR_RECORD
from daedalus.etl.transforms.base import Input, Layer, Market, Output, Rows, Streams, constant
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.errors import ConfigError
from daedalus.shared.schemas import Column, arrow_schema

VERSION = 1
"""Grows when the meaning of a column changes."""
DURATION_MAX_S = 86_400
BUFFER_BARS = 8192

R = TypeVar("R", BookRows, TradeRows)

_BOOK_FLOATS = ("mid", "spread_bps", "imbalance_l0", "ofi", "log_return")
_BOOK = pa.schema([("collected_at", pa.int64()), ("ts", pa.int64()), *((name, pa.float64()) for name in _BOOK_FLOATS)])
_TRADES = pa.schema(
    [arrow_schema("trades").field(name) for name in ("collected_at", "timestamp", "side", "price", "amount")]
)
_IDENTITY = (
    Column("exchange", "string", "", "exchange, as in the path"),
    Column("symbol", "string", "", "symbol, as in the path"),
    Column("duration", "int32", "s", "width of the bar, as in the path"),
)


class BarAggregationTransform:
    """Time bars from order book features and trades.

    Bar k of width d is [k d, (k+1) d) on the epoch. An event's time is the exchange's, or the receive time where it
    gives none (T1); in each stream it never runs backwards (T2); at equal times trades come first (T5). Empty bars
    between others are emitted; the bar in which the recording ends only with `partial`. Each width has a directory of
    its own, ``duration=60``.

    A silence longer than a day is not filled: the market was not recorded, or an event carries a wrong time.

    Parameters
    ----------
    durations
        Widths in whole seconds, 1 to 86,400.
    partial
        Whether the bar in which the recording ends is emitted.
    max_state_staleness_seconds
        A mid older than this is not carried into a bar.

    Raises
    ------
    ConfigError
        If there is no duration, or one is out of range or named twice.
    """

    name = "bars"
    layer: Layer = "gold"
    channel = "bars"
    margin = 1  # the partition before gives the previous close, the one after closes the last bars
    inputs: tuple[Input, ...] = (
        Input("features", "silver", "orderbook", _BOOK, leads=True),
        Input("trades", "bronze", "trades", _TRADES, leads=True),
    )

    def __init__(
        self, durations: Sequence[int], *, partial: bool = False, max_state_staleness_seconds: float = 300.0
    ) -> None:
        if not durations:
            raise ConfigError("no bar durations: give whole seconds, such as --durations 1,60")
        for duration in durations:
            if not 1 <= duration <= DURATION_MAX_S or durations.count(duration) > 1:
                raise ConfigError(f"bar duration {duration}: name each once, from 1 to {DURATION_MAX_S} seconds")
        self._partial = partial
        self._staleness = round(max_state_staleness_seconds * NS_PER_SECOND)
        self._durations = tuple(durations)
        self.outputs: tuple[Output, ...] = tuple(bar_output(duration) for duration in durations)

    def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
        """Fold the streams of a market; see `base.Transform`."""
        book = _Source(streams["features"], _book_rows, _BOOK)
        trades = _Source(streams["trades"], _trade_rows, _TRADES)
        widths = [
            _Width(output, duration, self._staleness, market)
            for output, duration in zip(self.outputs, self._durations, strict=True)
        ]
        while book.refill() | trades.refill():
            ends = (book.at, trades.at)
            for width in widths:
                ends = yield from width.fold(book, trades)
            book.at, trades.at = ends
        if self._partial:
            for width in widths:
                yield from width.end()


def bar_output(duration: int) -> Output:
    """Return the output of one bar width, seconds."""
    columns = (*BAR_COLUMNS[:2], *_IDENTITY, *BAR_COLUMNS[2:])
    metadata = (("transform", "bars"), ("schema_version", str(VERSION)), ("duration_seconds", str(duration)))
    return Output(f"duration={duration}", "bars.parquet", columns, "bar_start", metadata)


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


class _Width:
    """The fold of one bar width."""

    def __init__(self, output: Output, duration: int, staleness: int, market: Market) -> None:
        self._output = output
        self._duration = duration
        self._staleness = staleness
        self._market = market
        self._state = np.zeros(1, dtype=ACCUMULATOR)
        self._out = np.zeros(BUFFER_BARS, dtype=BAR_RECORD)

    def fold(self, book: "_Source[BookRows]", trades: "_Source[TradeRows]") -> Generator[Rows, None, tuple[int, int]]:
        """Fold what both sources hold, as far as their order is certain; return the next row of each."""
        book_at, trade_at, filled = book.at, trades.at, BUFFER_BARS
        while filled == BUFFER_BARS:
            book_at, trade_at, filled = fold_bars(
                self._state,
                self._duration * NS_PER_SECOND,
                self._staleness,
                book.rows,
                book_at,
                book.ended,
                trades.rows,
                trade_at,
                trades.ended,
                self._out,
            )
            if filled:
                yield self._output, self._batch(filled)
        return book_at, trade_at

    def end(self) -> Iterator[Rows]:
        """Emit the open bar as a partial one."""
        if end_open_bar(self._state, self._out):
            yield self._output, self._batch(1)

    def _batch(self, filled: int) -> pa.RecordBatch:
        identity = {
            "exchange": self._market.exchange,
            "symbol": self._market.symbol,
            "duration": self._duration,
        }
        schema = self._output.schema
        columns = [
            constant(identity[field.name], field.type, filled)
            if field.name in identity
            else pa.array(np.ascontiguousarray(self._out[field.name][:filled]), type=field.type, from_pandas=True)
            for field in schema
        ]
        return pa.record_batch(columns, schema=schema)


def _book_rows(table: pa.Table) -> BookRows:
    values = (np.ascontiguousarray(table[name].to_numpy(), dtype=np.float64) for name in _BOOK_FLOATS)
    return BookRows(table["ts"].to_numpy(), *values)


def _trade_rows(table: pa.Table) -> TradeRows:
    """Return the valid trades; the others are no events at all."""
    trades = trade_chunk(table)
    valid = np.isfinite(trades.price) & np.isfinite(trades.amount) & (trades.price > 0) & (trades.amount > 0)
    return TradeRows(trades.ts[valid], trades.price[valid], trades.amount[valid], trades.side[valid])
