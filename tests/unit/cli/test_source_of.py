"""Which source a run reads when it is not told."""

import pytest

from daedalus.cli.etl import source_of
from daedalus.config.config import load_config
from daedalus.shared.errors import ConfigError


@pytest.fixture
def lake(tmp_path):
    def holds(*folders):
        for folder in folders:
            (tmp_path / folder).mkdir(parents=True)

    settings = load_config(overrides={"storage.base_dir": str(tmp_path)}, environ={})
    return settings, holds


def test_the_one_that_was_asked_for(lake):
    settings, holds = lake
    holds("raw/ready/ccxt/orderbook")
    assert source_of(settings, "mine", ["orderbook"]) == "mine"


def test_the_only_one_that_has_the_channel(lake):
    settings, holds = lake
    holds("raw/ready/ccxt/orderbook", "raw/ready/binance-raw/trades")
    assert source_of(settings, None, ["orderbook"]) == "ccxt"
    assert source_of(settings, None, ["trades"]) == "binance-raw"


def test_of_several_none_is_taken(lake):
    settings, holds = lake
    holds("raw/ready/ccxt/orderbook", "raw/ready/coinbase/orderbook")
    with pytest.raises(ConfigError, match="holds what ccxt and coinbase recorded: choose one with --source"):
        source_of(settings, None, ["orderbook"])


def test_features_count_where_they_are_read(lake):
    settings, holds = lake
    holds("processed/ccxt/orderbook", "processed/coinbase/quality")
    assert source_of(settings, None, ["orderbook", "trades"], are_features=True) == "ccxt"


def test_an_empty_lake_leaves_it_to_the_settings(lake, tmp_path):
    settings, _ = lake
    assert source_of(settings, None, ["orderbook"]) == "coinbase"
    kraken = {"ccxt.exchanges": {"kraken": {"channels": {"watchTrades": ["BTC/USD"]}}}}
    settings = load_config(overrides={"storage.base_dir": str(tmp_path), **kraken}, environ={})
    assert source_of(settings, None, ["orderbook"]) == "ccxt"
