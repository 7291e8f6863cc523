"""Sets, what is included and excluded, and that only that is computed; and the pages made from the declarations."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from daedalus.cli.features import app
from daedalus.etl.features.catalogue import render_column, render_list
from daedalus.etl.features.config import FEATURE_SETS, FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.shared.errors import ConfigError


def names(**options: object) -> list[str]:
    return [column.name for column in FeatureSet(FeatureConfig(**options)).columns]  # type: ignore[arg-type]


def test_each_set_has_the_one_before() -> None:
    core, standard, full = (set(names(feature_set=name)) for name in FEATURE_SETS)
    assert core < standard < full
    assert {"ts", "mid", "bid_price_l19", "ofi_sum_60s", "tfi_60s", "vpin", "kyle_lambda_t", "is_reset"} <= core


def test_include_and_exclude_take_families_columns_and_patterns() -> None:
    got = names(
        feature_set="core", include=("hhi_*", "rv_60s", "decayed_*"), exclude=("vpin", "levels", "imbalance_l?")
    )
    assert {"hhi_bid", "hhi_ask", "rv_60s", "intensity_ratio", "imbalance_l10", "imbalance_n1"} <= set(got)
    assert not {"vpin", "bid_price_l0", "imbalance_l3", "rv_5s"} & set(got)
    assert "ts" in names(exclude=("identity",))


def test_only_what_is_selected_and_what_it_needs_is_computed() -> None:
    everything = tuple(family.name for family in FeatureSet(FeatureConfig(feature_set="full")).families)
    hidden = tuple(name for name in everything if name not in ("trade_rows", "trade_flow"))
    features = FeatureSet(FeatureConfig(feature_set="core", exclude=hidden))
    assert [family.name for family in features.families] == ["identity", "touch", "trade_rows", "trade_flow"]
    assert "mid" not in {column.name for column in features.columns}


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_name_of_nothing_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} has 'nothing_\\*', which is no family"):
        names(**{key: ("nothing_*",)})


def test_pages() -> None:
    text = render_column(FeatureConfig(), "kyle_lambda")
    assert "float64, quote/base" in text
    assert "smallest set with it  core" in text
    assert "205 columns" not in render_list(FeatureConfig(feature_set="core", exclude=("vpin",)))
    with pytest.raises(ConfigError, match="no feature"):
        render_column(FeatureConfig(), "nothing")


def test_commands() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["list", "--feature-set", "core"])
    assert shown.exit_code == 0
    assert "kyle_lambda_r2" in shown.output
    assert "meaning" in runner.invoke(app, ["show", "mid"]).output
    tickers = runner.invoke(app, ["list", "--table", "ticker", "--feature-set", "full"]).output
    assert "funding_z" in tickers and "kyle_lambda" not in tickers
    shown = runner.invoke(app, ["show", "tfi_60s"]).output
    assert "table       orderbook" in shown and "table       trades" in shown
