"""Tickers as the engine takes them: typed arrays, made from bronze rows or from events."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daedalus.etl.features.base import F64, I64, NULL_INT
from daedalus.etl.features.chunks import floats_of, times_of
from daedalus.etl.features.derivatives import Derivative, derivative
from daedalus.shared.errors import SchemaError
from daedalus.shared.events import Ticker

if TYPE_CHECKING:
    import pyarrow as pa

#: Bronze columns that the engine looks at, then what the venue says of a derivative: columns of `TickerChunk.values`.
COLUMNS = ("bid", "ask", "last", "high", "low", "base_volume", "quote_volume")
FIELDS = (*COLUMNS, *Derivative._fields[:-1])
PLACE = {name: k for k, name in enumerate(FIELDS)}


@dataclass(frozen=True, slots=True)
class TickerChunk:
    """Tickers of one market in arrival order: ts and collected_at as in `BookChunk`.

    Attributes
    ----------
    values
        float64[n, FIELDS], NaN for null.
    next_funding_ts
        int64[n], ns, `NULL_INT` for null.
    """

    ts: I64
    collected_at: I64
    values: F64
    next_funding_ts: I64

    def __len__(self) -> int:
        return len(self.ts)

    def rows(self, start: int, stop: int) -> "TickerChunk":
        """Return a part of the chunk, without copying."""
        part = slice(start, stop)
        return TickerChunk(*(getattr(self, name)[part] for name in self.__dataclass_fields__))


NO_TICKERS = TickerChunk(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, len(FIELDS))), np.empty(0, np.int64)
)


def ticker_chunk(table: "pa.Table") -> TickerChunk:
    """Turn bronze `ticker` rows of one market, in arrival order, into a chunk.

    Raises
    ------
    SchemaError
        If a column is missing or of another type. `exchange` and `info_json` may both be missing: then nothing is known
        of a derivative.
    """
    rows, names = table.num_rows, table.schema.names
    ts, collected_at = times_of(table)
    sent: Sequence[Derivative] = []
    if "info_json" in names:
        if "exchange" not in names:
            raise SchemaError("no column 'exchange' beside 'info_json': a venue's own fields are read by its name")
        pairs = zip(table["exchange"].to_pylist(), table["info_json"].to_pylist(), strict=True)
        sent = [derivative(exchange or "", text) for exchange, text in pairs]
    values = np.full((rows, len(FIELDS)), math.nan)
    for k, name in enumerate(COLUMNS):
        values[:, k] = floats_of(table, name)
    return _chunk(ts, collected_at, values, sent)


def tickers_of(tickers: Sequence[Ticker]) -> TickerChunk:
    """Return ticker events of one market, in arrival order, as a chunk."""
    received = np.array([ticker.collected_at for ticker in tickers], np.int64)
    times = [ticker.collected_at if ticker.timestamp is None else ticker.timestamp * 1000 for ticker in tickers]
    values = np.full((len(tickers), len(FIELDS)), math.nan)
    for row, ticker in enumerate(tickers):
        for k, name in enumerate(COLUMNS):
            value = getattr(ticker, name)
            values[row, k] = math.nan if value is None else value
    sent = [derivative(ticker.exchange, ticker.info_json) for ticker in tickers]
    return _chunk(np.array(times, np.int64), received, values, sent)


def _chunk(ts: I64, collected_at: I64, values: F64, sent: Sequence[Derivative]) -> TickerChunk:
    """Put what the venue says beside the columns; no infinity gets in."""
    following = np.full(len(ts), NULL_INT)
    if sent:
        values[:, len(COLUMNS) :] = [item[:-1] for item in sent]
        following = np.array([item.next_funding_ts for item in sent], np.int64)
    values[~np.isfinite(values)] = math.nan
    return TickerChunk(ts, collected_at, values, following)
