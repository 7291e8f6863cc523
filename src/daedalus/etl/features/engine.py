"""The feature engine: one fold over chunks of books, trades and tickers, of any size, for batch and live alike.

There is a table of rows for each stream: of books (`orderbook`), of trades, of tickers. Each sees the other streams.

Examples
--------
>>> from daedalus.etl.features.config import FeatureConfig
>>> features = FeatureSet(FeatureConfig())
>>> state = features.new_state()

Then, for every chunk in order: ``state, outputs = features.apply(state, book, trades)``.
"""

import hashlib
import json
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from daedalus.etl.features import beside_books, policies, stream
from daedalus.etl.features.base import Family, Field, Frame, Outputs, Plan
from daedalus.etl.features.calls import Caller, directly
from daedalus.etl.features.chunks import NO_TRADES, BookChunk, TradeChunk, no_books
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.registry import Table, families, shown
from daedalus.etl.features.selection import with_needs
from daedalus.etl.features.state import State, new_arrays, state_from_bytes, state_to_bytes
from daedalus.etl.features.tickers import NO_TICKERS, TickerChunk
from daedalus.shared.errors import SchemaError, StateError
from daedalus.shared.schemas import Column

if TYPE_CHECKING:
    import pyarrow as pa

#: Outputs of one chunk take so much memory: what is larger the allocator fetches anew, zeroed, for every chunk.
CHUNK_BYTES = 24 << 20
CHUNK_ROWS_MAX = 8192
#: Version of what is common to all families (order, resets, visibility of trades).
STREAM_VERSION = 3
_STREAM_FIELDS: dict[Table, tuple[Field, ...]] = {
    "orderbook": stream.FIELDS,
    "trades": beside_books.TRADE_FIELDS,
    "ticker": beside_books.TICKER_FIELDS,
}


