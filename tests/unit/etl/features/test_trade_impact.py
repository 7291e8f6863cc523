"""Kyle's lambda and VPIN (section 8), worked by hand, and which trades a row may see (T5)."""

from __future__ import annotations

import math

import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.registry import families
from tests.references.markets import Deal, Row, touch
from tests.unit.etl.features.helpers import column

DAY = 86_400.0


def mids(values: list[float], step: float = 5.0, start: float = 0.0) -> list[Row]:
    """Return one row per bar, with these mids."""
    return [touch(start + k * step, mid - 1.0, mid + 1.0) for k, mid in enumerate(values)]


def test_lambda_is_the_slope_of_the_change_of_mid_on_signed_volume() -> None:
    rows = mids([100.0, 102.0, 104.0, 103.0, 103.0])
    deals = [Deal(1.0, 1.0), Deal(6.0, 2.0), Deal(11.0, 1.0), Deal(12.0, 0.5), Deal(16.0, 3.0, -1)]
    # Bars: x = 1, 2, 1.5, -3 with changes null, 2, 2, -1; the fifth bar is still open.
    got = column(rows, "kyle_lambda", deals)
    assert got[:4] == [None] * 4
    # Around their means 1/6 and 1: Sxx = 91/6, Sxy = 19/2, SST = 6, so R2 = 90.25 / 91 and SSE = 0.75 * 6 / 91.
    assert got[4] == pytest.approx(57.0 / 91.0)
    assert column(rows, "kyle_lambda_r2", deals)[4] == pytest.approx(90.25 / 91.0)
    assert column(rows, "kyle_lambda_t", deals)[4] == pytest.approx(math.sqrt(90.25 / 0.75))


def test_bars_without_trades_are_observations() -> None:
    rows = mids([100.0, 101.0, 101.0, 101.0, 101.0, 101.0])
    deals = [Deal(6.0, 4.0, -1)]
    # Changes 1, 0, 0, 0 on x = -4, 0, 0, 0.
    assert column(rows, "kyle_lambda", deals)[-1] == pytest.approx(-0.25)


def test_a_trade_on_the_edge_belongs_to_the_next_bar_and_comes_before_the_row() -> None:
    rows = mids([100.0, 101.0, 103.0, 102.0, 104.0, 104.0])
    inside = [Deal(5.0, 1.0), Deal(10.0, 5.0), Deal(15.0, 2.0, -1)]
    later = [Deal(deal.at + 1.0, deal.amount, deal.side) for deal in inside]
    assert column(rows, "kyle_lambda", inside) == column(rows, "kyle_lambda", later)


def test_a_reset_makes_the_change_of_its_bar_null() -> None:
    rows = mids([100.0, 101.0, 103.0, 150.0, 151.0, 152.0, 153.0])
    rows[3] = Row(15.0, rows[3].bids, rows[3].asks, reset=True)
    deals = [Deal(6.0, 1.0), Deal(11.0, 2.0), Deal(16.0, 99.0), Deal(21.0, 3.0), Deal(26.0, 4.0)]
    # Observations left: (1, 1), (2, 2), (3, 1), (4, 1).
    x, y = [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 1.0, 1.0]
    slope = sum((a - 2.5) * (b - 1.25) for a, b in zip(x, y, strict=True)) / 5.0
    assert column(rows, "kyle_lambda", deals)[-1] == pytest.approx(slope)


def test_the_window_is_counted_in_bars() -> None:
    rows = mids([100.0, 105.0, 101.0, 103.0, 102.0, 104.0])
    deals = [Deal(5.0 * k + 1.0, float(k), 1 if k % 2 else -1) for k in range(6)]
    short = column(rows, "kyle_lambda", deals, kyle_lambda_window=15)[-1]
    assert short == column(rows[1:], "kyle_lambda", deals[2:], kyle_lambda_window=15)[-1]
    assert short != column(rows, "kyle_lambda", deals)[-1]


def test_vpin_buckets_split_trades() -> None:
    rows = [touch(float(t), 99.0, 101.0) for t in range(6)]
    deals = [Deal(0.5, 4.0), Deal(1.5, 8.0, -1), Deal(2.5, 6.0, 0), Deal(3.5, 2.0)]
    options = {"vpin_bucket_volume": 10.0, "vpin_window_buckets": 2}
    # First bucket: 4 bought, 6 of 8 sold: |4 - 6| = 2. Second: 2 sold, 6 unknown (half and half), 2 bought: 0.
    assert column(rows, "vpin", deals, **options) == [None, None, None, None, pytest.approx(0.1), pytest.approx(0.1)]
    assert column(rows, "vpin_bucket_fill", deals, **options) == pytest.approx([0.0, 0.4, 0.2, 0.8, 0.0, 0.0])
    assert column(rows, "vpin_bucket_dur_s", deals, **options) == [None, None, 1.0, 1.0, 2.0, 2.0]


