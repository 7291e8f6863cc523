"""Spreads, realised costs, bulk VPIN and Hawkes of sections 8 and 9, worked by hand."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from tests.references.markets import Deal, Row, touch
from tests.unit.etl.features.helpers import column, compute

DAY = 86_400.0


def steady(until: float, step: float = 1.0, bid: float = 99.0, ask: float = 101.0) -> list[Row]:
    return [touch(float(t), bid, ask) for t in np.arange(0.0, until, step)]


def test_roll_is_made_of_neighbouring_changes_of_price() -> None:
    rows = steady(8.0)
    deals = [Deal(k + 0.5, 1.0, 1, price) for k, price in enumerate([100.0, 101.0, 100.0, 101.0, 100.0])]
    # Changes 1, -1, 1, -1: pairs (-1, 1), (1, -1), (-1, 1) with covariance -4/3; the first three changes make -1 * 2.
    got = column(rows, "roll_spread", deals)
    assert got[:4] == [None] * 4
    assert got[4:] == pytest.approx([2 * math.sqrt(2.0)] + [2 * math.sqrt(4 / 3)] * 3)
    assert column(rows, "roll_spread_bps", deals)[-1] == pytest.approx(2 * math.sqrt(4 / 3) / 100.0 * 1e4)


def test_roll_is_0_where_changes_go_on_and_forgets_old_ones() -> None:
    rising = [Deal(k + 0.5, 1.0, 1, 100.0 + k * k) for k in range(6)]
    assert column(steady(8.0), "roll_spread", rising)[-1] == 0.0
    rng = np.random.default_rng(3)
    prices = (100.0 + 0.5 * rng.integers(-3, 4, 260)).tolist()
    got = column(steady(262.0), "roll_spread", [Deal(k + 0.5, 1.0, 1, p) for k, p in enumerate(prices)])[-1]
    d = np.diff(prices)[-200:]
    assert got == pytest.approx(2 * math.sqrt(max(0.0, -np.cov(d[1:], d[:-1])[0, 1])))


def test_a_pause_parts_changes_of_price() -> None:
    rows = [touch(t, 99.0, 101.0) for t in (0.0, 10.0, 400.0, 410.0)]
    prices = [100.0, 101.0, 100.0, 101.0, 100.5, 102.0]
    deals = [Deal(t, 1.0, 1, p) for t, p in zip([1.0, 2.0, 3.0, 304.0, 305.0, 306.0], prices, strict=True)]
    # Pairs: (-1, 1) before the pause and (1.5, -0.5) after it.
    assert column(rows, "roll_spread", deals)[-1] == pytest.approx(2 * math.sqrt(2.5 * 1.5 / 2))


def test_realised_and_impact_make_up_the_effective_spread_once_known() -> None:
    rows = [touch(0.0, 99.0, 101.0), touch(4.0, 101.0, 103.0), touch(6.0, 99.0, 101.0), touch(7.0, 99.0, 101.0)]
    deals = [Deal(1.0, 2.0, 1, 101.0)]
    # Known at 6, with the mid of the row at 6 itself, which is 100 again; before that the mid of 4 does not count.
    assert column(rows, "realised_spread_bps_5_60s", deals) == [None, None, pytest.approx(200.0), pytest.approx(200.0)]
    assert column(rows, "price_impact_bps_5_60s", deals) == [None, None, 0.0, 0.0]
    later = [touch(6.5, 105.0, 107.0) if row.at == 6.0 else row for row in rows]
    assert column(later, "price_impact_bps_5_60s", deals)[2:] == pytest.approx([400.0, 400.0])
    assert column(later, "realised_spread_bps_5_60s", deals)[2:] == pytest.approx([-200.0, -200.0])


def test_rows_of_the_time_when_a_cost_is_known_replace_each_other() -> None:
    rows = [touch(0.0, 99.0, 101.0), touch(6.0, 100.0, 102.0), touch(6.0, 101.0, 103.0), touch(6.1, 95.0, 97.0)]
    got = column(rows, "price_impact_bps_5_60s", [Deal(1.0, 2.0, 1, 101.0)])
    assert got == [None, pytest.approx(200.0), pytest.approx(400.0), pytest.approx(400.0)]


def test_costs_are_weighted_by_size_and_leave_by_the_time_they_were_known() -> None:
    rows = [touch(t, 99.0, 101.0) for t in (0.0, 6.0, 9.0, 65.999999, 66.0, 68.0)]
    deals = [Deal(1.0, 1.0, 1, 101.0), Deal(3.0, 3.0, -1, 100.5), Deal(4.0, 5.0, -1, 100.0)]
    got = column(rows, "realised_spread_bps_5_60s", deals)
    assert got == pytest.approx([None, 200.0, -100.0 / 9.0, -100.0 / 9.0, -300.0 / 8.0, 0.0], abs=1e-9)


def test_a_trade_that_is_seen_late_still_finds_its_mid() -> None:
    rows = [touch(t, m - 1.0, m + 1.0) for t, m in ((0.0, 100.0), (5.5, 104.0), (8.0, 110.0), (20.0, 90.0))]
    deals = [Deal(1.0, 2.0, 1, 101.0, delay=12.0)]
    assert column(rows, "price_impact_bps_5_60s", deals) == [None, None, None, pytest.approx(800.0)]


def test_amihud_is_the_mean_of_moves_per_million() -> None:
    rows = [touch(60.0 * k, m - 1.0, m + 1.0) for k, m in enumerate([100.0, 101.0, 99.0, 99.5, 99.5])]
    deals = [Deal(70.0, 2.0, 1, 100.0), Deal(190.0, 1.0, -1, 50.0), Deal(195.0, 1.0, 1, 150.0)]
    first, third = abs(math.log(101 / 100)) / 200.0, abs(math.log(99.5 / 99)) / 200.0
    want = [None, None, 1e6 * first, 1e6 * first, 1e6 * (first + third) / 2]
    assert column(rows, "amihud_60", deals) == [w if w is None else pytest.approx(w) for w in want]


def test_spreads_from_bars() -> None:
    rows = steady(400.0, 10.0)
    prices = [(10.0, 100.0), (20.0, 102.0), (50.0, 101.0), (70.0, 99.0), (80.0, 101.0), (110.0, 100.0), (190.0, 103.0)]
    table = compute(rows, [Deal(t, 1.0, 1, p) for t, p in prices])
    got = {name: table.column(name).to_pylist() for name in ("cs_spread_60s", "ar_spread_60s", "roll_measure_abs")}
    # Two bars (102, 100, 101) and (101, 99, 100), then an empty one at 100, then one at 103 alone.
    beta = math.log(1.02) ** 2 + math.log(101 / 99) ** 2
    gamma, k = math.log(102 / 99) ** 2, 3 - 2 * math.sqrt(2)
    alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / k - math.sqrt(gamma / k)
    first = max(0.0, 2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha)))
    assert got["cs_spread_60s"][11] is None
    assert got["cs_spread_60s"][12] == pytest.approx(first)
    c, eta, eta2 = math.log(101), math.log(102 * 100) / 2, math.log(101 * 99) / 2
    assert got["ar_spread_60s"][12] == pytest.approx(2 * math.sqrt(max(0.0, (c - eta) * (c - eta2))))
    # Closes 101, 100, 100, 103: changes -1, 0, 3, pairs (0, -1) and (3, 0).
    assert got["roll_measure_abs"][23] is None
    assert got["roll_measure_abs"][24] == pytest.approx(2 * math.sqrt(1.5 * 0.5 * 2))


def test_bulk_classification_of_bars() -> None:
    rows = steady(400.0, 10.0)
    bars = [(10.0, 3.0, 100.0), (70.0, 2.0, 102.0), (190.0, 4.0, 101.0), (250.0, 6.0, 101.5)]
    deals = [Deal(t, q, 1, p) for t, q, p in bars]
    options = {"vpin_bucket_volume": 5.0, "vpin_window_buckets": 1}
    phi = statistics.NormalDist().cdf
    # The first two bars have no sigma yet; the third changes by -1 after 2, against the bar with trades before.
    third = 2 * phi(-1.0 / statistics.stdev([2.0, -1.0])) - 1
    fourth = 2 * phi(0.5 / statistics.stdev([2.0, -1.0, 0.5])) - 1
    got = column(rows, "vpin_bvc", deals, **options)
    assert got[11:13] == [None, 0.0]
    assert got[24] == 0.0
    # 4 of the third bar are in a bucket that one of the fourth closes.
    assert got[30] == pytest.approx(abs(fourth) * 5.0 / 5.0)
    assert column(rows, "vpin_bucket_fill", deals, **options)[-1] == 0.0
    imbalance = column(rows, "bvc_imbalance_300s", deals, **options)
    assert imbalance[5] is None
    assert imbalance[24] == pytest.approx(4.0 * third / 9.0)
    assert imbalance[30] == pytest.approx((4.0 * third + 6.0 * fourth) / 15.0)
    assert imbalance[36] == pytest.approx((4.0 * third + 6.0 * fourth) / 12.0)


def test_bulk_classification_of_buckets() -> None:
    rows = steady(8.0)
    prices = [100.0, 102.0, 101.0, 101.5]
    deals = [Deal(k + 0.5, 1.0, 1, p) for k, p in enumerate(prices)]
    got = column(rows, "vpin_bvc_bucket", deals, vpin_bucket_volume=1.0, vpin_window_buckets=2)
    phi = statistics.NormalDist().cdf
    third = abs(2 * phi(-1.0 / statistics.stdev([2.0, -1.0])) - 1)
    fourth = abs(2 * phi(0.5 / statistics.stdev([2.0, -1.0, 0.5])) - 1)
    assert got[:5] == [None, None, 0.0, pytest.approx(third / 2), pytest.approx((third + fourth) / 2)]


def test_vpin_is_ranked_among_its_values_before() -> None:
    rows = steady(9.0)
    deals = [Deal(k + 0.5, 2.0, 1) if k % 3 else Deal(k + 0.5, 1.0, 1) for k in range(6)]
    deals += [Deal(k + 0.6, 1.0, -1) for k in (0, 3)]
    deals.sort(key=lambda deal: deal.at)
    options = {"vpin_bucket_volume": 2.0, "vpin_window_buckets": 1}
    assert column(rows, "vpin", deals, **options)[:7] == [None, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    assert column(rows, "vpin_cdf", deals, **options)[:7] == [None, None, 1.0, 1.0, pytest.approx(1 / 3), 1.0, 1.0]


def test_a_missing_side_is_resolved_for_kyle_and_vpin_too() -> None:
    rows = [touch(5.0 * k, m - 1.0, m + 1.0) for k, m in enumerate([100.0, 105.0, 101.0, 103.0, 102.0, 104.0])]
    deals = [Deal(5.0 * k + 1.0, float(k), 1 if k % 2 else -1, 200.0 if k % 2 else 50.0) for k in range(6)]
    blind = [Deal(d.at, d.amount, 0, d.price) for d in deals]
    for name in ("kyle_lambda", "vpin", "hasbrouck_lambda"):
        options = {"vpin_bucket_volume": 2.0, "vpin_window_buckets": 2}
        assert column(rows, name, blind, **options) == column(rows, name, deals, **options)


def test_hawkes_adds_what_each_trade_still_excites() -> None:
    rows = steady(4.0)
    deals = [Deal(0.5, 1.0, 1), Deal(1.5, 1.0, -1), Deal(1.5, 9.0, 1)]
    assert column(rows, "hawkes_lambda_buy", deals) == [None] * 4
    given = {"hawkes_mu": [0.1, 0.2], "hawkes_alpha": [0.5, 0.1, 0.3, 0.4], "hawkes_beta": 2.0}
    old, new = math.exp(-2.0 * 2.5), math.exp(-2.0 * 1.5)
    assert column(rows, "hawkes_lambda_buy", deals, **given)[3] == pytest.approx(0.1 + 0.5 * (old + new) + 0.1 * new)
    assert column(rows, "hawkes_lambda_sell", deals, **given)[3] == pytest.approx(0.2 + 0.3 * (old + new) + 0.4 * new)


def test_volume_clock_and_activity() -> None:
    rows = [touch(t, 99.0 + d, 101.0 + d) for t, d in ((0.0, 0.0), (100.0, 1.0), (1000.0, 1.0), (3700.0, 1.0))]
    deals = [Deal(50.0, 6.0, 1, 100.0), Deal(990.0, 2.0, 1, 100.0)]
    table = compute(rows, deals)
    assert table.column("volume_clock_ratio_60s").to_pylist() == [None, pytest.approx(60.0), pytest.approx(15.0), 0.0]
    rv = math.log(101 / 100) ** 2
    assert table.column("ko_activity_300s").to_pylist() == [None, pytest.approx(math.sqrt(rv) * 600.0), None, None]
    assert table.column("ko_illiquidity_3600s").to_pylist()[2] == pytest.approx((rv / 800.0) ** (1 / 3))
