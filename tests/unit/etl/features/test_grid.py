"""Sampling on the grid, and measures of it, on series worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.references.features import assert_matches
from tests.references.grid_features import lee_mykland, sampled
from tests.references.markets import touch
from tests.unit.etl.features.helpers import column, compute


def test_a_point_takes_the_rows_of_its_own_instant_seen_so_far() -> None:
    rows = [touch(0.5, 99.0, 101.0), touch(1.0, 101.0, 103.0), touch(1.0, 109.0, 111.0), touch(1.5, 119.0, 121.0)]
    rows += [touch(2.5, 129.0, 131.0)]
    first, second = math.log(110 / 100), math.log(120 / 110)
    # There is no point before 1 s, so the first return ends at 2 s.
    assert column(rows, "rv_g1_5s", horizons=(5,)) == pytest.approx([0.0, 0.0, 0.0, 0.0, second**2])
    rows = [touch(0.0, 99.0, 101.0), *rows[1:]]
    want = [0.0, math.log(1.02) ** 2, first**2, first**2, first**2 + second**2]
    assert column(rows, "rv_g1_5s", horizons=(5,)) == pytest.approx(want)
    assert column(rows, "bpv_5s", horizons=(5,))[-1] == pytest.approx(math.pi / 2 * 2 * first * second)


def test_measures_are_held_between_points() -> None:
    rows = [touch(0.25 * k, 99.0 + k % 3, 101.0 + k % 3) for k in range(40)]
    values = column(rows, "rs_pos_5s", horizons=(5,))
    assert all(len(set(values[4 * k : 4 * k + 4])) == 1 for k in range(10))


def test_an_old_mid_leaves_a_hole() -> None:
    rows = [touch(0.0, 99.0, 101.0), touch(1.0, 101.0, 103.0), touch(400.5, 109.0, 111.0), touch(402.0, 119.0, 121.0)]
    values = column(rows, "rv_g1_900s", horizons=(900,))
    assert values[-1] == pytest.approx(math.log(1.02) ** 2 + math.log(120 / 110) ** 2)


def test_jumps_of_the_minute_grid() -> None:
    rng = np.random.default_rng(3)
    steps = rng.normal(0.0, 0.05, 660)
    steps[650] = 3.0
    mids = 1000.0 + np.cumsum(steps)
    rows = [touch(60.0 * k, float(mid) - 0.5, float(mid) + 0.5) for k, mid in enumerate(mids)]
    batch = compute(rows, horizons=(60,), max_levels=1).select(["lm_stat", "lm_jump"])
    series = [(row.bids[0][0] + row.asks[0][0]) / 2 for row in rows]
    ts = [row.ts for row in rows]
    assert_matches(batch, [lee_mykland(sampled(i, ts, series, 60, 604, 10**12)) for i in range(len(rows))])
    assert batch.column("lm_jump").to_pylist()[650] == 1
    assert batch.column("lm_stat").null_count == 603


def test_a_constant_market_has_no_variation() -> None:
    rows = [touch(float(k), 99.0, 101.0) for k in range(40)]
    got = compute(rows, horizons=(30,)).to_pylist()[-1]
    assert got["rv_g1_30s"] == 0.0
    assert all(got[name] is None for name in ("jump_ratio_30s", "sjv_ratio_30s", "rskew_30s", "hurst_300s"))
    assert got["perm_entropy_300s"] == 0.0
