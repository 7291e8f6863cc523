"""Every feature of a small market by the naive references, and how outputs are compared with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa

from daedalus.etl.features.config import FeatureConfig
from tests.references import stateful_features, static_features, trade_features
from tests.references.markets import Deal, Row
from tests.references.static_features import Values


def reference(rows: list[Row], deals: list[Deal], config: FeatureConfig) -> list[Values]:
    """Return all columns of all kept rows; a column that a row lacks is null."""
    kept = static_features.kept_rows(rows, round(config.max_state_staleness_seconds * 1e9))
    static = [static_features.static(row, config) for row, _, _ in kept]
    per_row = stateful_features.per_row(kept, static, config)
    parts = [
        static_features.identity(kept, config),
        static,
        per_row,
        stateful_features.rolling(kept, static, per_row, config),
        trade_features.kyle(kept, static, deals, config),
        trade_features.vpin(kept, deals, config),
    ]
    return [{key: value for part in parts for key, value in part[i].items()} for i in range(len(kept))]


def assert_matches(batch: pa.RecordBatch, expected: Sequence[Values]) -> None:
    """Compare to rtol 1e-9 and atol 1e-12 times the column's scale (N5); nulls must agree exactly."""
    assert batch.num_rows == len(expected)
    for name in batch.schema.names:
        got = batch.column(name).to_pylist()
        want = [values.get(name) for values in expected]
        scale = max([abs(x) for x in want if x is not None], default=1.0)
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            same = a == b or (
                a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12 * max(scale, 1e-300))
            )
            assert same, f"{name} row {i}: got {a!r}, the reference says {b!r}"
