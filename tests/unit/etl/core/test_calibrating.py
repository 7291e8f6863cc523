"""Calibrating the micro-price on bronze."""

from pathlib import Path

import pytest

from daedalus.etl.core.calibrating import calibrate_from_lake
from daedalus.etl.core.config import FeatureConfig, FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
from daedalus.shared.errors import ConfigError
from tests.unit.etl.core.bronze import HOUR, T0, S, books, write_bronze

TICK = 0.02


def test_the_table_of_one_market_serves_it_and_no_other(tmp_path: Path) -> None:
    for seed, symbol in enumerate(("BTC/USD", "ETH/USD")):
        write_bronze(tmp_path, "orderbook", books(T0 + HOUR - 300 * S, 600, S, seed=seed), symbol=symbol)
    source = InputConfig(tmp_path)
    with pytest.raises(ConfigError, match="one market, the filter selects coinbase BTC-USD, coinbase ETH-USD"):
        calibrate_from_lake(source, FilterSpec(), TICK)
    with pytest.raises(ConfigError, match="no symbol XRP-USD"):
        calibrate_from_lake(source, FilterSpec(symbol="XRP-USD"), TICK)
    table, count = calibrate_from_lake(source, FilterSpec(symbol="BTC/USD"), TICK)
    assert (table.exchange, table.symbol, count) == ("coinbase", "BTC-USD", 600)
    config = FeatureConfig(
        max_levels=1, feature_set="core", include=("microprice_stoikov",), microprice_calibration=table
    )
    report = TransformExecutor(OrderbookFeatureTransform(config), source, OutputConfig(tmp_path / "out")).run(
        FilterSpec()
    )
    assert report.rows_out == 600
    assert [str(failure.market) for failure in report.failures] == ["coinbase ETH-USD"]
    assert "is of coinbase BTC-USD: it cannot serve coinbase ETH-USD" in str(report.failures[0].error)
