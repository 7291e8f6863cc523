"""Time windows (rules W1, W5-W7, N6) and the primitives behind them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from daedalus.etl.features import streaming
from daedalus.etl.features.chunks import BookChunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.state import RING_ROWS_START
from tests.references.markets import START_NS, Row, touch
from tests.unit.etl.features.helpers import column, last


def sized(steps: list[tuple[float, float]]) -> list[Row]:
    """Return rows (time, e): the bid's size grows by e."""
    rows, size = [], 1000.0
    for at, e in steps:
        size += e
        rows.append(touch(at, 99.0, 101.0, size, 1.0))
    return rows


def test_rows_of_the_same_time_do_not_see_each_other_s_future() -> None:
    times, values = [0, 1, 1, 1, 2, 11, 11], [1, 2, 4, 8, 16, 32, 64]
    rows = sized([(-1.0, 0.0), *((float(t), float(x)) for t, x in zip(times, values, strict=True))])
    assert column(rows, "ofi_sum_10s", horizons=(10,))[1:] == [1, 3, 7, 15, 31, 48, 112]


def test_a_row_exactly_as_old_as_the_window_is_out() -> None:
    rows = sized([(0.0, 0.0), (1.0, 2.0), (5.999999, 4.0), (6.0, 8.0)])
    assert column(rows, "ofi_sum_5s", horizons=(5,)) == [0.0, 2.0, 6.0, 12.0]
    assert column(rows, "n_updates_5s", horizons=(5,)) == [1, 2, 2, 2]
    assert column(rows, "update_rate_5s", horizons=(5,))[-1] == 2 / 5
    assert column(rows, "window_coverage_5s", horizons=(5,)) == pytest.approx([0.0, 0.2, 1.0, 1.0])


def test_ofi_is_normalised_by_the_mean_size_of_the_touch() -> None:
    rows = [touch(0.0, 99.0, 101.0, 2.0, 4.0), touch(1.0, 99.0, 101.0, 6.0, 4.0), Row(2.0, [], [])]
    assert column(rows, "ofi_norm_5s", horizons=(5,))[1] == pytest.approx(4.0 / ((3.0 + 5.0) / 2))
    assert last(rows, "ofi_norm_1s", horizons=(1,)) is None


def test_returns_reach_back_to_the_last_mid_known_at_the_window_s_start() -> None:
    rows = [touch(0.0, 99.0, 101.0), Row(3.0, [], []), touch(4.0, 109.0, 111.0), touch(8.5, 119.0, 121.0)]
    rows += [touch(9.0, 129.0, 131.0), Row(9.5, [], []), touch(14.0, 139.0, 141.0)]
    want = [None, None, None, math.log(120 / 100), math.log(130 / 110), None, math.log(140 / 130)]
    assert column(rows, "ret_5s", horizons=(5,)) == [None if x is None else pytest.approx(x) for x in want]


@pytest.mark.parametrize(("age", "is_known"), [(300.0, True), (300.000001, False)])
def test_a_mid_older_than_the_limit_is_not_known(age: float, is_known: bool) -> None:
    empty = [Row(float(at), [], []) for at in range(100, 300, 50)]
    rows = [touch(0.0, 99.0, 101.0), *empty, touch(age + 5.0, 109.0, 111.0)]
    assert (last(rows, "ret_5s", horizons=(5,)) is not None) is is_known


def test_realised_variance_skips_what_it_cannot_know() -> None:
    rows = [touch(0.0, 99.0, 101.0), touch(1.0, 101.0, 103.0), Row(2.0, [], []), touch(3.0, 99.0, 101.0)]
    rows += [touch(4.0, 101.0, 103.0)]
    r2 = math.log(1.02) ** 2
    assert column(rows, "rv_60s", horizons=(60,)) == pytest.approx([0.0, r2, r2, r2, 2 * r2])
    assert column(rows, "rvol_2s", horizons=(2,))[-1] == pytest.approx(math.log(1.02))


def test_a_spike_leaves_no_trace() -> None:
    rows = sized([(0.0, 0.0), (1.0, 0.25), (2.0, 1e15), (3.0, -1e15), (4.0, 0.5), (8.5, 0.25), (20.0, 0.0)])
    assert column(rows, "ofi_sum_5s", horizons=(5,))[-2:] == [0.75, 0.0]
    exact = column([*rows, touch(21.0, 99.0, 101.0, 1001.125, 1.0)], "ofi_sum_5s", horizons=(5,))[-1]
    assert exact == 0.125


def test_a_window_without_flow_sums_to_exactly_zero() -> None:
    rows = sized([(0.1 * k, 0.1 * (k % 7)) for k in range(200)] + [(60.0, 0.0), (61.0, 0.0)])
    assert column(rows, "ofi_sum_5s", horizons=(5,))[-1] == 0.0
    assert column(rows, "rv_5s", horizons=(5,))[-1] == 0.0


