"""Features that remember: the public face of order flow, returns and everything over windows, and record by record."""

import struct
from collections.abc import Mapping

import numpy as np
import polars as pl

from daedalus.etl.features.base import NULL_INT, NULL_INT8, Outputs
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.live import Passed, apply
from daedalus.etl.features.orderbook import FAMILIES
from daedalus.etl.features.registry import TABLES, Table, families
from daedalus.etl.features.state import State
from daedalus.etl.features.tables import features_of
from daedalus.shared.errors import StateError
from daedalus.shared.events import BookSnapshot, Ticker, Trade

Value = float | int | None

_STATIC = tuple(name for name in FAMILIES if name != "identity")


def compute_rolling_features(
    df: pl.DataFrame,
    config: FeatureConfig | None = None,
    trades: pl.DataFrame | None = None,
    tickers: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Compute the features of every book row that depend on rows before it.

    Parameters
    ----------
    df
        Bronze `orderbook` rows in arrival order, from the start of a stream, as for `extract_structural_features`.
    config
        None: the defaults.
    trades
        Bronze `trades` rows of the same markets in arrival order; without them Kyle's lambda and VPIN are null.
    tickers
        Bronze `ticker` rows likewise, for the columns of the last ticker beside a book (set `full`).

    Returns
    -------
    polars.DataFrame
        `exchange` and `symbol` where given, then identity and the stateful columns of the feature catalogue, sections
        4, 5 and 8. One row per row of `df`, in its order, less those that repeat the sequence number before them (T2).

    Raises
    ------
    SchemaError
        If a column is missing or of another type.
    """
    config = config or FeatureConfig()
    names = [family.name for family in families(config) if family.name not in _STATIC]
    return features_of(df, config, names, trades, tickers)


class _Face:
    """One table of one market, record by record; what gives no row waits until something does."""

    def __init__(self, config: FeatureConfig, table: Table) -> None:
        self.features = FeatureSet(config, table=table)
        self.state = self.features.new_state()
        self._waiting = Passed()

    def take(self, event: BookSnapshot | Trade | Ticker, is_reset: bool = False) -> None:
        """Take an event that is no row of this table."""
        self._waiting.take(event, is_reset)
        if len(self._waiting) >= _WAITING_MAX:
            self.flush()

    def row(self, event: BookSnapshot | Trade | Ticker, is_reset: bool = False) -> dict[str, Value] | None:
        """Take an event that is one, and return it; None if it was dropped."""
        self._waiting.take(event, is_reset)
        outputs = self.flush()
        return _row(outputs) if outputs.rows else None

    def restore(self, state: State) -> None:
        """Continue from a state; what waited is forgotten."""
        self.state, self._waiting = state, Passed()

    def flush(self) -> Outputs:
        """Bring the state up to the last event."""
        passed, self._waiting = self._waiting, Passed()
        self.state, outputs = apply(self.features, self.state, passed)
        return outputs


#: Events that a table may hold back before it takes them into its state.
_WAITING_MAX = 1024


class StatefulFeatureProcessor:
    """One market, record by record: a book, a trade and a ticker each give a row of their own table.

    Parameters
    ----------
    config
        What to compute.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self._faces = {table: _Face(config, table) for table in TABLES}

    @property
    def max_state_staleness_seconds(self) -> float:
        """A longer silence makes the next row a first row (S1)."""
        return self._faces["orderbook"].features.config.max_state_staleness_seconds

    def process_orderbook(self, book: BookSnapshot, is_reset: bool = False) -> Mapping[str, Value] | None:
        """Return the features of a book by name, undefined ones None; None for a repeat of the row before (T2)."""
        return self._process("orderbook", book, is_reset)

    def process_trade(self, trade: Trade) -> Mapping[str, Value]:
        """Return the features of a trade by name; all but its time are None if price or size are not positive.

        The next book that may see the trade does (T5).
        """
        return self._process("trades", trade) or {}

    def process_ticker(self, ticker: Ticker) -> Mapping[str, Value]:
        """Return the features of a ticker by name."""
        return self._process("ticker", ticker) or {}

    def _process(
        self, table: Table, event: BookSnapshot | Trade | Ticker, is_reset: bool = False
    ) -> dict[str, Value] | None:
        for name, face in self._faces.items():
            if name != table:
                face.take(event, is_reset)
        return self._faces[table].row(event, is_reset)

    def get_state(self) -> bytes:
        """Return all that a restart needs."""
        parts = []
        for face in self._faces.values():
            face.flush()
            parts.append(face.features.state_to_bytes(face.state))
        return _LENGTHS.pack(*(len(part) for part in parts)) + b"".join(parts)

    def set_state(self, data: bytes) -> None:
        """Continue from what `get_state` returned; raises StateError for a state of other features or a damaged one."""
        lengths = _LENGTHS.unpack_from(data) if len(data) >= _LENGTHS.size else ()
        if _LENGTHS.size + sum(lengths) != len(data):
            raise StateError("these bytes are not the state of a processor, or only the beginning of one: start afresh")
        at, states = _LENGTHS.size, []
        for face, length in zip(self._faces.values(), lengths, strict=True):
            states.append(face.features.state_from_bytes(data[at : at + length]))
            at += length
        for face, state in zip(self._faces.values(), states, strict=True):
            face.restore(state)


_LENGTHS = struct.Struct(f"<{len(TABLES)}Q")


def _row(outputs: Outputs) -> dict[str, Value]:
    row: dict[str, Value] = {}
    for name in outputs:
        value = outputs[name][0].item()
        missing = value in (NULL_INT, NULL_INT8) if isinstance(value, int) else not np.isfinite(value)
        row[name] = None if missing else value
    return row
