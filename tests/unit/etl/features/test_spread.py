"""The regime of the spread and its shares (section 5), worked by hand."""

from __future__ import annotations

import pytest

from tests.references.markets import Row, touch
from tests.unit.etl.features.helpers import column


def spreads(values: list[float | None], step: float = 0.1) -> list[Row]:
    """Return rows with these spreads in bps (mid 10,000), None: an empty book."""
    rows = []
    for k, bps in enumerate(values):
        half = 0.0 if bps is None else bps / 2
        rows.append(Row(k * step, [], []) if bps is None else touch(k * step, 10_000.0 - half, 10_000.0 + half))
    return rows


def test_no_regime_before_a_hundred_rows() -> None:
    got = column(spreads([2.0] * 102), "spread_regime")
    assert got[:100] == [None] * 100
    assert got[100:] == [-1, -1]


def test_tight_wins_ties_and_the_current_row_is_not_in_its_own_reference() -> None:
    base = [float(1 + k % 5) for k in range(100)]
    assert column(spreads([*base, 5.0]), "spread_regime")[-1] == 1
    assert column(spreads([*base, 3.0]), "spread_regime")[-1] == 0
    assert column(spreads([*base, 1.0]), "spread_regime")[-1] == -1
    assert column(spreads([2.0] * 100 + [2.0]), "spread_regime")[-1] == -1
    assert column(spreads([2.0] * 100 + [2.5]), "spread_regime")[-1] == 1


def test_the_reference_is_the_last_rows_only() -> None:
    rows = spreads([1.0] * 200 + [9.0] * 120 + [9.0])
    assert column(rows, "spread_regime", spread_regime_window=120)[-1] == -1
    assert column(rows, "spread_regime", spread_regime_window=300)[-1] == 1


def test_rows_without_a_spread_have_no_regime_but_count_as_rows() -> None:
    rows = spreads([2.0, None] * 50 + [None, 2.0])
    assert column(rows, "spread_regime")[-2:] == [None, -1]


def test_shares_of_rows_under_fixed_thresholds() -> None:
    rows = spreads([1.0, 0.5, 10.0, None, 5.0], 1.0)
    assert column(rows, "spread_tight_frac_60s", horizons=(60,)) == pytest.approx([1.0, 1.0, 2 / 3, 2 / 3, 0.5])
    assert column(rows, "spread_wide_frac_60s", horizons=(60,)) == pytest.approx([0.0, 0.0, 1 / 3, 1 / 3, 0.25])
    assert column(rows, "spread_tight_frac_1s", horizons=(1,))[3] is None
    five = column(rows, "spread_tight_frac_60s", horizons=(60,), tight_spread_threshold=0.0005)
    assert five[-1] == pytest.approx(0.75)


def test_shares_of_regimes_skip_rows_without_one() -> None:
    base = [float(1 + k % 5) for k in range(100)]
    rows = spreads([*base, 5.0, 1.0, 3.0, 1.0])
    assert column(rows, "spread_regime_tight_frac_60s", horizons=(60,))[-1] == pytest.approx(0.5)
    assert column(rows, "spread_regime_wide_frac_60s", horizons=(60,))[-1] == pytest.approx(0.25)
    assert column(rows, "spread_regime_tight_frac_60s", horizons=(60,))[50] is None