def walk(seed: int, count: int, step_ns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ts = START_NS + np.cumsum(rng.integers(0, 2 * step_ns, count))
    return ts, rng.normal(size=count) * 10.0 ** rng.integers(-6, 6, count)


def window_sums(ts: np.ndarray, values: np.ndarray, seconds: int, capacity: int) -> np.ndarray:
    """Run the primitives as a kernel does."""
    lengths = streaming.window_lengths_ns((seconds,))
    state = (np.zeros(capacity, np.int64), np.zeros((capacity, 2, 1)), np.zeros(1, np.int64), np.zeros(1, np.int64))
    totals, out = np.zeros((2, 1)), []
    for now, value in zip(ts.tolist(), values.tolist(), strict=True):
        assert streaming.enter(now, lengths, *state, totals) >= 0
        streaming.add(totals, 0, value)
        out.append(streaming.window_sum(totals, state[1], int(state[3][0]) & (capacity - 1), 0))
    return np.array(out)


def test_sums_stay_exact_over_restarts_of_the_totals() -> None:
    count = 2 * streaming.REBASE_ROWS + 1000
    ts, values = walk(1, count, 10_000_000)
    got = window_sums(ts, values, 1, 1024)
    rng = np.random.default_rng(2)
    edges = [k + d for k in (streaming.REBASE_ROWS, 2 * streaming.REBASE_ROWS) for d in range(-3, 103)]
    for i in [*edges, *rng.integers(0, count, 300).tolist()]:
        first = int(np.searchsorted(ts, ts[i] - 1_000_000_000, "right"))
        want = math.fsum(values[first : i + 1])
        scale = float(np.abs(values[first : i + 1]).max())
        assert math.isclose(got[i], want, rel_tol=1e-12, abs_tol=1e-16 * scale)


def test_the_length_of_the_ring_never_shows() -> None:
    ts, values = walk(3, 3000, 1_000_000)
    assert np.array_equal(window_sums(ts, values, 1, 4096), window_sums(ts, values, 1, 16384))


def test_rings_grow_and_results_do_not_notice() -> None:
    config = FeatureConfig(max_levels=1, horizons=(1, 900))
    features = FeatureSet(config, ["rolling_flow", "rolling_returns", "rolling_spread"])
    count = 3 * RING_ROWS_START
    rng = np.random.default_rng(4)
    ts = START_NS + np.cumsum(rng.integers(0, 200_000_000, count))
    side = rng.uniform(0.1, 2.0, (2, count, 1))
    bid = np.round(100.0 + np.cumsum(rng.integers(-1, 2, (count, 1)), 0) * 0.01, 2)
    flags = np.zeros(count, np.bool_)
    chunk = BookChunk(ts, ts, np.arange(count), flags, bid, side[0], bid + 0.01, side[1])
    state, outputs = features.apply(features.new_state(), chunk)
    assert len(state.arrays["rolling_flow"]["ring_ts"]) > RING_ROWS_START
    ofi = np.nan_to_num(outputs["ofi"])
    for i in (0, 1500, count - 1):
        first = int(np.searchsorted(ts, ts[i] - 900_000_000_000, "right"))
        assert math.isclose(outputs["ofi_sum_900s"][i], math.fsum(ofi[first : i + 1]), rel_tol=1e-12, abs_tol=1e-12)
    small = features.state_to_bytes(state)
    assert features.state_to_bytes(features.state_from_bytes(small)) == small


def test_quantiles_are_type_7() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert streaming.quantile(values, 4, 0.9) == pytest.approx(3.7)
    rng = np.random.default_rng(5)
    for count in (1, 2, 5, 100, 301):
        ordered = np.sort(rng.normal(size=count))
        for q in (0.0, 0.05, 0.2, 0.5, 0.8, 1.0):
            assert streaming.quantile(ordered, count, q) == np.quantile(ordered, q)
    assert math.isnan(streaming.quantile(values, 0, 0.5))


def test_a_sliding_order_is_the_sorted_window() -> None:
    rng = np.random.default_rng(6)
    values = rng.integers(0, 9, 500).astype(float)
    values[rng.random(500) < 0.2] = math.nan
    ordered, count = np.zeros(20), 0
    for i, value in enumerate(values):
        gone = values[i - 20] if i >= 20 else math.nan
        count = streaming.replace_ordered(ordered, count, gone, value)
        window = values[max(0, i - 19) : i + 1]
        assert ordered[:count].tolist() == sorted(window[~np.isnan(window)].tolist())


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2], [1, 2], [None, None, None]),
        ([0.1, 0.1, 0.1], [1, 2, 3], [None, None, None]),
        ([1, 2, 3], [0.1, 0.1, 0.1], [0.0, None, None]),
        ([1, 2, 3, 4], [3, 5, 7, 9], [2.0, 1.0, None]),
        ([1, 2, 3, 9], [1, 3, 2, math.nan], [0.5, 0.25, 0.5 / math.sqrt(1.5 / 1 / 2)]),
    ],
)
def test_least_squares(x: list[float], y: list[float], expected: list[float | None]) -> None:
    fit = np.zeros(3)
    streaming.least_squares(np.array(x, float), np.array(y, float), len(x), fit)
    got = [None if math.isnan(value) else value for value in fit.tolist()]
    assert got == [None if value is None else pytest.approx(value) for value in expected]
