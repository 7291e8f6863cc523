"""Features as causal folds, one file a family.

Names are loaded on first use: importing this package costs nothing and compiles nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daedalus.etl.features.chunks import BookChunk, TradeChunk, book_chunk, gap_moments, gap_resets, trade_chunk
    from daedalus.etl.features.config import FeatureConfig
    from daedalus.etl.features.engine import FeatureSet
    from daedalus.etl.features.live import FeatureEngine
    from daedalus.etl.features.orderbook import extract_structural_features
    from daedalus.etl.features.state import State
    from daedalus.etl.features.stateful import StatefulFeatureProcessor, compute_rolling_features
    from daedalus.etl.features.tickers import TickerChunk, ticker_chunk

__all__ = [
    "BookChunk",
    "FeatureConfig",
    "FeatureEngine",
    "FeatureSet",
    "State",
    "StatefulFeatureProcessor",
    "TickerChunk",
    "TradeChunk",
    "book_chunk",
    "compute_rolling_features",
    "extract_structural_features",
    "gap_moments",
    "gap_resets",
    "ticker_chunk",
    "trade_chunk",
]

_HOME = {
    "BookChunk": "chunks",
    "FeatureConfig": "config",
    "FeatureEngine": "live",
    "FeatureSet": "engine",
    "State": "state",
    "StatefulFeatureProcessor": "stateful",
    "TickerChunk": "tickers",
    "TradeChunk": "chunks",
    "book_chunk": "chunks",
    "compute_rolling_features": "stateful",
    "extract_structural_features": "orderbook",
    "gap_moments": "chunks",
    "gap_resets": "chunks",
    "ticker_chunk": "tickers",
    "trade_chunk": "chunks",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
