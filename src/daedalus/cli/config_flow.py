"""The way of the settings, as text: file, collectors, queue, writer, processors, features; and what would stop it."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from daedalus.shared.errors import DaedalusError

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig

_WIDTH = 30
#: An hour to show paths with.
_HOUR = {"year": 2025, "month": 6, "day": 19, "hour": 14, "date": "2025-06-19"}


#: By raw format; their module is too heavy to import for a name.
_WRITERS = {"parquet": "StreamingParquetWriter", "ndjson": "LogWriter"}


@dataclass(frozen=True)
class _Market:
    """What of an exchange is shown as an example: its first symbol, and the channels that are recorded of it."""

    source: str
    exchange: str
    symbol: str
    channels: Sequence[str]


def _sources(config: "DaedalusConfig") -> list[str]:
    """Return the sources that are shown: those with markets, or Coinbase when the settings choose none."""
    from daedalus.cli import wiring

    return wiring.sources(config) or ["coinbase"]


def _markets(config: "DaedalusConfig") -> list[_Market]:
    """Return one market of each exchange."""
    coinbase, made = config.coinbase, list[_Market]()
    if "coinbase" in _sources(config):
        symbol = (coinbase.symbols or ["BTC-USD"])[0]
        made = [_Market("coinbase", coinbase.exchange, symbol, coinbase.channels)]
    for name, entry in config.ccxt.exchanges.items():
        symbols = [symbol for chosen in entry.channels.values() for symbol in chosen if "*" not in symbol]
        made.append(_Market("ccxt", entry.exchange or name, (symbols or ["BTC/USD"])[0], entry.record))
    return made


def render_flow(config: "DaedalusConfig") -> str:
    """Return the flow of valid settings with the values that count. Secrets are hidden."""
    from daedalus.cli import wiring

    # What cannot run is reported by `flow_faults`; the rest of the flow is shown all the same.
    parts = [
        ("1. Settings", _settings(config)),
        *_collectors(config),
        ("3. Queue: IngestionPipeline", _rows(wiring.pipeline_options(config))),
        (f"4. Writer: {_WRITERS[config.ingestion.raw_format]}, Events to segments (bronze)", _writer(config)),
        ("5. Processors: segments to features (silver) and bars (gold)", _processors(config)),
        ("6. Features: FeatureConfig", _features(config)),
        ("7. Logs", _rows(wiring.logging_options(config))),
    ]
    return "\n\n".join("\n".join([title, *(f"   {line}" for line in lines)]) for title, lines in parts) + "\n"


def _rows(values: Mapping[str, object]) -> list[str]:
    from daedalus.config.describe import inline

    shown = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in shown.items()}
    return [f"{name:<{_WIDTH}} {inline(value)}" for name, value in shown.items()]


def _settings(config: "DaedalusConfig") -> list[str]:
    from daedalus.config.dump import changed_values

    lines = [f"{'file':<{_WIDTH}} {config.origins.file or 'none: defaults (`daedalus config init` writes one)'}"]
    changed = changed_values(config)
    lines += [f"{key:<{_WIDTH}} {value}   from {origin}" for key, value, origin in changed]
    return lines if changed else [*lines, "every key has its default"]


def _collectors(config: "DaedalusConfig") -> list[tuple[str, list[str]]]:
    from daedalus.cli import wiring

    parts = []
    if "coinbase" in _sources(config):
        size = config.coinbase.symbols_per_connection
        number = -(-len(config.coinbase.symbols) // size)
        lines = _rows(_hidden(wiring.collector_options(config)))
        lines.append(f"{'connections':<{_WIDTH}} {number} (up to {size} symbols each)")
        parts.append(("2. Collector: CoinbaseCollector, websocket frames to Events", lines))
    try:
        exchanges = wiring.ccxt_options(config)
    except DaedalusError as error:
        return [*parts, ("2. Collector: CcxtCollector", [str(error)])]
    for name, options in exchanges.items():
        parts.append(
            (f"2. Collector: CcxtCollector of {name}, CCXT's frames and books to Events", _rows(_hidden(options)))
        )
    return parts


def _hidden(options: Mapping[str, object]) -> dict[str, object]:
    """Return a collector's arguments without its secrets; what `options` of an exchange hold may be one."""
    from daedalus.config.describe import HIDDEN

    secret = ("api_key", "api_secret", "password", "options")
    return {name: HIDDEN if name in secret and value else value for name, value in options.items()}


