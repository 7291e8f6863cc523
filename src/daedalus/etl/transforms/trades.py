"""Bronze trades to silver: the feature engine over the trades of one market, with the books beside them."""

from collections.abc import Iterator

import pyarrow as pa

from daedalus.etl.features.chunks import trade_chunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.transforms.base import Fold, Input, Layer, Market, Output, Rows, Streams
from daedalus.etl.transforms.beside import Trailing, touches
from daedalus.etl.transforms.fold import EngineFold
from daedalus.etl.transforms.silver import bronze_columns, bronze_schema, silver_output, silver_rows

VERSION = 1
"""Version of the silver schema beyond the features, which have their own fingerprint."""
CHANNEL = "trades"

_CARRIED = ("trade_id", "price", "amount")
_BOOKS = bronze_schema("orderbook", "collected_at", "timestamp", "nonce", "bids", "asks")


class TradesFeatureTransform:
    """One silver row for each trade, in the partition of the trade.

    A trade sees the trades up to itself and the last book that is strictly before it and had been received (T5). One
    without a positive price and size has a row of nulls and changes no other row.

    Parameters
    ----------
    config
        Parameters of the features.
    """

    name = "trade features"
    layer: Layer = "silver"
    channel = CHANNEL
    margin = 0
    inputs: tuple[Input, ...] = (
        Input(
            CHANNEL,
            "bronze",
            CHANNEL,
            bronze_schema(CHANNEL, "collected_at", "trade_id", "timestamp", "side", "price", "amount"),
            leads=True,
        ),
        Input("orderbook", "bronze", "orderbook", _BOOKS),
    )

    def __init__(self, config: FeatureConfig) -> None:
        self.features = FeatureSet(config, table="trades")
        self.fingerprint = self.features.fingerprint
        carried = bronze_columns(CHANNEL, *_CARRIED)
        self.outputs: tuple[Output, ...] = (silver_output(self.features, self.name, VERSION, *carried),)

    def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
        """Fold the streams of a market; see `base.Transform`."""
        return self.begin(market).run(streams)

    def begin(self, market: Market, state: bytes | None = None) -> Fold:
        """Return the fold of a market; see `base.StatefulTransform`."""
        return _TradesFold(self.features, self.outputs[0], market, state)


class _TradesFold(EngineFold):
    def __init__(self, features: FeatureSet, output: Output, market: Market, data: bytes | None) -> None:
        super().__init__(features, data)
        self._output, self._market = output, market

    def run(self, streams: Streams) -> Iterator[Rows]:
        books = Trailing(streams["orderbook"], _BOOKS)
        for table in streams[CHANNEL]:
            received = table["collected_at"].combine_chunks()
            before = touches(books.pieces(received[-1].as_py()))
            self.state, outputs = self.features.apply(self.state, before, trade_chunk(table))
            features = self.features.to_arrow(outputs)
            carried: dict[str, pa.Array] = {name: table[name].combine_chunks() for name in _CARRIED}
            carried["collected_at"] = received
            yield self._output, silver_rows(self._output, self._market, features, carried)
        self.state, _ = self.features.apply(self.state, touches(books.pieces(self.END)))
