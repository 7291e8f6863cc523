"""The primitives as classes: against plain Python over random values, and their documented examples."""

from __future__ import annotations

import doctest
import math
import statistics

import numpy as np
import pytest

from daedalus.etl.features import online, streaming


def test_the_examples_run() -> None:
    assert doctest.testmod(online).failed == 0


def test_windows_agree_with_plain_python() -> None:
    rng = np.random.default_rng(1)
    ts = np.cumsum(rng.choice([0, 100_000_000, 2_000_000_000], 1500, p=[0.2, 0.79, 0.01]))
    values = rng.integers(-50, 50, 1500) / 4
    values[rng.random(1500) < 0.1] = math.nan
    moments, highest = online.RollingWelford(200), online.RollingMax(7)
    for i, (now, value) in enumerate(zip(ts.tolist(), values.tolist(), strict=True)):
        moments.update(now, value)
        largest = highest.update(now, value)
        near = [v for t, v in zip(ts[: i + 1], values, strict=False) if t > now - 7e9 and not math.isnan(v)]
        assert largest == (max(near) if near else None)
        if i % 50 == 49:
            inside = [v for t, v in zip(ts[: i + 1], values, strict=False) if t > now - 200e9 and not math.isnan(v)]
            assert (moments.count, moments.sum) == (len(inside), sum(inside))
            assert moments.mean == pytest.approx(statistics.fmean(inside))
            assert moments.variance == pytest.approx(statistics.variance(inside))


def test_percentiles_and_nothing_yet() -> None:
    last = online.RollingPercentile(5)
    assert last.quantile(0.5) is None
    for value in (5.0, 1.0, math.nan, 2.0, 3.0, 4.0):
        last.update(value)
    assert last.quantile(0.9) == pytest.approx(np.quantile([1.0, 2.0, 3.0, 4.0], 0.9))
    empty = online.RollingSum(1)
    empty.update(0, math.nan)
    assert (empty.sum, empty.mean, empty.variance) == (0.0, None, None)


def test_lambda_is_the_slope_of_moves_on_flow() -> None:
    estimator, mid, fit = online.KyleLambdaEstimator(60), 100.0, (None, None, None)
    for k, flow in enumerate([1, -2, 3, 1, -1, 2, -3, 1]):
        estimator.trade(k * 5_000_000_000 + 1, abs(flow), 1 if flow > 0 else -1)
        mid += 0.25 * flow
        fit = estimator.update(k * 5_000_000_000 + 2, mid - 0.5, mid + 0.5)
    assert fit[0] == pytest.approx(0.25)


def test_streaming_hands_out_the_classes() -> None:
    assert streaming.RollingWelford is online.RollingWelford
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = streaming.nothing
