"""Calibrating the micro-price: against a plain count by dictionaries, and what the table promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from daedalus.etl.features.calibration import MicropriceCalibration, load_calibration
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.stoikov import calibrate_microprice
from daedalus.shared.errors import ConfigError
from tests.references.markets import book, touch

TICK = 0.01


def past(seed: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a touch whose mid follows the imbalance."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.02, 0.98, count)
    moved = np.where(rng.random(count) < 0.4, np.sign(share - rng.random(count)), 0).astype(int)
    width = rng.choice([1, 1, 1, 2, 3], count)
    bid = (10_000 + np.concatenate([[0], np.cumsum(moved)[:-1]])) * TICK
    return bid, share * 5, bid + width * TICK, (1 - share) * 5


def by_counting(touch_: tuple[np.ndarray, ...], n: int, spreads: int) -> np.ndarray:
    """Q, R1 and R2 from counts of transitions, then the sum over six terms, by explicit inverses."""
    rows = [
        (round((a - b) / TICK), b, a, qb / (qb + qa))
        for b, qb, a, qa in zip(*touch_, strict=True)
        if 1 <= round((a - b) / TICK) <= spreads
    ]
    edges = np.quantile([row[3] for row in rows], np.arange(1, n) / n)
    states = [(w - 1, sum(edge < x for edge in edges)) for w, _, _, x in rows]
    counts: Counter[tuple[tuple[int, int], int, tuple[int, int]]] = Counter()
    for k in range(len(rows) - 1):
        move = round(((rows[k + 1][1] + rows[k + 1][2]) - (rows[k][1] + rows[k][2])) / TICK)
        if abs(move) <= 2:
            (w, i), (w2, i2) = states[k], states[k + 1]
            counts[(w, i), move, (w2, i2)] += 1
            counts[(w, n - 1 - i), -move, (w2, n - 1 - i2)] += 1
    size, ticks = n * spreads, (-2, -1, 1, 2)
    q, r1, r2 = np.zeros((size, size)), np.zeros((size, 4)), np.zeros((size, size))
    for ((w, i), move, (w2, i2)), count in counts.items():
        if move:
            r1[w * n + i, ticks.index(move)] += count
            r2[w * n + i, w2 * n + i2] += count
        else:
            q[w * n + i, w2 * n + i2] += count
    seen = q.sum(axis=1) + r1.sum(axis=1)
    rest = np.linalg.inv(np.eye(size) - q / seen[:, None])
    g1 = rest @ (r1 / seen[:, None]) @ (np.array([-1, -0.5, 0.5, 1]) * TICK)
    b = rest @ (r2 / seen[:, None])
    return sum(np.linalg.matrix_power(b, k) @ g1 for k in range(6)).reshape(spreads, n)


@pytest.mark.parametrize(("buckets", "spreads"), [(10, 2), (4, 3)])
def test_the_table_is_that_of_plain_counting(buckets: int, spreads: int) -> None:
    table = calibrate_microprice(*past(1), TICK, buckets, spreads)
    got = np.array(table.adjustments, float)
    np.testing.assert_allclose(got, by_counting(past(1), buckets, spreads), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(got, -got[:, ::-1], atol=1e-12)  # symmetrised
    assert (np.diff(got[0]) > 0).all()  # a heavy bid lifts the price
    assert len(table.edges) == buckets - 1


def test_a_state_that_was_not_seen_is_null_and_others_are_looked_up() -> None:
    table = calibrate_microprice(*past(2), TICK, 4, 3)
    bid, bid_size, ask, ask_size = past(2)
    narrow = ask - bid < 1.5 * TICK
    sparse = calibrate_microprice(bid[narrow], bid_size[narrow], ask[narrow], ask_size[narrow], TICK, 4, 2)
    assert sparse.adjustments[1] == (None,) * 4
    features = FeatureSet(FeatureConfig(max_levels=1, feature_set="full", microprice_calibration=table))
    rows = [touch(0.0, 100.0, 100.01, 3.0, 1.0), touch(1.0, 100.0, 100.04), touch(2.0, 100.0, 100.0)]
    got = features.to_arrow(features.apply(features.new_state(), book(rows, 1))[1]).column("microprice_stoikov")
    bucket = int(np.searchsorted(table.edges, 0.75))
    assert got.to_pylist() == [pytest.approx(100.005 + table.adjustments[0][bucket], rel=1e-12), None, None]  # type: ignore[operator]


def test_the_table_survives_its_file(tmp_path: Path) -> None:
    table = calibrate_microprice(*past(3), TICK)
    table.save(tmp_path / "deep" / "table.json")
    assert load_calibration(tmp_path / "deep" / "table.json") == table
    (tmp_path / "other.json").write_text('{"edges": []}')
    for wrong in ("other.json", "missing.json"):
        with pytest.raises(ConfigError, match=rf"{wrong} holds no microprice calibration.*calibrate-microprice"):
            load_calibration(tmp_path / wrong)


def test_what_cannot_be_estimated_or_is_no_table_is_refused() -> None:
    bid, bid_size, ask, ask_size = past(4, 50)
    with pytest.raises(ConfigError, match="0 books have a spread of 1 to 2 ticks of 1"):
        calibrate_microprice(bid, bid_size, ask, ask_size, 1.0)
    still = np.full(50, 100.0)
    with pytest.raises(ConfigError, match="never moves"):
        calibrate_microprice(still, bid_size, still + TICK, ask_size, TICK)
    for edges, rows in (
        ((0.5, 0.2), ((1.0,) * 3,)),
        ((0.5,), ((1.0,),)),
        ((0.5,), ()),
        ((0.5,), ((1.0, float("inf")),)),
    ):
        with pytest.raises(ConfigError, match="microprice calibration"):
            MicropriceCalibration(TICK, edges, rows)
