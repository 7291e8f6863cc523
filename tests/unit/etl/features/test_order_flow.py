"""Order-flow imbalance and changes per row (section 4), worked by hand."""

from __future__ import annotations

import math

import pytest

from tests.references.markets import Row, touch
from tests.unit.etl.features.helpers import column, compute, last

BEFORE = touch(1.0, 100.0, 102.0, 5.0, 7.0)


@pytest.mark.parametrize(
    ("bid", "bid_size", "expected"),
    [(101.0, 3.0, 3.0), (100.0, 3.0, -2.0), (100.0, 9.0, 4.0), (99.0, 3.0, -5.0)],
    ids=["rose: the new size", "unchanged: the difference", "unchanged, grew", "fell: the old size"],
)
def test_bid_side(bid: float, bid_size: float, expected: float) -> None:
    rows = [BEFORE, touch(2.0, bid, 102.0, bid_size, 7.0)]
    assert last(rows, "ofi_bid") == expected
    assert last(rows, "ofi_ask") == 0.0
    assert last(rows, "ofi") == last(rows, "mlofi_l0") == expected


@pytest.mark.parametrize(
    ("ask", "ask_size", "expected"),
    [(103.0, 4.0, -7.0), (102.0, 4.0, -3.0), (102.0, 9.0, 2.0), (101.0, 4.0, 4.0)],
    ids=["rose: the old size leaves", "unchanged: the difference", "unchanged, grew", "fell: the new size"],
)
def test_ask_side(ask: float, ask_size: float, expected: float) -> None:
    rows = [BEFORE, touch(2.0, 100.0, ask, 5.0, ask_size)]
    assert last(rows, "ofi_ask") == expected
    assert last(rows, "ofi") == -expected


def test_a_missing_level_has_size_0_at_an_infinite_price() -> None:
    full = Row(1.0, [(100.0, 5.0), (99.0, 2.0)], [(102.0, 7.0), (103.0, 3.0)])
    thin = Row(2.0, [(100.0, 5.0)], [(102.0, 7.0)])
    back = Row(3.0, [(100.0, 5.0), (98.0, 4.0)], [(102.0, 7.0)])
    rows = [full, thin, back]
    # Level 1: the bid's 2 leave and so do the ask's 3; then 4 appear on the bid. Level 2 never exists.
    assert column(rows, "mlofi_l1") == [None, -2.0 + 3.0, 4.0]
    assert column(rows, "mlofi_l2") == [None, 0.0, 0.0]
    assert column(rows, "mlofi_sum") == [None, 1.0, 4.0]
    assert column(rows, "mlofi_decay")[1] == pytest.approx(math.exp(-0.5))
    assert column(rows, "mlofi_decay", ofi_decay_alpha=2.0)[2] == pytest.approx(4.0 * math.exp(-2.0))


def test_an_empty_side_comes_and_goes() -> None:
    rows = [BEFORE, Row(2.0, [], [(102.0, 7.0)]), Row(3.0, [], []), touch(4.0, 100.0, 102.0, 1.0, 2.0)]
    assert column(rows, "ofi") == [None, -5.0, 7.0, 1.0 - 2.0]
    assert column(rows, "ofi_notional") == [None, None, None, -101.0]
    assert column(rows, "log_return") == [None, None, None, None]
    assert column(rows, "bid_move") == [None, None, None, None]
    assert column(rows, "queue_depleted_bid") == [None, 1, 0, 0]
    assert column(rows, "queue_depleted_ask") == [None, 0, 1, 0]


def test_levels_are_ranks_of_occupied_prices() -> None:
    rows = [Row(1.0, [(100.0, 5.0), (99.0, 2.0)], []), Row(2.0, [(101.0, 1.0), (100.0, 5.0)], [])]
    # The second best rose from 99 to 100: its new size counts, though nothing happened at 100.
    assert last(rows, "mlofi_l0") == 1.0
    assert last(rows, "mlofi_l1") == 5.0


def test_rows_of_one_time_are_events_of_their_own() -> None:
    rows = [BEFORE, touch(2.0, 101.0, 102.0, 3.0, 7.0), touch(2.0, 100.0, 102.0, 5.0, 7.0)]
    assert column(rows, "ofi") == [None, 3.0, -3.0]
    assert column(rows, "mid_velocity_bps_s")[2] is None


def test_a_reset_forgets_the_row_before() -> None:
    after = Row(2.0, [(101.0, 3.0)], [(102.0, 7.0)], reset=True)
    rows = [BEFORE, after, touch(3.0, 101.0, 102.0, 4.0, 7.0)]
    assert column(rows, "ofi") == [None, None, 1.0]
    assert column(rows, "is_reset") == [1, 1, 0]
    assert column(rows, "ofi_sum_60s") == [0.0, 0.0, 1.0]
    assert column(rows, "dspread_bps")[1] is None


@pytest.mark.parametrize(("silence", "expected"), [(300.0, 4.0), (300.000001, None)])
def test_a_silence_of_exactly_the_limit_is_kept(silence: float, expected: float | None) -> None:
    rows = [BEFORE, touch(1.0 + silence, 100.0, 102.0, 9.0, 7.0)]
    assert last(rows, "ofi") == expected
    assert last(rows, "is_reset") == int(expected is None)
    assert last(rows, "dt_s") == (None if expected is None else 300.0)


def test_returns_velocity_and_acceleration() -> None:
    rows = [touch(0.0, 99.0, 101.0), touch(2.0, 101.0, 103.0), touch(4.0, 100.0, 102.0), touch(4.0, 100.0, 104.0)]
    r1, r2 = math.log(102.0 / 100.0), math.log(101.0 / 102.0)
    got = compute(rows, tick_size=0.5)
    assert got.column("log_return").to_pylist()[1:3] == pytest.approx([r1, r2])
    assert got.column("mid_velocity_bps_s").to_pylist()[1:3] == pytest.approx([5000 * r1, 5000 * r2])
    assert got.column("mid_accel_bps_s2").to_pylist()[:2] == [None, None]
    assert got.column("mid_accel_bps_s2")[2].as_py() == pytest.approx((5000 * r2 - 5000 * r1) / 2.0)
    assert got.column("mid_velocity_bps_s")[3].as_py() is None
    assert got.column("dmid_ticks").to_pylist() == [None, 4.0, -2.0, 2.0]
    assert got.column("bid_move").to_pylist() == [None, 1, -1, 0]
    assert got.column("queue_depleted_bid").to_pylist() == [None, 0, 1, 0]
    assert got.column("queue_depleted_ask").to_pylist() == [None, 1, 0, 1]


def test_the_direction_of_mid_is_carried_over_resets() -> None:
    rows = [touch(0.0, 99.0, 101.0), touch(1.0, 98.0, 100.0), touch(2.0, 98.0, 100.0), Row(3.0, [], [])]
    rows += [touch(4.0, 110.0, 112.0), touch(999.0, 120.0, 122.0), touch(1000.0, 121.0, 123.0)]
    assert column(rows, "mid_tick_dir") == [0, -1, -1, -1, -1, -1, 1]


def test_changes_of_depth_and_imbalance() -> None:
    rows = [Row(0.0, [(99.0, 1.0), (98.0, 1.0)], [(101.0, 3.0)]), touch(1.0, 99.0, 101.0, 3.0, 3.0)]
    assert last(rows, "ddepth_bid_n5") == 1.0
    assert last(rows, "ddepth_ask_n5") == 0.0
    assert last(rows, "dimbalance_l0") == 0.5
    assert last(rows, "dspread_bps") == 0.0
    assert last(rows, "micro_return") == pytest.approx(math.log(100.0 / 99.5))
