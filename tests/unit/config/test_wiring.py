"""Every key reaches the code that it names, and what the wiring hands out fits the constructors."""

import inspect
from functools import partial

import pytest
from hypothesis import given

from daedalus.cli import monitoring, stores, sync_options, wiring
from daedalus.config.config import DaedalusConfig, load_config
from daedalus.config.keys import Key
from daedalus.shared.errors import ConfigError
from daedalus.storage.factory import BACKENDS
from tests.unit.config.values import BASE, flag_of, leaves, name_of, other_value, strategy

#: All stores of the settings.
STORES = ("ingestion_storage", "etl_storage_input", "etl_storage_output", "sync.source", "sync.destination")
FUNCTIONS = {
    "collector": wiring.collector_options,
    "source": lambda c: wiring.source_options(c, "coinbase"),
    "rotations": wiring.rotations,
    "ccxt": lambda c: wiring.source_options(c, "ccxt"),
    "writer": wiring.writer_options,
    "format": lambda c: c.ingestion.raw_format,
    "retention": wiring.retention_options,
    "pipeline": wiring.pipeline_options,
    "features": wiring.feature_options,
    "bars": wiring.bar_options,
    **{f"{table} on": partial(wiring.require_enabled, transform=table) for table in wiring.TABLES},
    "bars on": lambda c: wiring.require_enabled(c, "bars"),
    "input": lambda c: wiring.input_options(c, "coinbase"),
    **{f"{table} out": partial(wiring.output_options, source="coinbase", transform=table) for table in wiring.TABLES},
    "bars out": lambda c: wiring.output_options(c, "coinbase", "bars"),
    "paths": lambda c: wiring.etl_paths(c, "coinbase"),
    "sync": sync_options.sync_options,
    "sync again": lambda c: (c.storage.sync.interval_seconds, c.storage.sync.compact_before_upload),
    "stores": lambda c: [
        (stores.section(c, name).backend, *(stores.store_options(c, name, backend) for backend in BACKENDS))
        for name in STORES
    ],
    "watch": lambda c: [wiring.watch_options(c, is_local) for is_local in (True, False)],
    "monitoring": monitoring.monitoring_options,
    "state": wiring.state_dir,
    "logs": wiring.logging_options,
}


def everything(config: DaedalusConfig) -> dict[str, object]:
    """All that the wiring makes of the settings; a refusal counts by its words."""
    made: dict[str, object] = {}
    for name, function in FUNCTIONS.items():
        try:
            made[name] = function(config)
        except ConfigError as error:
            made[name] = str(error)
    return made


def load(flags: dict[str, object]) -> DaedalusConfig:
    return load_config(overrides={**BASE, **flags}, environ={}, default_path="/nonexistent")


@pytest.mark.parametrize("key", leaves(), ids=name_of)
def test_every_key_changes_what_it_names(key: Key) -> None:
    before, after = load({}), load({flag_of(key): other_value(key)})
    assert everything(before) != everything(after), f"{name_of(key)} changes nothing"


def test_equal_settings_make_equal_things() -> None:
    assert everything(load({})) == everything(load({})), "so the test above would pass for any key"


def parameters(constructor: type) -> set[str]:
    return set(inspect.signature(constructor).parameters)


def test_options_are_parameters_of_the_constructors() -> None:
    from daedalus.etl.core.config import FeatureConfig, InputConfig, OutputConfig
    from daedalus.etl.transforms.bars import BarAggregationTransform
    from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
    from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
    from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
    from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter

    config = load({})
    assert wiring.collector_options(config).keys() <= parameters(CoinbaseCollector)
    for options in wiring.ccxt_options(config).values():
        assert options.keys() <= parameters(CcxtCollector)
    assert wiring.pipeline_options(config, "coinbase").keys() <= parameters(IngestionPipeline)
    assert wiring.writer_options(config).keys() <= parameters(StreamingParquetWriter)
    assert wiring.bar_options(config).keys() <= parameters(BarAggregationTransform)
    assert wiring.feature_options(config).keys() <= parameters(FeatureConfig)
    assert InputConfig(**wiring.input_options(config, "coinbase"))
    assert OutputConfig(**wiring.output_options(config, "coinbase", "bars"))


def test_paths_are_those_of_the_etl() -> None:
    from daedalus.etl.core.config import InputConfig, OutputConfig

    flags = {f"storage.paths.tier_{name}": name[:3] for name in ("raw", "features", "aggregates")}
    config = load({**flags, "storage.base_dir": "lake"})
    read = InputConfig(**wiring.input_options(config, "coinbase"))
    written = OutputConfig(**wiring.output_options(config, "coinbase", "orderbook"))
    paths = wiring.etl_paths(config, "coinbase")
    assert read.bronze("trades") == paths.bronze / "trades"
    assert read.bronze("trades").local_path == wiring.recording_path(config, "coinbase") / "trades"
    assert read.silver("orderbook") == written.silver("orderbook") == paths.silver["orderbook"]
    assert written.gold() == paths.gold


def test_defaults_of_the_features_are_the_same_in_both_places() -> None:
    from daedalus.etl.core.config import FeatureConfig

    assert FeatureConfig(**wiring.feature_options(load({}))) == FeatureConfig()


OPTIONS = [key for key in leaves() if "processor_options" in key.path]


@pytest.mark.parametrize("key", OPTIONS, ids=lambda key: key.path[-1])
def test_what_the_settings_allow_the_features_take(key: Key) -> None:
    from daedalus.etl.core.config import FeatureConfig

    @given(strategy(key))
    def check(value: object) -> None:
        try:
            config = load({flag_of(key): value})
        except ConfigError:
            return  # a rule about two keys
        FeatureConfig(**wiring.feature_options(config))

    check()


def test_nothing_to_record_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"coinbase\.symbols is empty; set it in .*config init"):
        wiring.source_options(load({"coinbase.symbols": []}), "coinbase")


def test_exchanges_that_watch_nothing_are_named() -> None:
    with pytest.raises(ConfigError, match=r"ccxt\.exchanges is empty; set it in .*config init"):
        wiring.source_options(load_config(environ={}, default_path="/nonexistent"), "ccxt")
    with pytest.raises(ConfigError, match=r"ccxt\.exchanges\.kraken\.channels: is empty: .*watchTrades"):
        wiring.source_options(load({"ccxt.exchanges.kraken.channels": {"watchTrades": []}}), "ccxt")


def test_unusable_names_everything_at_once() -> None:
    config = load({"storage.ingestion_storage.backend": "s3", "ingestion.raw_format": "ndjson"})
    assert wiring.unusable(config) == [
        "command line: storage.ingestion_storage.backend: recordings are written to a local disk, not to s3; set local,"
        " and let `daedalus sync` copy them"
    ]


def test_a_store_that_names_no_directory_uses_the_common_one() -> None:
    config = load({"storage.base_dir": "lake", "storage.ingestion_storage.base_dir": "sd-card"})
    assert str(wiring.writer_options(config)["base_dir"]) == "sd-card"
    assert str(wiring.input_options(config, "coinbase")["base_dir"]) == "lake"
