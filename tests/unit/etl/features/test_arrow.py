"""Bitmaps of columns with few, many and no nulls, at lengths around a word."""

from __future__ import annotations

import numpy as np
import pytest

from daedalus.etl.features.base import Outputs
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet


@pytest.mark.parametrize("rows", [1, 7, 63, 64, 65, 200])
def test_what_is_not_finite_and_sentinels_are_null(rows: int) -> None:
    rng = np.random.default_rng(rows)
    features = FeatureSet(FeatureConfig(max_levels=3, feature_set="full"), ["identity", "levels", "changes"])
    outputs = Outputs(features._plan, np.arange(rows))
    there = {}
    for k, name in enumerate(outputs):
        column = outputs[name]
        there[name] = rng.random(rows) < (0.0, 0.5, 0.97, 1.0)[k % 4]
        null = (np.nan, np.inf, -np.inf)[k % 3] if column.dtype.kind == "f" else np.iinfo(column.dtype).min
        column[:] = np.where(there[name], 1, null)
    batch = features.to_arrow(outputs)
    assert {name: batch.column(name).is_valid().to_pylist() for name in there} == {
        name: known.tolist() for name, known in there.items()
    }
    assert [batch.column(name).null_count for name in there] == [int(rows - known.sum()) for known in there.values()]
