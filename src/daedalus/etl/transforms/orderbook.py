"""Bronze order books to silver: the feature engine over the snapshots, trades and gaps of one market."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from daedalus.etl.features.chunks import book_chunk, trade_chunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.transforms.base import Input, Layer, Market, Output, Rows, Streams, constant
from daedalus.etl.transforms.beside import GapResets, Trailing
from daedalus.shared.errors import ConfigError
from daedalus.shared.schemas import Column, arrow_schema

VERSION = 1
"""Version of the silver schema beyond the features, which have their own fingerprint."""
CHANNEL = "orderbook"
COMPUTE_ROWS = 8192
"""Rows computed at once: the outputs of more would neither stay in the cache nor, in large sets, in little memory."""

_EXCHANGE = Column("exchange", "string", "", "exchange, as in the path")
_SYMBOL = Column("symbol", "string", "", "symbol, as in the path")
_RECEIVED = Column("collected_at", "int64", "ns", "receive clock of the snapshot; its hour is the partition")


def _bronze(channel: str, *columns: str) -> pa.Schema:
    return pa.schema([arrow_schema(channel).field(name) for name in columns])


_TRADES = _bronze("trades", "collected_at", "trade_id", "timestamp", "side", "price", "amount")


class OrderbookFeatureTransform:
    """One silver row for each order book snapshot, in the partition of the snapshot.

    Trades received up to the last snapshot of a chunk are given to the engine with it, and entries of the gap ledger
    mark the first snapshot after them as a reset. A missing hour is no reset of its own: the engine notices the pause
    when it is longer than `max_state_staleness_seconds` (S1).

    Parameters
    ----------
    config
        Parameters of the features.
    """

    name = "orderbook features"
    layer: Layer = "silver"
    channel = CHANNEL
    margin = 0
    inputs: tuple[Input, ...] = (
        Input(
            CHANNEL,
            "bronze",
            CHANNEL,
            _bronze(CHANNEL, "collected_at", "timestamp", "nonce", "bids", "asks"),
            leads=True,
        ),
        Input("trades", "bronze", "trades", _TRADES),
        Input(
            "gaps",
            "bronze",
            "gaps",
            _bronze("gaps", "collected_at", *("channel", "started_at", "ended_at")),
            with_all=True,
        ),
    )

    def __init__(self, config: FeatureConfig) -> None:
        self._config = config
        self._features = FeatureSet(config)
        own = {column.name: column for column in self._features.columns}
        identity = (own.pop("ts"), _EXCHANGE, _SYMBOL, own.pop("seq"), _RECEIVED)
        metadata = (
            ("transform", self.name),
            ("schema_version", str(VERSION)),
            ("feature_set", self._features.fingerprint),
        )
        self.outputs: tuple[Output, ...] = (
            Output("", "features.parquet", (*identity, *own.values()), "collected_at", metadata),
        )

    def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
        """Fold the streams of a market; see `base.Transform`.

        Raises
        ------
        ConfigError
            If the micro-price is calibrated on another market.
        """
        self._check_calibration(market)
        resets = GapResets(streams["gaps"], CHANNEL)
        trades = Trailing(streams["trades"], _TRADES)
        state = self._features.new_state()
        for table in _pieces(streams[CHANNEL]):
            received = table["collected_at"].to_numpy()
            book = book_chunk(table, self._config.max_levels, resets.flags(received))
            passed = trade_chunk(trades.until(int(received[-1])))
            state, outputs = self._features.apply(state, book, passed)
            # A snapshot that repeats the one before it has no row (T2).
            yield self.outputs[0], self._silver(market, self._features.to_arrow(outputs), received[outputs.kept])

    def _check_calibration(self, market: Market) -> None:
        table = self._config.microprice_calibration
        if table is not None and (table.exchange, table.symbol) not in (("", ""), (market.exchange, market.symbol)):
            raise ConfigError(
                f"processor_options.microprice_calibration is of {table.exchange} {table.symbol}: it cannot serve "
                f"{market}; select the one market, or calibrate on this one"
            )

    def _silver(self, market: Market, features: pa.RecordBatch, received: npt.NDArray[np.int64]) -> pa.RecordBatch:
        """Put the identity columns first."""
        rows = features.num_rows
        given = {
            "exchange": constant(market.exchange, pa.string(), rows),
            "symbol": constant(market.symbol, pa.string(), rows),
            "collected_at": pa.array(received),
        }
        schema = self.outputs[0].schema
        columns = [given[name] if name in given else features.column(name) for name in schema.names]
        return pa.record_batch(columns, schema=schema)


def _pieces(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Cut tables into pieces of at most `COMPUTE_ROWS`."""
    for table in tables:
        for start in range(0, table.num_rows, COMPUTE_ROWS):
            yield table.slice(start, COMPUTE_ROWS)
