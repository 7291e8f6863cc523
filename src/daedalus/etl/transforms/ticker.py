"""Bronze tickers to silver: the feature engine over the tickers of one market, with books and trades beside them."""

from collections.abc import Iterator

from daedalus.etl.features.chunks import trade_chunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.tickers import COLUMNS, ticker_chunk
from daedalus.etl.transforms.base import Fold, Input, Layer, Market, Output, Rows, Streams
from daedalus.etl.transforms.beside import Trailing, touches
from daedalus.etl.transforms.fold import EngineFold
from daedalus.etl.transforms.silver import bronze_schema, silver_output, silver_rows

VERSION = 1
"""Version of the silver schema beyond the features, which have their own fingerprint."""
CHANNEL = "ticker"

#: What the engine looks at; orderbook features read the same, where the set has columns of the ticker.
TICKERS = bronze_schema(CHANNEL, "collected_at", "exchange", "timestamp", *COLUMNS, "info_json")
_BOOKS = bronze_schema("orderbook", "collected_at", "timestamp", "nonce", "bids", "asks")
_TRADES = bronze_schema("trades", "collected_at", "timestamp", "side", "price", "amount")


class TickerFeatureTransform:
    """One silver row for each ticker, in the partition of the ticker.

    A ticker sees the trades up to its time and the last book strictly before it, as far as they had been received (T5).
    What the venue says of a derivative is read from its own fields (`features.derivatives`); it is null for spot.

    Parameters
    ----------
    config
        Parameters of the features.
    """

    name = "ticker features"
    layer: Layer = "silver"
    channel = CHANNEL
    margin = 0
    inputs: tuple[Input, ...] = (
        Input(CHANNEL, "bronze", CHANNEL, TICKERS, leads=True),
        Input("orderbook", "bronze", "orderbook", _BOOKS),
        Input("trades", "bronze", "trades", _TRADES),
    )

    def __init__(self, config: FeatureConfig) -> None:
        self.features = FeatureSet(config, table="ticker")
        self.fingerprint = self.features.fingerprint
        self.outputs: tuple[Output, ...] = (silver_output(self.features, self.name, VERSION),)

    def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
        """Fold the streams of a market; see `base.Transform`."""
        return self.begin(market).run(streams)

    def begin(self, market: Market, state: bytes | None = None) -> Fold:
        """Return the fold of a market; see `base.StatefulTransform`."""
        return _TickerFold(self.features, self.outputs[0], market, state)


class _TickerFold(EngineFold):
    def __init__(self, features: FeatureSet, output: Output, market: Market, data: bytes | None) -> None:
        super().__init__(features, data)
        self._output, self._market = output, market

    def run(self, streams: Streams) -> Iterator[Rows]:
        books, trades = Trailing(streams["orderbook"], _BOOKS), Trailing(streams["trades"], _TRADES)
        for table in streams[CHANNEL]:
            received = table["collected_at"].combine_chunks()
            last = received[-1].as_py()
            passed = (touches(books.pieces(last)), trade_chunk(trades.until(last)))
            self.state, outputs = self.features.apply(self.state, *passed, ticker_chunk(table))
            features = self.features.to_arrow(outputs)
            yield self._output, silver_rows(self._output, self._market, features, {"collected_at": received})
        rest = (touches(books.pieces(self.END)), trade_chunk(trades.until(self.END)))
        self.state, _ = self.features.apply(self.state, *rest)
