"""From settings to plain constructor arguments: one function a class. Nothing below the CLI sees the settings.

The functions are also where a setting that this version cannot act on is refused, in words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from daedalus.cli.stores import open_store, section, store_options
from daedalus.shared.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from daedalus.config.config import DaedalusConfig
    from daedalus.ingestion.writers.base import RawPaths
    from daedalus.storage.base import Place

Table = Literal["orderbook", "trades", "ticker"]
Transform = Literal[Table, "bars"]
#: Of silver.
TABLES: tuple[Table, ...] = ("orderbook", "trades", "ticker")


@dataclass(frozen=True)
class EtlPaths:
    """Where one source's tables live. Partition folders follow below `bronze`/{channel}, `silver` and `gold`."""

    bronze: "Place"
    silver: "dict[str, Place]"
    gold: "Place"
    state: Path


def sources(config: "DaedalusConfig") -> list[str]:
    """Return the sources that the settings choose markets for: coinbase, ccxt."""
    chosen = {"coinbase": bool(config.coinbase.symbols), "ccxt": bool(config.ccxt.exchanges)}
    return [name for name, is_chosen in chosen.items() if is_chosen]


def collector_options(config: "DaedalusConfig") -> dict[str, Any]:
    """Return the arguments of `CoinbaseCollector`, with all symbols. Holds secrets: never print it."""
    coinbase = config.coinbase
    return {
        "symbols": list(coinbase.symbols),
        "channels": list(coinbase.channels),
        "url": coinbase.ws_url,
        "exchange": coinbase.exchange,
        "max_orderbook_depth": coinbase.max_orderbook_depth,
        "orderbook_interval_ms": coinbase.orderbook_interval_ms,
        "stall_timeout_seconds": coinbase.stall_timeout_seconds,
        "stall_timeouts": coinbase.stall_timeouts.model_dump(),
        "max_frame_mb": coinbase.max_frame_mb,
        "api_key": _revealed(coinbase.api_key),
        "api_secret": _revealed(coinbase.api_secret),
        "subscribe_timeout_seconds": coinbase.subscribe_timeout_seconds,
    }


def ccxt_options(config: "DaedalusConfig") -> dict[str, dict[str, Any]]:
    """Return the arguments of each `CcxtCollector` by CCXT's id. Holds secrets: never print it.

    Raises
    ------
    ConfigError
        If an entry watches nothing.
    """
    made: dict[str, dict[str, Any]] = {}
    for name, entry in config.ccxt.exchanges.items():
        if not any(entry.channels.values()):
            words = "is empty: name methods and symbols, such as {watchTrades: [BTC/USD]}"
            raise _refused(config, words, "ccxt", "exchanges", name, "channels")
        made[name] = {
            "channels": {method: list(symbols) for method, symbols in entry.channels.items()},
            "record": list(entry.record),
            "exchange": entry.exchange,
            "api_key": _revealed(entry.api_key),
            "api_secret": _revealed(entry.api_secret),
            "password": _revealed(entry.password),
            "options": dict(entry.options),
            "max_orderbook_depth": entry.max_orderbook_depth,
            "orderbook_interval_ms": entry.orderbook_interval_ms,
            "stall_timeout_seconds": entry.stall_timeout_seconds,
            "stall_timeouts": dict(entry.stall_timeouts),
            "subscribe_timeout_seconds": entry.subscribe_timeout_seconds,
            "max_frame_mb": entry.max_frame_mb,
            "ws_url": entry.ws_url,
            "rest_url": entry.rest_url,
        }
    return made


def source_options(config: "DaedalusConfig", source: str) -> dict[str, Any]:
    """Return what the registry makes a source's collectors from. Holds secrets: never print it.

    Raises
    ------
    ConfigError
        If no market is chosen.
    """
    where = config.origins.file or "config/config.yaml (`daedalus config init` writes it)"
    if source == "ccxt":
        if not config.ccxt.exchanges:
            raise ConfigError(f"nothing to record: ccxt.exchanges is empty; set it in {where}, one entry an exchange")
        return {"exchanges": ccxt_options(config), "rotate_after_hours": rotations(config)["ccxt"]}
    if not config.coinbase.symbols:
        raise ConfigError(f"nothing to record: coinbase.symbols is empty; set it in {where}, such as [BTC-USD]")
    return {
        **collector_options(config),
        "symbols_per_connection": config.coinbase.symbols_per_connection,
        "rotate_after_hours": rotations(config)["coinbase"],
    }


