"""The options: defaults, checks, and that every one of them changes something."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.shared.errors import ConfigError
from tests.references.markets import book, random_deals, random_rows, trades

INCLUDED = ("book_slope_ns_bid", "fill_price_buy_*", "hhi_bid", "spread_wide_frac_*", "ofi_ew_*")
BASE = FeatureConfig(vpin_bucket_volume=3.0, vpin_window_buckets=4, tick_size=0.5, include=INCLUDED)
CHANGED: dict[str, object] = {
    "compute_features": False,
    "max_levels": 4,
    "level_sets": (2, 5),
    "shape_levels": 4,
    "notionals": (500, 1_000),
    "half_lives_s": (5,),
    "bands_bps": (5.0, 20.0),
    "horizons": (1, 2),
    "enable_stateful": False,
    "ofi_levels": 3,
    "ofi_decay_alpha": 1.0,
    "use_dynamic_spread_regime": False,
    "spread_regime_window": 120,
    "spread_tight_percentile": 0.4,
    "spread_wide_percentile": 0.6,
    "tight_spread_threshold": 0.001,
    "wide_spread_threshold": 0.002,
    "kyle_lambda_window": 30,
    "enable_vpin": False,
    "vpin_bucket_volume": 1.0,
    "vpin_window_buckets": 2,
    "max_state_staleness_seconds": 1.0,
    "crossed_policy": "null",
    "require_full_window": True,
    "reset_windows_on_gap": True,
    "tick_size": None,
    "lot_size": 0.01,
    "normalise": ("mid_rank_10",),
    "feature_set": "core",
    "include": (*INCLUDED, "gini_bid"),
    "exclude": ("vpin",),
}
# Read by the transform that makes time bars; of days; tested with their families.
ELSEWHERE = {"bar_durations", "norm_days", "microprice_calibration", "hawkes_mu", "hawkes_alpha", "hawkes_beta"}


def computed(config: FeatureConfig) -> dict[str, bytes]:
    features = FeatureSet(config)
    rng = np.random.default_rng(11)
    rows = random_rows(rng, 230)
    chunk, run = book(rows, config.max_levels), trades(random_deals(rng, rows, 150))
    outputs = features.apply(features.new_state(), chunk, run)[1]
    return {name: outputs[name].tobytes() for name in outputs}


def test_every_option_has_a_case_here() -> None:
    assert set(CHANGED) | ELSEWHERE == {field.name for field in dataclasses.fields(FeatureConfig)}


@pytest.mark.parametrize("name", CHANGED)
def test_every_option_changes_columns_or_numbers_and_the_fingerprint(name: str) -> None:
    base = dataclasses.replace(BASE, include=()) if name in ("compute_features", "enable_stateful") else BASE
    other = dataclasses.replace(base, **{name: CHANGED[name]})  # type: ignore[arg-type]
    assert computed(other) != computed(BASE)
    assert FeatureSet(other).fingerprint != FeatureSet(BASE).fingerprint


def test_defaults() -> None:
    config = FeatureConfig()
    assert config.max_levels == 20
    assert config.bands_bps == (5.0, 10.0, 25.0, 50.0, 100.0)
    assert config.horizons == (1, 5, 15, 30, 60, 300, 900)
    assert config.bar_durations == (1, 5, 30, 60, 300, 900, 3600)
    assert config.vpin_bucket_volume == 1.0
    sizes = [
        len(FeatureSet(dataclasses.replace(config, feature_set=name)).columns) for name in ("core", "standard", "full")
    ]
    assert 190 <= sizes[0] <= 215
    assert 310 <= sizes[1] <= 390
    assert sizes[2] > 700


def test_lists_become_tuples_and_the_record_is_hashable() -> None:
    config = FeatureConfig(bands_bps=[5, 10], horizons=[1, 2], bar_durations=[1])  # type: ignore[arg-type]
    assert config.bands_bps == (5.0, 10.0)
    assert hash(config) == hash(dataclasses.replace(config))


def test_without_features_only_identity_and_levels_stay() -> None:
    names = [family.name for family in FeatureSet(FeatureConfig(compute_features=False)).families]
    assert names == ["identity", "levels"]


def test_without_state_only_static_families_stay() -> None:
    names = [family.name for family in FeatureSet(FeatureConfig(enable_stateful=False)).families]
    assert names == ["identity", "levels", "touch", "depth"]
    full = FeatureSet(FeatureConfig(enable_stateful=False, feature_set="full"))
    assert [family.name for family in full.families] == [*names, "cost", "shape", "microprice_stoikov", "lob_rel"]


def test_ofi_levels_beyond_the_book_do_not_exist() -> None:
    names = {column.name for column in FeatureSet(FeatureConfig(max_levels=3)).columns}
    assert "mlofi_l2" in names
    assert "mlofi_l3" not in names


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("max_levels", 0, "whole number from 1"),
        ("max_levels", 2.5, "whole number"),
        ("max_levels", True, "whole number"),
        ("ofi_levels", -1, "whole number"),
        ("ofi_decay_alpha", float("nan"), "number of at least 0"),
        ("bands_bps", (), "not empty"),
        ("bands_bps", (10.0, 5.0), "ascending"),
        ("bands_bps", (0.0, 5.0), "above 0"),
        ("bands_bps", "5", "list of numbers"),
        ("horizons", (1, 1), "different"),
        ("horizons", (0,), "whole seconds"),
        ("horizons", (1.5,), "whole seconds"),
        ("spread_tight_percentile", 0.9, "below spread_wide_percentile"),
        ("spread_wide_percentile", 1.5, "0 to 1"),
        ("kyle_lambda_window", 302, "multiple of the bar"),
        ("vpin_bucket_volume", "often", 'or "auto"'),
        ("vpin_bucket_volume", 0, "above 0"),
        ("max_state_staleness_seconds", -1.0, "above 0"),
        ("tick_size", 0.0, "above 0"),
        ("enable_vpin", "yes", "true or false"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        FeatureConfig(**{name: value})  # type: ignore[arg-type]
    assert name.split("_percentile")[0] in str(caught.value)


def test_only_unknown_families_are_refused() -> None:
    with pytest.raises(ConfigError, match="no such feature family: nope; there are: identity"):
        FeatureSet(FeatureConfig(), ["nope"])
