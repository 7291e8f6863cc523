"""Features that need hours or days of the past: integrated order flow and the normalised book."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.eigen import first_eigenvector
from daedalus.etl.features.engine import FeatureSet
from tests.references import calibrated_features, stateful_features, static_features
from tests.references.features import assert_matches
from tests.references.markets import Row, book, random_rows, trades
from tests.references.running import differing, run_chunks, run_whole

CONFIG = FeatureConfig(max_levels=4, ofi_levels=3, norm_days=2, feature_set="full", max_state_staleness_seconds=900.0)


def spaced(seed: int, count: int, steps: list[float]) -> list[Row]:
    """Return the books of a random market, at other times."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.choice(steps, count))
    return [
        dataclasses.replace(row, at=float(t), delay=0.0, seq=None)
        for row, t in zip(random_rows(rng, count, 4), at, strict=True)
    ]


def check(name: str, rows: list[Row]) -> dict[str, np.ndarray]:
    """Compare a family with its reference and with itself in chunks with restarts; return its columns."""
    features = FeatureSet(CONFIG, [name])
    chunk = book(rows, CONFIG.max_levels)
    kept = static_features.kept_rows(rows, CONFIG.staleness_ns)
    flows = stateful_features.per_row(kept, [static_features.static(row, CONFIG) for row in rows], CONFIG)
    integrated = name == "ofi_integrated"
    expected = (
        calibrated_features.integrated(kept, flows, CONFIG) if integrated else calibrated_features.books(kept, CONFIG)
    )
    batch = features.to_arrow(features.apply(features.new_state(), chunk, None)[1])
    assert_matches(batch.select([column for column in batch.schema.names if column.startswith(name)]), expected)
    whole, state = run_whole(features, chunk, trades([]))
    cuts = np.random.default_rng(1).integers(0, len(rows), 12).tolist()
    parts_, last = run_chunks(features, chunk, trades([]), cuts, restarts=True)
    assert not differing(parts_, whole)
    assert last == state
    return whole


def test_integrated_flow_is_the_first_component_of_earlier_bars() -> None:
    rows = spaced(1, 900, [0.0, 4.0, 10.0, 10.0, 25.0])
    whole = check("ofi_integrated", rows)
    for w in (60, 300):
        assert 100 < np.isfinite(whole[f"ofi_integrated_{w}s"]).sum() < 700


def test_integrated_flow_forgets_bars_older_than_a_day() -> None:
    early = spaced(2, 500, [0.0, 7.0, 14.0])
    late = [dataclasses.replace(row, at=row.at + 86_400.0) for row in spaced(3, 500, [0.0, 7.0, 14.0])]
    whole = check("ofi_integrated", early + late)
    assert np.isfinite(whole["ofi_integrated_60s"][600:650]).any()  # still from bars of the day before
    apart = [dataclasses.replace(row, at=row.at + 86_400.0) for row in late]
    whole = check("ofi_integrated", early + apart)
    assert np.isnan(whole["ofi_integrated_60s"][500:600]).all()  # the day before is gone, the new one is too short


def test_the_book_is_scaled_by_the_days_before_its_own() -> None:
    rows = spaced(4, 300, [0.0, 20.0, 600.0, 1800.0, 1800.0])
    apart = [dataclasses.replace(row, at=row.at + (200_000.0 if k > 150 else 0.0)) for k, row in enumerate(rows)]
    for given in (rows, apart):
        whole = check("lob_norm", given)
        assert np.isfinite(whole["lob_norm_ask_price_l0"]).sum() > 100
    first_day = [row.at < 86_400.0 for row in apart]
    assert np.isnan(whole["lob_norm_ask_price_l0"][first_day]).all()


def test_columns_are_in_the_order_of_deeplob() -> None:
    own = [c.name for c in FeatureSet(CONFIG, ["lob_norm"]).columns if c.name.startswith("lob_norm")]
    assert len(own) == 16
    assert own[:5] == [
        f"lob_norm_{part}" for part in ("ask_price_l0", "ask_size_l0", "bid_price_l0", "bid_size_l0", "ask_price_l1")
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_the_first_eigenvector_is_that_of_numpy(size: int) -> None:
    rng = np.random.default_rng(size)
    for scale in (1e-30, 1.0, 1e30):
        draws = rng.normal(size=(50, size)) @ rng.normal(size=(size, size))
        matrix = np.atleast_2d(np.cov(draws, rowvar=False)) * scale
        got, want = np.empty(size), np.linalg.eigh(matrix)[1][:, -1]
        first_eigenvector(matrix.copy(), got)
        np.testing.assert_allclose(got, want * np.sign(want.sum()), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("matrix", [np.eye(3), np.zeros((2, 2)), -np.eye(1), np.full((2, 2), np.nan)])
def test_an_undefined_direction_is_null(matrix: np.ndarray) -> None:
    got = np.zeros(len(matrix))
    first_eigenvector(matrix.copy(), got)
    assert np.isnan(got).all()
