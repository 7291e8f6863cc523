"""Static features of the order book: the public face."""

import polars as pl

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.tables import features_of

#: Families that need nothing but the current row, after identity.
FAMILIES = ("identity", "levels", "touch", "depth", "cost", "shape")


def extract_structural_features(df: pl.DataFrame, config: FeatureConfig | None = None) -> pl.DataFrame:
    """Compute identity, prices and sizes, touch, depth, bands and imbalances of every book row.

    Parameters
    ----------
    df
        Bronze `orderbook` rows in arrival order: `bids` and `asks` (list of struct price, size), `timestamp` or
        `collected_at`; `nonce`, `exchange` and `symbol` where known. Markets never mix.
    config
        None: the defaults.

    Returns
    -------
    polars.DataFrame
        `exchange` and `symbol` where given, then the columns of the feature catalogue, sections 1-3. One row per row of
        `df`, in its order, less those that repeat the sequence number before them (T2). Undefined is null.

    Raises
    ------
    SchemaError
        If a column is missing or of another type.

    Examples
    --------
    >>> import datetime as dt
    >>> levels = {"bids": [[{"price": 99.0, "size": 2.0}]], "asks": [[{"price": 101.0, "size": 6.0}]]}
    >>> df = pl.DataFrame({"timestamp": [dt.datetime(2025, 6, 19, tzinfo=dt.UTC)], **levels})
    >>> extract_structural_features(df).select("mid", "spread_bps", "microprice").row(0)
    (100.0, 200.0, 99.5)
    """
    return features_of(df, config or FeatureConfig(), FAMILIES)
