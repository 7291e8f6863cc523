"""Options beyond the catalogue's defaults: crossed books left out, whole windows only, windows emptied by a reset."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from daedalus.etl.features.base import AnyArray
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.policies import segments, window_seconds
from tests.references.markets import Deal, Row, book, random_deals, random_rows, touch, trades
from tests.references.running import differing, run_chunks, run_whole

FAMILIES = ["identity", "order_flow", "rolling_flow", "spread_regime", "trade_flow", "decayed_rows"]
CONFIG = FeatureConfig(max_levels=3, horizons=(5, 60), spread_regime_window=110, feature_set="full")
OPTIONS = [{"crossed_policy": "null"}, {"require_full_window": True}, {"reset_windows_on_gap": True}]
ALL = {key: value for option in OPTIONS for key, value in option.items()}
IDENTITY = {"ts", "seq", "is_crossed", "is_locked", "is_one_sided", "is_empty", "is_reset", "is_late"}


def features_with(**options: object) -> FeatureSet:
    return FeatureSet(dataclasses.replace(CONFIG, **options), FAMILIES)  # type: ignore[arg-type]


def market(seed: int, count: int = 200) -> tuple[list[Row], list[Deal]]:
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, count)
    return rows, random_deals(rng, rows, 60)


def is_crossed(row: Row) -> bool:
    chunk = book([row], 3)
    return bool(chunk.bid_price[0, 0] >= chunk.ask_price[0, 0])


def computed(features: FeatureSet, rows: list[Row], deals: list[Deal]) -> dict[str, AnyArray]:
    return run_whole(features, book(rows, 3), trades(deals))[0]


@pytest.mark.parametrize("options", [*OPTIONS, ALL], ids=lambda options: "+".join(options))
def test_equal_to_the_bit_however_it_is_cut(options: dict[str, object]) -> None:
    features = features_with(**options)
    rows, deals = market(1)
    chunk, run = book(rows, 3), trades(deals)
    whole, state = run_whole(features, chunk, run)
    for cuts in (list(range(1, len(chunk))), [3, 4, 90, 150]):
        parts, last = run_chunks(features, chunk, run, cuts, True, early=1)
        assert not differing(parts, whole)
        assert last == state


def test_a_crossed_book_is_a_row_of_nulls_and_absent_from_all_others() -> None:
    rows, deals = market(2)
    rows = [dataclasses.replace(row, seq=None, reset=False) for row in rows]
    crossed = np.array([is_crossed(row) for row in rows])
    assert crossed.sum() > 3
    got = computed(features_with(crossed_policy="null"), rows, deals)
    good = [row for row, out in zip(rows, crossed, strict=True) if not out]
    want = computed(features_with(), good, deals)
    assert not differing({name: values[~crossed] for name, values in got.items()}, want)
    flags = got["is_crossed"][crossed] + got["is_locked"][crossed]
    assert (flags == 1).all()
    for name, values in got.items():
        if name not in IDENTITY and values.dtype.kind == "f":
            assert np.isnan(values[crossed]).all(), name
    assert (np.diff(got["ts"][~crossed]) >= 0).all()


def test_a_reset_at_a_crossed_book_is_that_of_the_next_good_one() -> None:
    rows = [
        touch(0.0, 99.0, 101.0),
        Row(1.0, [(102.0, 1.0)], [(101.0, 1.0)], reset=True),
        touch(2.0, 99.0, 101.0),
        touch(3.0, 99.0, 101.0),
    ]
    features = features_with(crossed_policy="null")
    assert computed(features, rows, [])["is_reset"].tolist() == [1, 0, 1, 0]
    parts, _ = run_chunks(features, book(rows, 3), trades([]), [1, 2, 3], False, early=0)
    assert parts["is_reset"].tolist() == [1, 0, 1, 0]


def test_a_partial_window_is_null() -> None:
    rows, deals = market(3)
    got, want = computed(features_with(require_full_window=True), rows, deals), computed(features_with(), rows, deals)
    age_s = (want["ts"] - want["ts"][0]) / 1e9
    for name in ("ofi_sum_5s", "ofi_sum_60s", "tfi_60s"):
        seconds = window_seconds(name) or 0
        expected = np.where(age_s < seconds, math.nan, want[name])
        np.testing.assert_array_equal(got[name], expected)
    assert (got["ofi_sum_5s"] == 0.0).any()
    np.testing.assert_array_equal(got["window_coverage_60s"], want["window_coverage_60s"])
    assert (got["spread_regime"][:110] == -128).all()
    assert (got["spread_regime"][110:] != -128).any()


def test_a_reset_empties_the_windows() -> None:
    rows = [dataclasses.replace(row, seq=None, reset=k == 120) for k, row in enumerate(market(4)[0])]
    rows = [row for row in rows if row.at < rows[-1].at]
    got = computed(features_with(reset_windows_on_gap=True), rows, [])
    plain = computed(features_with(), rows, [])
    starts = [start for start, _ in segments(plain["is_reset"] == 1)]
    assert len(starts) > 2
    for start, stop in segments(plain["is_reset"] == 1):
        alone = computed(features_with(), [dataclasses.replace(r, reset=False) for r in rows[start:stop]], [])
        np.testing.assert_array_equal(got["n_updates_60s"][start:stop], alone["n_updates_60s"])
        np.testing.assert_array_equal(got["window_coverage_60s"][start:stop], alone["window_coverage_60s"])
    np.testing.assert_array_equal(got["book_intensity_hl10s"], plain["book_intensity_hl10s"])
