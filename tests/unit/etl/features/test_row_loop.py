"""The row loop that the benchmark measures the core set against computes the core set."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.feature_market import book_table, trade_table
from benchmarks.peers.row_loop import RowLoop, objects
from daedalus.etl.features.chunks import book_chunk, trade_chunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet

ROWS = 700


@pytest.mark.parametrize("running", [False, True], ids=["anew", "running"])
def test_its_numbers_are_those_of_the_core_set(running: bool) -> None:
    book = book_chunk(book_table(rows=ROWS)[0], 20)
    trades = trade_chunk(trade_table(rate=4))
    upto = int(np.searchsorted(trades.collected_at, book.collected_at[-1], "right"))
    features = FeatureSet(FeatureConfig(feature_set="core", vpin_bucket_volume=1.0))
    outputs = features.apply(features.new_state(), book, trades.rows(0, upto))[1]
    want = features.to_arrow(outputs).to_pylist()
    loop = RowLoop(running)
    got = [loop.row(row, deals) for row, deals in zip(*objects(book, trades, ROWS), strict=True)]
    for i, (left, right) in enumerate(zip(got, want, strict=True)):
        assert left.keys() == right.keys()
        for name, value in right.items():
            same = left[name] == value or (
                left[name] is not None
                and value is not None
                and math.isclose(left[name], value, rel_tol=1e-9, abs_tol=1e-12)
            )
            assert same, f"{name} row {i}: the loop has {left[name]!r}, the core set {value!r}"
    # What needs a while is there in the end, so that it was compared.
    assert all(want[-1][name] is not None for name in ("vpin", "kyle_lambda_t", "spread_regime", "depth_var_n5_900s"))
