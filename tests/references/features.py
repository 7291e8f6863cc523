"""Every feature of a small market by the naive references, and how outputs are compared with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa

from daedalus.etl.features.config import FeatureConfig
from tests.references import (
    calibrated_features,
    deal_features,
    fading_features,
    grid_features,
    liquidity_features,
    recovery,
    stateful_features,
    static_features,
    toxicity_features,
    window_features,
)
from tests.references.markets import Deal, Row
from tests.references.static_features import Values

#: Differences of numbers of order 1 that may be 0: what rounding leaves of them is no error.
NEAR_ZERO = (
    "book_convexity",
    "imbalance_",
    "pressure",
    "slope_asym",
    "cog_",
    "gini_",
    "book_slope_reg_r2",
    "hurst",
    "ret_autocorr",
    "depth_phi",
    "spread_phi",
    "rskew",
    "depth_decay",
    "efficiency",
    "ofi_z",
    "spread_z",
    "burstiness",
    "vwap_dev",
    "ofi_integrated",
    "lob_",
    "realised_spread",
    "price_impact",
    "side_autocorr",
    "bvc_imbalance",
)


def reference(rows: list[Row], deals: list[Deal], config: FeatureConfig) -> list[Values]:
    """Return all columns of all kept rows; a column that a row lacks is null."""
    kept = static_features.kept_rows(rows, round(config.max_state_staleness_seconds * 1e9))
    static = [static_features.static(row, config) for row, _, _ in kept]
    per_row = stateful_features.per_row(kept, static, config)
    trades = deal_features.annotated(kept, static, deals, config)
    parts = [
        static_features.identity(kept, config),
        static,
        per_row,
        stateful_features.rolling(kept, static, per_row, config),
        window_features.windows(kept, static, per_row, config),
        grid_features.on_grid(kept, static, config),
        recovery.recoveries(kept, per_row, config),
        deal_features.flows(kept, static, trades, config),
        fading_features.fading(kept, per_row, trades, config),
        deal_features.impacts(kept, static, per_row, deals, trades, config),
        liquidity_features.liquidity(kept, static, per_row, trades, config),
        window_features.flow_against_price(kept, per_row, config),
        calibrated_features.integrated(kept, per_row, config),
        calibrated_features.microprices(kept, config),
        calibrated_features.books(kept, config),
        toxicity_features.toxicity(kept, trades, config),
    ]
    columns = [{key: value for part in parts for key, value in part[i].items()} for i in range(len(kept))]
    more = calibrated_features.normalised(kept, columns, config)
    return [{**columns[i], **more[i]} for i in range(len(kept))]


def assert_matches(batch: pa.RecordBatch, expected: Sequence[Values]) -> None:
    """Compare to rtol 1e-9 and atol 1e-12 times the column's scale (N5); nulls must agree exactly."""
    assert batch.num_rows == len(expected)
    for name in batch.schema.names:
        got = batch.column(name).to_pylist()
        want = [values.get(name) for values in expected]
        scale = max([abs(x) for x in want if x is not None], default=1.0)
        scale = max(scale, 1.0) if name.startswith(NEAR_ZERO) else scale
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            # ln phi of a phi near 1 loses what phi lacks of 1: the longer the half-life, the more.
            rel = max(1e-6, 1e-14 * abs(b or 0.0)) if "half_life" in name else 1e-9
            # A t value of 1e12 is that of a line through all points: its error is what rounding leaves.
            rel = max(rel, 1e-18 * abs(b or 0.0)) if name.endswith("lambda_t") else rel
            same = a == b or (
                a is not None and b is not None and math.isclose(a, b, rel_tol=rel, abs_tol=1e-12 * max(scale, 1e-300))
            )
            assert same, f"{name} row {i}: got {a!r}, the reference says {b!r}"
