"""Bronze order books to silver: the feature engine over the snapshots, trades and gaps of one market."""

from collections.abc import Iterator

import pyarrow as pa

from daedalus.etl.features.chunks import book_chunk, trade_chunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.tickers import ticker_chunk
from daedalus.etl.transforms.base import Fold, Input, Layer, Market, Output, Rows, Streams
from daedalus.etl.transforms.beside import GapResets, Trailing
from daedalus.etl.transforms.fold import EngineFold
from daedalus.etl.transforms.silver import bronze_schema, silver_output, silver_rows
from daedalus.etl.transforms.ticker import TICKERS
from daedalus.shared.errors import ConfigError

VERSION = 1
"""Version of the silver schema beyond the features, which have their own fingerprint."""
CHANNEL = "orderbook"

_TRADES = bronze_schema("trades", "collected_at", "trade_id", "timestamp", "side", "price", "amount")


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
            bronze_schema(CHANNEL, "collected_at", "timestamp", "nonce", "bids", "asks"),
            leads=True,
        ),
        Input("trades", "bronze", "trades", _TRADES),
        Input(
            "gaps",
            "bronze",
            "gaps",
            bronze_schema("gaps", "collected_at", *("channel", "started_at", "ended_at")),
            with_all=True,
        ),
    )

    def __init__(self, config: FeatureConfig) -> None:
        self._config = config
        self.features = FeatureSet(config)
        self.fingerprint = self.features.fingerprint
        self.outputs: tuple[Output, ...] = (silver_output(self.features, self.name, VERSION),)
        if self.features.sees_tickers:
            self.inputs = (*self.inputs, Input("ticker", "bronze", "ticker", TICKERS))

    def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
        """Fold the streams of a market; see `base.Transform`."""
        return self.begin(market).run(streams)

    def begin(self, market: Market, state: bytes | None = None) -> Fold:
        """Return the fold of a market; see `base.StatefulTransform`.

        Raises
        ------
        ConfigError
            If the micro-price is calibrated on another market.
        StateError
            If the state is not one of this transform.
        """
        self._check_calibration(market)
        return _OrderbookFold(self.features, self.outputs[0], market, state)

    def _check_calibration(self, market: Market) -> None:
        table = self._config.microprice_calibration
        if table is not None and (table.exchange, table.symbol) not in (("", ""), (market.exchange, market.symbol)):
            raise ConfigError(
                f"processor_options.microprice_calibration is of {table.exchange} {table.symbol}: it cannot serve "
                f"{market}; select the one market, or calibrate on this one"
            )


class _OrderbookFold(EngineFold):
    """Carries the engine's state, the receive clock of the last snapshot and the gaps that none has answered yet."""

    def __init__(self, features: FeatureSet, output: Output, market: Market, data: bytes | None) -> None:
        super().__init__(features, data)
        self._output, self._market = output, market
        received = self.carried.get("received", [])
        self._resets = GapResets(CHANNEL, received[0] if received else None, self.carried.get("pending", []))

    def run(self, streams: Streams) -> Iterator[Rows]:
        self._resets.learn(streams["gaps"])
        trades, tickers = Trailing(streams["trades"], _TRADES), Trailing(streams.get("ticker", iter(())), TICKERS)
        for table in _pieces(streams[CHANNEL], self.features.chunk_rows):
            received = table["collected_at"].to_numpy()
            book = book_chunk(table, self.features.config.max_levels, self._resets.flags(received))
            last = int(received[-1])
            passed = (trade_chunk(trades.until(last)), ticker_chunk(tickers.until(last)))
            self.state, outputs = self.features.apply(self.state, book, *passed)
            # A snapshot that repeats the one before it has no row (T2).
            carried = {"collected_at": pa.array(received[outputs.kept])}
            features = self.features.to_arrow(outputs)
            yield self._output, silver_rows(self._output, self._market, features, carried)
        rest = (trade_chunk(trades.until(self.END)), ticker_chunk(tickers.until(self.END)))
        self.state, _ = self.features.apply(self.state, None, *rest)

    def to_bytes(self) -> bytes:
        previous = self._resets.previous
        self.carried = {"received": [] if previous is None else [previous], "pending": self._resets.pending}
        return super().to_bytes()


def _pieces(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut tables into pieces of at most so many rows."""
    for table in tables:
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)