class FeatureSet:
    """The features of one configuration. Holds no state of a market: one set serves many.

    Parameters
    ----------
    config
        What to compute, and which columns to show: `feature_set`, `include`, `exclude`.
    only
        Names of families to compute, with those that they need; None: all that have a column to show.
    table
        Whose rows: "orderbook", "trades" or "ticker".

    Attributes
    ----------
    levels
        Levels a side that `apply` wants of books: `max_levels` in table `orderbook`, else 1.
    families
        In the order in which they run.
    columns
        Those to show, in order.
    fingerprint
        SHA-256 (hex) of the names, parameters, versions and state layouts: equal fingerprints, equal numbers.

    Raises
    ------
    ConfigError
        If `only` names a family that does not exist or is switched off.
    """

    def __init__(self, config: FeatureConfig, only: Collection[str] | None = None, table: Table = "orderbook") -> None:
        self.config, self.table = config, table
        self.levels = config.max_levels if table == "orderbook" else 1
        declared, showing = families(config, table), shown(config, table)
        if only is None:
            only = [family.name for family in declared if any(column.name in showing for column in family.columns)]
        self.families: tuple[Family, ...] = with_needs(declared, only)
        self._plan = Plan(self.families, showing)
        self.columns: tuple[Column, ...] = self._plan.columns
        self.layout: dict[str, tuple[Field, ...]] = {"stream": _STREAM_FIELDS[table]}
        self.layout.update({family.name: family.fields for family in self.families if family.fields})
        if not policies.is_plain(config):
            self.layout["policies"] = policies.FIELDS
        self.fingerprint = self._fingerprint()

    def _fingerprint(self) -> str:
        parts = [
            {
                "name": family.name,
                "version": family.version,
                "params": dict(family.params),
                "columns": [[column.name, column.dtype] for column in family.columns],
                "fields": [[f.name, str(f.dtype), f.shape, f.kind] for f in family.fields],
            }
            for family in self.families
        ]
        names = [column.name for column in self.columns]
        asked = [getattr(self.config, name) for name in policies.OPTIONS]
        common = [STREAM_VERSION, self.table, self.levels, self.config.staleness_ns, names, asked]
        return hashlib.sha256(json.dumps([common, parts], sort_keys=True).encode()).hexdigest()

    def new_state(self) -> State:
        """Return the state of a market of which nothing has been seen."""
        return State(self.fingerprint, {fold: new_arrays(fields) for fold, fields in self.layout.items()})

    def apply(
        self,
        state: State,
        book: BookChunk | None = None,
        trades: TradeChunk | None = None,
        tickers: TickerChunk | None = None,
    ) -> tuple[State, Outputs]:
        """Compute every column for the rows of a chunk.

        Parameters
        ----------
        state
            Of the same market, as the previous chunk left it; it is updated in place, so it is used up. After an error
            it must not be used again.
        book, trades, tickers
            What comes next of each stream, in arrival order; None: nothing. Of the streams beside that of the rows, at
            least what was received by its last row. Later ones wait.

        Returns
        -------
        tuple of State and Outputs
            One output row per row: per book less those that repeat a sequence number (T2), per trade, or per ticker. A
            trade without a positive price and size has a row of nulls.

        Raises
        ------
        StateError
            If the state belongs to another feature set, or would exceed a bound.
        SchemaError
            If `book` has another number of levels than `levels`.
        """
        if state.fingerprint != self.fingerprint:
            raise StateError("the feature state belongs to another feature set: start afresh with new_state()")
        book = book or no_books(self.levels)
        if book.bid_price.shape[1] != self.levels:
            raise SchemaError(f"the book has {book.bid_price.shape[1]} levels, this table takes {self.levels}")
        trades, tickers = trades or NO_TRADES, tickers or NO_TICKERS
        if not policies.is_plain(self.config):
            return state, policies.apply(self, state, book, trades, tickers)
        return state, self.fold(state, book, trades, tickers)[1]

    def fold(self, state: State, book: BookChunk, trades: TradeChunk, tickers: TickerChunk) -> tuple[Frame, Outputs]:
        """Do what `apply` does, the options of `policies` aside; return also what the families saw."""
        frame = self.begin(state, book, trades, tickers)
        for number in range(len(self.families)):
            self.run(state, frame, number)
        if not policies.is_plain(self.config):
            policies.blank_partial_windows(frame, state, self)
        if self.table == "trades" and frame.rows < len(trades):
            return frame, frame.outputs.spread(len(trades), frame.all_ts, frame.all_late)
        return frame, frame.outputs

    @property
    def sees_tickers(self) -> bool:
        """Whether tickers beside the rows change a column."""
        return self.table == "ticker" or any(family.name == "ticker_quote" for family in self.families)

    @property
    def chunk_rows(self) -> int:
        """How many rows are best handed to `apply` at a time; the numbers do not depend on it."""
        return max(1, min(CHUNK_ROWS_MAX, CHUNK_BYTES // (8 * self._plan.counts["float64"] + 1)))

    @cached_property
    def replays(self) -> bool:
        """Whether a row by itself can be computed by `one_row.OneRow`."""
        plain = policies.is_plain(self.config)
        return plain and self.table == "orderbook" and all(family.replays for family in self.families)

    def begin(
        self, state: State, book: BookChunk, trades: TradeChunk, tickers: TickerChunk, call: Caller = directly
    ) -> Frame:
        """Take a chunk into the stream's state; the families come next, in order (`run`)."""
        given = (state.arrays["stream"], book, trades, tickers, self.config.staleness_ns)
        if self.table == "orderbook":
            frame = stream.advance(*given, call)
        elif self.table == "trades":
            frame = beside_books.advance_trades(*given)
        else:
            frame = beside_books.advance_tickers(*given)
        frame.outputs = Outputs(self._plan, frame.kept)
        return frame

    def run(self, state: State, frame: Frame, number: int) -> None:
        """Compute the columns of one family."""
        family = self.families[number]
        family.run(frame, state.arrays.get(family.name, {}), frame.outputs.block(family.name))

    @cached_property
    def arrow_schema(self) -> "pa.Schema":
        """The Arrow schema of the outputs; unit and meaning of each column are in its field's metadata."""
        from daedalus.etl.features.arrow import schema_of

        return schema_of(self.columns, self.fingerprint)

    def to_arrow(self, outputs: Outputs) -> "pa.RecordBatch":
        """Return a chunk's outputs as Arrow, null where they are NaN, infinite or a sentinel. The only such place."""
        from daedalus.etl.features.arrow import record_batch

        return record_batch(outputs, self.arrow_schema)

    def state_to_bytes(self, state: State) -> bytes:
        """Serialise a state; the bytes depend on the rows seen, not on how they were chunked."""
        return state_to_bytes(state, self.layout)

    def state_from_bytes(self, data: bytes) -> State:
        """Restore a state, or raise StateError with the reason."""
        return state_from_bytes(data, self.fingerprint, self.layout)
