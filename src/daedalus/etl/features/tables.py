"""Bronze rows as a Polars frame in, features as a Polars frame out: what the public functions share."""

from collections.abc import Collection
from functools import lru_cache

import polars as pl

from daedalus.etl.features.chunks import book_chunk, trade_chunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.registry import families, shown
from daedalus.etl.features.tickers import ticker_chunk

_ROW = "__row"
_MARKET = ("exchange", "symbol")


@lru_cache(maxsize=32)
def _feature_set(config: FeatureConfig, only: tuple[str, ...]) -> FeatureSet:
    declared = families(config)
    showing = shown(config)
    mine = [family for family in declared if family.name in only]
    return FeatureSet(config, [f.name for f in mine if any(column.name in showing for column in f.columns)])


def features_of(
    df: pl.DataFrame,
    config: FeatureConfig,
    only: Collection[str],
    trades: pl.DataFrame | None = None,
    tickers: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Compute families over bronze rows, each market by itself, in the order of the rows.

    Parameters
    ----------
    df
        Bronze `orderbook` rows in arrival order. Markets are told apart by `exchange` and `symbol`, where present.
    only
        Families to return; what they need is computed, but not returned. Those switched off are left out.
    trades, tickers
        Bronze `trades` and `ticker` rows of the same markets.

    Returns
    -------
    polars.DataFrame
        `exchange` and `symbol` where `df` has them, then the columns of the families.
    """
    features = _feature_set(config, tuple(only))
    own = {c.name for family in features.families if family.name in only for c in family.columns}
    shown = [c.name for c in features.columns if c.name in own]
    market = [name for name in _MARKET if name in df.columns]
    parts = []
    for group in _by_market(df.with_row_index(_ROW), market):
        beside = [_of_market(frame, group, market) for frame in (trades, tickers)]
        parts.append(_one_market(features, group, beside, market, shown))
    return pl.concat(parts).sort(_ROW).drop(_ROW)


def _by_market(df: pl.DataFrame, market: list[str]) -> list[pl.DataFrame]:
    return df.partition_by(market, maintain_order=True) if market and df.height else [df]


def _of_market(df: pl.DataFrame | None, group: pl.DataFrame, market: list[str]) -> pl.DataFrame | None:
    return df if df is None or not market else df.join(group.select(market).head(1), on=market, how="semi")


def _one_market(
    features: FeatureSet, df: pl.DataFrame, beside: list[pl.DataFrame | None], market: list[str], shown: list[str]
) -> pl.DataFrame:
    chunk = book_chunk(df.drop(_ROW).to_arrow(), features.config.max_levels)
    trades, tickers = beside
    run = None if trades is None else trade_chunk(trades.to_arrow())
    quotes = None if tickers is None else ticker_chunk(tickers.to_arrow())
    outputs = features.apply(features.new_state(), chunk, run, quotes)[1]
    table = pl.DataFrame(features.to_arrow(outputs)).select(shown)
    return pl.concat([df.select(_ROW, *market)[outputs.kept], table], how="horizontal")
