"""Recovery of a depleted touch and what a spike leaves behind, by hand."""

from __future__ import annotations

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from tests.references.markets import Row, book, touch

FAMILIES = ["recovery", "depth_variance", "depth_moments", "spread_moments"]
FEATURES = FeatureSet(FeatureConfig(max_levels=1, horizons=(5,), feature_set="full"), FAMILIES)


def column(rows: list[Row], name: str) -> list[float | None]:
    made = FEATURES.to_arrow(FEATURES.apply(FEATURES.new_state(), book(rows, 1))[1])
    values: list[float | None] = made.column(name).to_pylist()
    return values


def test_a_depleted_bid_recovers_at_nine_tenths_of_its_minute() -> None:
    rows = [
        touch(0.0, 99.0, 101.0, 100.0),  # a minute old when the bid falls: no part of its mean
        touch(10.0, 99.0, 101.0, 2.0),
        touch(60.0, 98.0, 101.0, 1.7),  # the bid fell; the goal is 0.9 * 2
        touch(61.5, 98.0, 101.0, 1.8),
        touch(62.0, 98.0, 101.0, 0.1),
        touch(63.0, 97.0, 101.0, 9.0),  # recovered at once
    ]
    assert column(rows, "recovery_s_bid") == [None, None, None, 1.5, 1.5, 0.0]
    assert column(rows, "recovery_s_ask") == [None] * 6


def test_a_depletion_while_recovering_starts_again_and_a_reset_forgets_it() -> None:
    rows = [
        touch(0.0, 99.0, 101.0, 1.0, 4.0),
        touch(1.0, 99.0, 102.0, 1.0, 1.0),
        touch(2.0, 99.0, 103.0, 1.0, 1.0),  # again: 0.9 of the mean of 4 and 1
        touch(3.0, 99.0, 103.0, 1.0, 3.0),
        Row(4.0, [(99.0, 1.0)], [(103.0, 3.0)], reset=True),
        touch(5.0, 99.0, 103.0, 1.0, 3.0),
    ]
    assert column(rows, "recovery_s_ask") == [None, None, None, 1.0, None, None]


def test_a_side_without_size_in_the_minute_before_never_recovers() -> None:
    rows = [touch(0.0, 99.0, 101.0), touch(70.0, 98.0, 101.0, 5.0), touch(71.0, 98.0, 101.0, 9.0)]
    assert column(rows, "recovery_s_bid") == [None, None, None]


def test_constant_rows_have_no_deviation_after_a_spike() -> None:
    rows = [touch(float(k), 99.0, 101.0, 1.3 if k != 3 else 1e9, 0.7) for k in range(12)]
    assert column(rows, "depth_var_n5_5s")[8:] == [0.0] * 4
    assert column(rows, "depth_cv_n5_5s")[8:] == [0.0] * 4


def test_a_z_score_against_constant_rows_is_null_after_a_spike() -> None:
    rows = [touch(float(k), 99.0, 101.0 if k not in (3, 11) else 1e9, 1.3, 0.7) for k in range(12)]
    assert column(rows, "spread_z_5s")[9:] == [None] * 3