def rotations(config: "DaedalusConfig") -> dict[str, Any]:
    """Return the hours after which connections are replaced, by source; those of ccxt by exchange."""
    exchanges = {name: entry.rotate_after_hours for name, entry in config.ccxt.exchanges.items()}
    return {"coinbase": config.coinbase.rotate_after_hours, "ccxt": exchanges}


def writer_options(config: "DaedalusConfig") -> dict[str, Any]:
    """Return the arguments of a writer (`writers.registry`), but for `source`.

    Raises
    ------
    ConfigError
        If the settings ask for a store or a compression that cannot be written.
    """
    ingestion = config.ingestion
    _check_format(config)
    return {
        "base_dir": _local(config, "ingestion_storage"),
        "tier_raw": config.storage.paths.tier_raw,
        "partition_by": list(ingestion.partition_by),
        "segment_max_mb": ingestion.segment_max_mb,
        "compression": ingestion.parquet_compression,
        "compression_level": ingestion.parquet_compression_level,
        "journal_max_mb": ingestion.journal_max_mb,
        "max_unsealed_seconds": ingestion.max_unsealed_seconds,
        "batch_size": ingestion.batch_size,
    }


def retention_options(config: "DaedalusConfig") -> dict[str, Any]:
    """Return the arguments of `Retention`. Raises `ConfigError` for a store that recordings are not written to."""
    storage = config.storage
    return {
        "base": _local(config, "ingestion_storage"),
        "max_bytes": None if storage.max_disk_gb is None else int(storage.max_disk_gb * 1e9),
        "min_free_bytes": None if storage.min_free_gb is None else int(storage.min_free_gb * 1e9),
        "delete_unsynced": storage.retention.delete_unsynced,
    }


def pipeline_options(config: "DaedalusConfig", source: str = "coinbase") -> dict[str, Any]:
    """Return the arguments of `IngestionPipeline` for one source, but for its parts."""
    ingestion = config.ingestion
    options: dict[str, Any] = {
        "queue_maxsize": ingestion.queue_maxsize,
        "queue_max_mb": ingestion.queue_max_mb,
        "queue_put_timeout_seconds": ingestion.queue_put_timeout_seconds,
        "batch_size": ingestion.batch_size,
        "flush_interval_seconds": ingestion.flush_interval_seconds,
        "stats_interval_seconds": ingestion.stats_interval_seconds,
    }
    if source == "coinbase":
        options["reconnect_delay_seconds"] = config.coinbase.reconnect_delay_seconds
        options["reconnect_delay_max_seconds"] = config.coinbase.reconnect_delay_max_seconds
    return options


def feature_options(config: "DaedalusConfig") -> dict[str, Any]:
    """Return the arguments of `FeatureConfig`: the processor options, with the file that they name read."""
    options = config.etl.channels.orderbook.processor_options.model_dump()
    if (path := options["microprice_calibration"]) is not None:
        from daedalus.etl.features.calibration import load_calibration

        options["microprice_calibration"] = load_calibration(Path(path).expanduser())
    return options


def bar_options(config: "DaedalusConfig") -> dict[str, Any]:
    """Return the arguments of `BarAggregationTransform`."""
    options = config.etl.channels.orderbook.processor_options
    return {
        "durations": list(options.bar_durations),
        "event_bars": list(config.etl.channels.bars.event_bars),
        "max_state_staleness_seconds": options.max_state_staleness_seconds,
    }


def require_enabled(config: "DaedalusConfig", transform: Transform) -> None:
    """Raise `ConfigError` when the settings switch a transform off."""
    if not getattr(config.etl.channels, transform).enabled:
        raise _refused(config, "is false; set it to true", "etl", "channels", transform, "enabled")


def input_options(config: "DaedalusConfig", source: str) -> dict[str, Any]:
    """Return the arguments of `InputConfig`. Raises `ConfigError` for a store whose address must not be used."""
    paths = config.storage.paths
    return {
        "base_dir": open_store(config, "etl_storage_input"),
        "source": source,
        "tier_raw": paths.tier_raw,
        "tier_features": paths.tier_features,
    }


def output_options(config: "DaedalusConfig", source: str, transform: Transform) -> dict[str, Any]:
    """Return the arguments of `OutputConfig`. Raises `ConfigError` for a store whose address must not be used."""
    paths = config.storage.paths
    return {
        "base_dir": open_store(config, "etl_storage_output"),
        "source": source,
        "tier_features": paths.tier_features,
        "tier_aggregates": paths.tier_aggregates,
        "partition_cols": tuple(getattr(config.etl.channels, transform).partition_cols),
    }


