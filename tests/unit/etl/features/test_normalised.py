"""`normalise`: which columns it makes, and what it refuses."""

from __future__ import annotations

import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.shared.errors import ConfigError
from tests.references.markets import book, touch


def shown(*templates: str, **options: object) -> list[str]:
    config = FeatureConfig(normalise=templates, feature_set="core", **options)  # type: ignore[arg-type]
    return [column.name for column in FeatureSet(config).columns]


def test_what_is_asked_for_is_shown_in_every_set_and_computed_with_what_it_needs() -> None:
    names = shown("hhi_*_z_300s", "hhi_bid_rank_100", "mid_ewz_hl60s")
    assert names[-4:] == ["hhi_bid_z_300s", "hhi_ask_z_300s", "hhi_bid_rank_100", "mid_ewz_hl60s"]
    assert "hhi_bid" not in names
    assert "mid_ewz_hl60s" not in shown("mid_ewz_hl60s", exclude=("*_ewz_*",))


def test_a_template_that_says_nothing_is_refused_with_an_example() -> None:
    for wrong in ("mid", "mid_z_300", "mid_rank_0", "_z_5s", "mid_ewz_hl1.5s"):
        with pytest.raises(ConfigError, match=r"normalise is .*spread_bps_z_300s"):
            shown(wrong)
    with pytest.raises(ConfigError, match=r"'nothing' is no column.*features list"):
        shown("nothing_z_300s")
    with pytest.raises(ConfigError, match=r"'ofi_z_60s', which is a feature of its own"):
        shown("ofi_z_60s", horizons=(60,))


def test_by_hand() -> None:
    mids = [100.0, 102.0, 101.0, 101.0, 110.0]
    rows = [touch(float(k), mid - 1, mid + 1) for k, mid in enumerate(mids)]
    features = FeatureSet(FeatureConfig(max_levels=1, normalise=("mid_z_3s", "mid_rank_2", "mid_ewz_hl1s")))
    outputs = features.to_arrow(features.apply(features.new_state(), book(rows, 1))[1])
    # Rows strictly before, in (t - 3, t]: the two before it.
    half = 0.5
    assert outputs.column("mid_z_3s").to_pylist()[:4] == [
        None,
        None,
        pytest.approx(0.0),
        pytest.approx(-half / half**half),
    ]
    assert outputs.column("mid_rank_2").to_pylist() == [None, 1.0, 0.5, 0.5, 1.0]
    # Before row 2: 100 with weight 1/2 and 102 with weight 1 (as of the last): mean 101 1/3, variance
    # (1/2 * 16/9 + 4/9) / (3/2 - (5/4) / (3/2)) = 2.
    assert outputs.column("mid_ewz_hl1s").to_pylist()[2] == pytest.approx((101 - 304 / 3) / 2**half)