def test_one_trade_may_fill_many_buckets() -> None:
    rows = [touch(float(t), 99.0, 101.0) for t in range(3)]
    options = {"vpin_bucket_volume": 1.0, "vpin_window_buckets": 3}
    assert column(rows, "vpin", [Deal(0.5, 3.5)], **options) == [None, 1.0, 1.0]
    assert column(rows, "vpin_bucket_fill", [Deal(0.5, 3.5)], **options)[1] == 0.5
    huge = column(rows, "vpin_bucket_fill", [Deal(0.5, 1e9 + 0.25)], **options)
    assert huge[1] == pytest.approx(0.25)


def test_auto_takes_a_fiftieth_of_the_day_before_when_a_bucket_opens() -> None:
    rows = [touch(t, 99.0, 101.0) for t in (10.0, DAY - 10.0, DAY + 10.0, DAY + 20.0, 3 * DAY + 10.0, 3 * DAY + 20.0)]
    deals = [Deal(5.0, 60.0), Deal(DAY - 20.0, 40.0), Deal(DAY + 5.0, 1.0), Deal(DAY + 15.0, 2.0), Deal(3 * DAY, 9.0)]
    options = {"vpin_bucket_volume": "auto", "vpin_window_buckets": 1}
    # Day 1 has none; day 2 takes 100 / 50 = 2; day 3 had no trades, so on day 4 only the open bucket fills.
    assert column(rows, "vpin", deals, **options) == [None, None, None, 1.0, 1.0, 1.0]
    assert column(rows, "vpin_bucket_fill", deals, **options) == [None, None, 0.5, 0.5, None, None]


def test_vpin_is_not_there_when_switched_off() -> None:
    declared = families(FeatureConfig(feature_set="full", enable_vpin=False))
    assert not [c.name for family in declared for c in family.columns if c.name.startswith("vpin")]


def seen(rows: list[Row], deals: list[Deal]) -> list[float]:
    """Return the volume that every row has seen, from the fill of one large bucket."""
    fills = column(rows, "vpin_bucket_fill", deals, vpin_bucket_volume=1000.0)
    return [round(1000.0 * float(fill or 0.0), 6) for fill in fills]


def test_a_row_sees_trades_of_its_own_time_but_none_later() -> None:
    rows = [touch(t, 99.0, 101.0) for t in (1.0, 2.0, 2.0, 3.0)]
    assert seen(rows, [Deal(1.000001, 1.0), Deal(2.0, 10.0), Deal(2.5, 100.0)]) == [0.0, 11.0, 11.0, 111.0]


def test_a_row_sees_no_trade_that_was_received_after_it() -> None:
    rows = [touch(t, 99.0, 101.0) for t in (1.0, 2.0, 3.0)]
    assert seen(rows, [Deal(0.5, 1.0, delay=0.6), Deal(1.5, 10.0, delay=0.5)]) == [0.0, 11.0, 11.0]


def test_trades_keep_their_order() -> None:
    rows = [touch(t, 99.0, 101.0) for t in (1.0, 2.0, 3.0)]
    # The first is from the future of rows 1 and 2, so the second, though older, waits behind it.
    assert seen(rows, [Deal(2.5, 1.0, delay=-2.0), Deal(0.6, 10.0)]) == [0.0, 0.0, 11.0]


def test_a_receive_clock_that_steps_back_blocks_nothing() -> None:
    rows = [Row(t, [(99.0, 1.0)], [(101.0, 1.0)], delay=-50.0) for t in (2.0, 3.0)]
    # The first trade was stamped before the clock went back by 50 s; the second shows that it had arrived.
    assert seen(rows, [Deal(0.5, 1.0), Deal(0.6, 10.0, delay=-50.0)]) == [11.0, 11.0]


def test_invalid_trades_are_left_out() -> None:
    rows = [touch(t, 99.0, 101.0) for t in (1.0, 2.0)]
    bad = [Deal(1.5, -1.0), Deal(1.5, float("nan")), Deal(1.5, float("inf")), Deal(1.5, 5.0, price=0.0)]
    assert seen(rows, [*bad, Deal(1.5, 2.0)]) == [0.0, 2.0]