def etl_paths(config: "DaedalusConfig", source: str) -> EtlPaths:
    """Return where one source's tables lie. Raises `ConfigError` for a store whose address must not be used."""
    from daedalus.etl.core.config import InputConfig, OutputConfig

    read = InputConfig(**input_options(config, source))
    write = OutputConfig(**output_options(config, source, "bars"))
    return EtlPaths(
        bronze=read.bronze("{channel}").parent,
        silver={table: write.silver(table) for table in TABLES},
        gold=write.gold(),
        state=state_dir(config),
    )


def state_dir(config: "DaedalusConfig") -> Path:
    """Return the directory of the state that transforms carry from run to run."""
    return Path(config.storage.paths.state_dir).expanduser()


def watch_states(config: "DaedalusConfig") -> Path:
    """Return the directory of the watchers' states, one folder a source."""
    return state_dir(config) / "watch"


def watch_options(config: "DaedalusConfig", is_local: bool) -> dict[str, Any]:
    """Return what a watcher is made of: its tables, its rules, the seconds between two looks, states kept."""
    options = config.etl.watch
    return {
        "tables": options.tables,
        "rules": {"late": options.late, "settle_s": options.settle_seconds},
        "interval_s": options.interval_seconds if is_local else options.store_interval_seconds,
        "checkpoints": options.checkpoints,
    }


def raw_paths(config: "DaedalusConfig", source: str) -> "RawPaths":
    """Return where one source's recorder writes."""
    from daedalus.ingestion.writers.base import RawPaths

    return RawPaths(_local(config, "ingestion_storage"), source, config.storage.paths.tier_raw)


def recording_path(config: "DaedalusConfig", source: str) -> Path:
    """Return where the writer publishes one source's segments; channels and partitions follow below."""
    return raw_paths(config, source).ready


def logging_options(config: "DaedalusConfig") -> dict[str, Any]:
    """Return the arguments of `logs.configure_logging`."""
    logging = config.logging
    file = Path(logging.file).expanduser() if logging.file is not None else None
    return {"level": logging.level, "format": logging.format, "file": file}


def feature_columns(config: "DaedalusConfig") -> int:
    """Return how many columns the order book's features have, without reading any data."""
    from daedalus.etl.core.config import FeatureConfig
    from daedalus.etl.features.engine import FeatureSet

    return len(FeatureSet(FeatureConfig(**feature_options(config))).columns)


def unusable(config: "DaedalusConfig") -> list[str]:
    """Return everything that this version cannot act on, in words; empty when all can run."""
    checks: list[Callable[[], object]] = [partial(_check_format, config), partial(_local, config, "ingestion_storage")]
    checks += [partial(open_store, config, name) for name in ("etl_storage_input", "etl_storage_output")]
    checks += [partial(_check_exchange, config, name) for name in config.ccxt.exchanges]
    found: list[str] = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            found.append(str(error))
    return found


def _check_format(config: "DaedalusConfig") -> None:
    ingestion = config.ingestion
    if ingestion.raw_format == "ndjson" and ingestion.parquet_compression not in ("zstd", "none"):
        words = f"{ingestion.parquet_compression} is not for ndjson; set zstd or none"
        raise _refused(config, words, "ingestion", "parquet_compression")


def _check_exchange(config: "DaedalusConfig", name: str) -> None:
    from daedalus.ingestion.collectors.ccxt_collector import known_exchange

    try:
        known_exchange(name)
    except ConfigError as error:
        origin = config.origins.of(("ccxt", "exchanges", name))
        raise ConfigError(f"{origin}: {error}" if origin else str(error)) from None


def _local(config: "DaedalusConfig", name: str) -> Path:
    backend = section(config, name).backend
    if backend != "local":
        words = (
            f"recordings are written to a local disk, not to {backend}; set local, and let `daedalus sync` copy them"
        )
        raise _refused(config, words, "storage", name, "backend")
    return Path(store_options(config, name, "local")["base_dir"])


def _refused(config: "DaedalusConfig", words: str, *path: str) -> ConfigError:
    origin = config.origins.of(path)
    place = f"{origin}: " if origin else ""
    return ConfigError(f"{place}{'.'.join(path)}: {words}")


def _revealed(secret: "SecretStr | None") -> str | None:
    return None if secret is None else secret.get_secret_value()
