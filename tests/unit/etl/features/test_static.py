"""Sections 1 to 3 of the catalogue on books worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.references.markets import Row, random_rows, touch
from tests.unit.etl.features.helpers import column, compute, last

BOOK = Row(1.0, [(99.0, 2.0), (98.0, 3.0)], [(101.0, 6.0), (102.0, 1.0), (104.0, 4.0)])
EMPTY = Row(1.0, [], [])
BID_ONLY = Row(1.0, [(99.0, 2.0)], [])


def values(row: Row, **options: object) -> dict[str, float | int | None]:
    return compute([row], **options).to_pylist()[0]


def test_touch() -> None:
    got = values(BOOK, tick_size=0.5)
    assert got["mid"] == 100.0
    assert got["spread"] == 2.0
    assert got["spread_bps"] == 200.0
    assert got["spread_ticks"] == 4.0
    assert got["microprice"] == (2.0 * 101.0 + 6.0 * 99.0) / 8.0 == 99.5
    assert got["microprice_dev_bps"] == pytest.approx(-50.0)
    assert got["imbalance_l0"] == -0.5
    assert got["imbalance_l1"] == 0.5
    assert got["imbalance_l2"] == -1.0
    assert got["imbalance_l3"] is None
    assert got["log_size_ratio_l0"] == pytest.approx(math.log(2.0 / 6.0))
    assert (got["touch_notional_bid"], got["touch_notional_ask"]) == (198.0, 606.0)
    assert got["log_mid"] == pytest.approx(math.log(100.0))
    assert (got["bid_price_l1"], got["bid_size_l1"], got["bid_price_l2"], got["bid_size_l2"]) == (98.0, 3.0, None, None)


def test_a_heavy_bid_pulls_the_microprice_to_the_ask() -> None:
    assert last([touch(1.0, 99.0, 101.0, 9.0, 1.0)], "microprice") == 100.8


def test_the_microprice_deviation_is_half_spread_times_imbalance() -> None:
    got = compute(random_rows(np.random.default_rng(1), 200))
    names = ("microprice_dev_bps", "spread_bps", "imbalance_l0")
    rows = [row for row in zip(*(got.column(name).to_pylist() for name in names), strict=True) if None not in row]
    assert len(rows) > 100
    assert all(math.isclose(dev, 0.5 * spread * imbalance, abs_tol=1e-9) for dev, spread, imbalance in rows)


def test_depth_by_levels_takes_what_is_there() -> None:
    got = values(BOOK)
    assert [got[f"depth_bid_n{k}"] for k in (1, 3, 20)] == [2.0, 5.0, 5.0]
    assert [got[f"depth_ask_n{k}"] for k in (1, 3, 20)] == [6.0, 11.0, 11.0]
    assert got["depth_notional_bid_n5"] == 99.0 * 2.0 + 98.0 * 3.0
    assert got["imbalance_n3"] == pytest.approx((5.0 - 11.0) / 16.0)


def test_level_sets_follow_max_levels() -> None:
    got = values(BOOK, max_levels=2)
    assert got["depth_ask_n1"] == 6.0
    assert "depth_ask_n3" not in got
    assert got["n_levels_ask"] == 2


def test_a_level_exactly_on_an_edge_belongs_to_the_outer_band() -> None:
    # Mid 100; the bid at 99.95 is 4.9999999999997 bps away in floats, and 5 in truth.
    row = Row(1.0, [(99.99, 1.0), (99.95, 2.0), (99.90, 4.0)], [(100.01, 8.0), (100.05, 16.0), (101.0, 32.0)])
    assert (100.0 - 99.95) / 100.0 * 1e4 < 5.0
    got = values(row)
    assert [got[f"depth_bid_b{band}"] for band in ("0_5", "5_10", "10_25")] == [1.0, 2.0, 4.0]
    assert [got[f"depth_ask_b{band}"] for band in ("0_5", "5_10", "50_100")] == [8.0, 16.0, 0.0]
    assert [got[f"depth_cum_bid_{edge}bps"] for edge in (5, 10, 25, 100)] == [1.0, 3.0, 7.0, 7.0]
    assert got["imbalance_b0_5"] == pytest.approx((1.0 - 8.0) / 9.0)
    assert got["imbalance_cum_10bps"] == pytest.approx((3.0 - 24.0) / 27.0)
    assert got["imbalance_b50_100"] is None
    assert (got["book_covers_bid_100bps"], got["book_covers_ask_100bps"]) == (0, 1)


def test_bands_are_named_by_their_edges() -> None:
    got = values(BOOK, bands_bps=(2.5, 300.0))
    assert (got["depth_bid_b0_2.5"], got["depth_bid_b2.5_300"], got["depth_cum_ask_300bps"]) == (0.0, 5.0, 7.0)
    assert (got["book_covers_bid_300bps"], got["book_covers_ask_300bps"]) == (0, 1)


def test_one_side_empty() -> None:
    got = values(BID_ONLY)
    for name in ("mid", "spread", "spread_bps", "microprice", "log_mid", "depth_bid_b0_5", "imbalance_cum_5bps"):
        assert got[name] is None, name
    assert (got["depth_bid_n5"], got["depth_ask_n5"], got["depth_notional_ask_n5"]) == (2.0, 0.0, 0.0)
    assert (got["imbalance_l0"], got["imbalance_n5"]) == (1.0, 1.0)
    assert (got["touch_notional_bid"], got["touch_notional_ask"]) == (198.0, None)
    assert got["book_covers_bid_100bps"] is None
    assert (got["is_one_sided"], got["is_empty"]) == (1, 0)


def test_both_sides_empty() -> None:
    got = values(EMPTY)
    kept = {name for name, value in got.items() if value is not None}
    assert {"ts", "is_empty", "is_reset", "n_levels_bid"} <= kept
    assert not {
        name
        for name in kept
        if name.startswith(("depth_", "imbalance_", "mid", "spread", "bid_price"))
        and not name.startswith(("mid_tick_dir", "mid_change_rate"))
    }
    assert (got["is_empty"], got["is_one_sided"], got["n_levels_bid"]) == (1, 0, 0)


def test_crossed_and_locked_books_are_computed_as_they_are_and_flagged() -> None:
    crossed, locked = values(touch(1.0, 102.0, 98.0)), values(touch(1.0, 100.0, 100.0))
    assert (crossed["is_crossed"], crossed["is_locked"], crossed["spread"]) == (1, 0, -4.0)
    assert (locked["is_crossed"], locked["is_locked"], locked["spread_bps"]) == (0, 1, 0.0)
    assert crossed["depth_bid_b0_5"] == crossed["depth_ask_b0_5"] == 1.0


def test_identity() -> None:
    rows = [
        touch(1.0, 99.0, 101.0),
        touch(1.0, 99.0, 101.0),
        touch(1.5, 99.0, 101.0, 2.0),
        touch(1.2, 99.0, 101.0, 2.0),
        touch(4.0, 99.0, 101.0, 2.0),
    ]
    got = compute(rows)
    assert got.column("dt_s").to_pylist() == [None, 0.0, 0.5, 0.0, 2.5]
    assert got.column("book_age_s").to_pylist() == [0.0, 0.0, 0.0, 0.0, 2.5]
    assert got.column("is_reset").to_pylist() == [1, 0, 0, 0, 0]
    assert got.column("is_late").to_pylist() == [0, 0, 0, 1, 0]
    assert column(rows, "ts")[3] == rows[2].ts
    assert column([touch(1.0, 99.0, 101.0), EMPTY, EMPTY], "book_age_s") == [0.0, 0.0, 0.0]
