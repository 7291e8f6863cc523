"""The feature engine: one fold over chunks of book rows and trades, of any size, for batch and live alike.

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

from daedalus.etl.features import stream
from daedalus.etl.features.base import Family, Field, Outputs, Plan
from daedalus.etl.features.chunks import NO_TRADES, BookChunk, TradeChunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.registry import families
from daedalus.etl.features.selection import selected, with_needs
from daedalus.etl.features.state import State, new_arrays, state_from_bytes, state_to_bytes
from daedalus.shared.errors import SchemaError, StateError
from daedalus.shared.schemas import Column

if TYPE_CHECKING:
    import pyarrow as pa

#: Version of what is common to all families (order, resets, visibility of trades).
STREAM_VERSION = 1


class FeatureSet:
    """The features of one configuration. Holds no state of a market: one set serves many.

    Parameters
    ----------
    config
        What to compute, and which columns to show: `feature_set`, `include`, `exclude`.
    only
        Names of families to compute, with those that they need; None: all that have a column to show.

    Attributes
    ----------
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

    def __init__(self, config: FeatureConfig, only: Collection[str] | None = None) -> None:
        self.config = config
        declared = families(config)
        shown = selected(declared, config)
        if only is None:
            only = [family.name for family in declared if any(column.name in shown for column in family.columns)]
        self.families: tuple[Family, ...] = with_needs(declared, only)
        self._plan = Plan(self.families, shown)
        self.columns: tuple[Column, ...] = self._plan.columns
        self.layout: dict[str, tuple[Field, ...]] = {"stream": stream.FIELDS}
        self.layout.update({family.name: family.fields for family in self.families if family.fields})
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
        common = [STREAM_VERSION, self.config.max_levels, self.config.staleness_ns, [c.name for c in self.columns]]
        return hashlib.sha256(json.dumps([common, parts], sort_keys=True).encode()).hexdigest()

    def new_state(self) -> State:
        """Return the state of a market of which nothing has been seen."""
        return State(self.fingerprint, {fold: new_arrays(fields) for fold, fields in self.layout.items()})

    def apply(self, state: State, book: BookChunk, trades: TradeChunk | None = None) -> tuple[State, Outputs]:
        """Compute every column for the rows of a chunk.

        Parameters
        ----------
        state
            Of the same market, as the previous chunk left it; it is updated in place, so it is used up. After an error
            it must not be used again.
        book
            The next rows, in arrival order; may be empty.
        trades
            The next trades, in arrival order: at least those received by the last row of `book`. Later ones wait.

        Returns
        -------
        tuple of State and Outputs
            One output row per book row, less those that repeat a sequence number (T2).

        Raises
        ------
        StateError
            If the state belongs to another feature set, or would exceed a bound.
        SchemaError
            If `book` has another number of levels than `max_levels`.
        """
        if state.fingerprint != self.fingerprint:
            raise StateError("the feature state belongs to another feature set: start afresh with new_state()")
        if book.bid_price.shape[1] != self.config.max_levels:
            raise SchemaError(f"the book has {book.bid_price.shape[1]} levels, max_levels is {self.config.max_levels}")
        frame = stream.advance(state.arrays["stream"], book, trades or NO_TRADES, self.config.staleness_ns)
        frame.outputs = Outputs(self._plan, frame.kept)
        for family in self.families:
            family.run(frame, state.arrays.get(family.name, {}), frame.outputs.block(family.name))
        return state, frame.outputs

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