def _writer(config: "DaedalusConfig") -> list[str]:
    from daedalus.cli import wiring

    try:
        lines = _rows({"raw_format": config.ingestion.raw_format, **wiring.writer_options(config)})
        roots = {market.source: wiring.recording_path(config, market.source) for market in _markets(config)}
    except DaedalusError as error:
        return [str(error)]
    columns = config.ingestion.partition_by
    paths = [
        roots[market.source] / channel / _partition(market, columns) / f"segment_....{config.ingestion.raw_format}"
        for market in _markets(config)
        for channel in market.channels
    ]
    return lines + [f"-> {path}" for path in paths]


def _partition(market: _Market, columns: Sequence[str]) -> str:
    from daedalus.shared.partitioning import build_partition_path

    return build_partition_path({**_HOUR, "exchange": market.exchange, "symbol": market.symbol}, columns)


def _processors(config: "DaedalusConfig") -> list[str]:
    try:
        # Of the exchanges of one source, the first.
        markets = {market.source: market for market in reversed(_markets(config))}
        return [line for market in reversed(markets.values()) for line in _outputs(config, market)]
    except DaedalusError as error:
        return [str(error)]


def _outputs(config: "DaedalusConfig", market: _Market) -> list[str]:
    from daedalus.cli import wiring

    paths = wiring.etl_paths(config, market.source)
    tables = {name: wiring.output_options(config, market.source, name)["partition_cols"] for name in wiring.TABLES}
    bars = wiring.output_options(config, market.source, "bars")["partition_cols"]
    channels = config.etl.channels
    lines = [f"reads {paths.bronze}/{{channel}}, keeps state in {paths.state}"]
    for name, columns in tables.items():
        where = paths.silver[name] / _partition(market, columns)
        lines.append(f"{name} {_switch(getattr(channels, name).enabled)} -> {where}")
    for duration in config.etl.channels.orderbook.processor_options.bar_durations:
        where = paths.gold / f"duration={duration}" / _partition(market, bars)
        lines.append(f"bars {duration:>5} s {_switch(channels.bars.enabled)} -> {where}")
    return lines


def _switch(enabled: bool) -> str:
    return "(on)" if enabled else "(off)"


def _features(config: "DaedalusConfig") -> list[str]:
    from daedalus.cli import wiring

    try:
        count = f"{wiring.feature_columns(config)} columns"
    except DaedalusError as error:
        count = str(error)
    return [*_rows(wiring.feature_options(config)), f"-> {count}"]


def flow_faults(config: "DaedalusConfig") -> list[str]:
    """Return what keeps the flow from working, in words; empty when it works."""
    from daedalus.cli import wiring

    unusable, chosen = wiring.unusable(config), _sources(config)
    faults = list(unusable)
    works: list[Callable[[], object]] = [partial(wiring.source_options, config, source) for source in chosen]
    works.append(partial(wiring.feature_columns, config))
    for work in works:
        try:
            work()
        except DaedalusError as error:
            faults.append(str(error))
    if not unusable:
        places = {
            "storage.ingestion_storage": wiring.writer_options(config)["base_dir"],
            "storage.etl_storage_output": wiring.output_options(config, chosen[0], "orderbook")["base_dir"],
            "storage.paths.state_dir": wiring.state_dir(config),
        }
        # Whether an object store takes what it is given is told by the first request, not by looking.
        local = {key: place for key, place in places.items() if isinstance(place, Path)}
        faults += [f"{key}: {fault}" for key, path in local.items() if (fault := unwritable(path))]
    return faults


def unwritable(path: Path) -> str | None:
    """Return why a directory cannot be made or written, or None. Tries it in the nearest one that is there."""
    there = path.absolute()
    try:
        while not there.exists():
            there = there.parent
        if not there.is_dir():
            return f"{path} cannot be a directory: {there} is a file; choose another"
        with tempfile.TemporaryDirectory(dir=there, prefix=".daedalus-check-"):
            return None
    except OSError as error:
        return f"{path} cannot be written: {there}: {error.strerror}; choose another or change its owner"
