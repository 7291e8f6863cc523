"""Features that remember: the public face of order flow, returns and everything over windows."""

import polars as pl

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.orderbook import FAMILIES
from daedalus.etl.features.registry import families
from daedalus.etl.features.tables import features_of

_STATIC = tuple(name for name in FAMILIES if name != "identity")


def compute_rolling_features(
    df: pl.DataFrame, config: FeatureConfig | None = None, trades: pl.DataFrame | None = None
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
    return features_of(df, config, names, trades)
