"""Short ways to compute features of a few hand-written rows."""

from __future__ import annotations

import pyarrow as pa

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.registry import families
from tests.references.markets import Deal, Row, book, trades

Column = list[float | int | None]


def compute(rows: list[Row], deals: list[Deal] | None = None, **options: object) -> pa.RecordBatch:
    """Return the features of rows, and of deals, as Arrow."""
    config = FeatureConfig(**{"feature_set": "full", **options})  # type: ignore[arg-type]
    features = FeatureSet(config)
    outputs = features.apply(features.new_state(), book(rows, config.max_levels), trades(deals or []))[1]
    return features.to_arrow(outputs)


def column(rows: list[Row], name: str, deals: list[Deal] | None = None, **options: object) -> Column:
    """Return one column; only its family, and what that needs, is computed."""
    config = FeatureConfig(**{"feature_set": "full", **options})  # type: ignore[arg-type]
    owner = next(f.name for f in families(config) if name in [c.name for c in f.columns])
    features = FeatureSet(config, [owner])
    outputs = features.apply(features.new_state(), book(rows, config.max_levels), trades(deals or []))[1]
    values: Column = features.to_arrow(outputs).column(name).to_pylist()
    return values


def last(rows: list[Row], name: str, **options: object) -> float | int | None:
    """Return the last value of a column."""
    return column(rows, name, **options)[-1]
