"""What `daedalus features` and `daedalus bars` share: options, and the way from settings to where to read and write.

The modules that this file imports at the top are light; the ETL itself is imported when a command runs.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daedalus.cli.wiring import Transform as Channel
    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
    from daedalus.storage.base import Storage

InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        "--base-dir",
        help="The lake to read, a directory or s3://BUCKET/PREFIX (gs://, az://); default: the settings' storage.",
    ),
]
OutputOption = Annotated[
    str | None, typer.Option("--output", help="The lake to write; default: --input, else the settings' storage.")
]
TradesOption = Annotated[
    str | None, typer.Option("--trades", help="The lake that holds the trades, if they are not in --input.")
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="The collector that recorded; default: the only one that the lake has something of."),
]
ExchangeOption = Annotated[str | None, typer.Option("--exchange", help="Only this exchange.")]
SymbolOption = Annotated[str | None, typer.Option("--symbol", help="Only this symbol: BTC-USD or BTC/USD.")]
YearOption = Annotated[int | None, typer.Option("--year", help="Only this year (UTC, by receive time).")]
MonthOption = Annotated[int | None, typer.Option("--month", help="Only this month, 1 to 12.")]
DayOption = Annotated[int | None, typer.Option("--day", help="Only this day of the month.")]
HourOption = Annotated[int | None, typer.Option("--hour", help="Only this hour of the day, 0 to 23.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help="Only from this hour on: 2025-06-19 or 2025-06-19T14:00 (UTC).")
]
ToOption = Annotated[str | None, typer.Option("--to", help="Only hours that begin before this time.")]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="Only the first rows of each market, that many: to try something, into a new --output."
    ),
]
FeatureSetOption = Annotated[
    str | None, typer.Option("--feature-set", help="core, standard or full; default: the settings'.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings; default config/config.yaml where it exists.")
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, over the file: --set storage.paths.tier_features=silver2."),
]
StatePathOption = Annotated[
    str | None,
    typer.Option(
        "--state-path",
        help="Go on from the state in this .json file (of one market) or folder (of many; also s3://BUCKET/PREFIX), "
        "and keep it there; default: start afresh and keep none.",
    ),
]
ResetStateOption = Annotated[
    bool, typer.Option("--reset-state", help="Forget the states of the selected markets first.")
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=256, help="Markets at once, each in a process of its own.")
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="local: --workers processes here; dask: the cluster at --scheduler (docs/SCALING.md).",
    ),
]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", help="Address of a Dask scheduler: tcp://10.0.0.1:8786 or tls://...")
]
ModeOption = Annotated[
    str,
    typer.Option(
        "--mode",
        help="overwrite_partition replaces a partition in one step, append adds a file, error refuses what is there.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Tell what would be read and written, and stop.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Log everything, and show where an error came from.")]


def load_settings(
    config: Path | None, overrides: list[str] | None, input: str | None, output: str | None, debug: bool
) -> "DaedalusConfig":
    """Read the settings with the flags over them, and set up the logs."""
    from daedalus.cli.logs import configure_logging
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.stores import place_flags, with_output_of_input
    from daedalus.cli.wiring import logging_options
    from daedalus.config.config import load_config

    flags = parse_overrides(overrides)
    for store, place in (("input", input), ("output", output or input)):
        if place is not None:
            flags |= place_flags(f"etl_storage_{store}", place)
    if debug:
        flags["logging.level"] = "DEBUG"
    settings = load_config(config, flags)
    if input is not None and output is None:
        settings = with_output_of_input(settings)
    configure_logging(**logging_options(settings))
    return settings


def filter_spec(
    exchange: str | None,
    symbol: str | None,
    year: int | None,
    month: int | None,
    day: int | None,
    hour: int | None,
    start: str | None,
    end: str | None,
) -> "FilterSpec":
    """Return the filter that the flags describe."""
    from daedalus.shared.filters import FilterSpec, parse_instant

    since, until = (None if text is None else parse_instant(text) for text in (start, end))
    return FilterSpec(exchange, symbol, year, month, day, hour, since, until)


def source_of(
    settings: "DaedalusConfig", wanted: str | None, channels: "Sequence[str]", *, are_features: bool = False
) -> str:
    """Return the source that was asked for, or else the only one of which the lake has these channels.

    With `are_features`, recordings or features of them.

    Raises
    ------
    ConfigError
        If there are several.
    """
    from daedalus.cli.stores import open_store
    from daedalus.cli.wiring import sources
    from daedalus.etl.core.config import PROCESSED, READY
    from daedalus.shared.errors import ConfigError
    from daedalus.storage.base import Place
    from daedalus.storage.local import as_storage

    if wanted is not None:
        return wanted
    read, write = (Place(as_storage(open_store(settings, f"etl_storage_{name}"))) for name in ("input", "output"))
    roots = [read / settings.storage.paths.tier_raw / READY]
    roots += [read / PROCESSED, write / PROCESSED] if are_features else []
    found = {name for root in roots for name in root.folders() if not set(channels).isdisjoint((root / name).folders())}
    if len(found) > 1:
        raise ConfigError(f"the lake holds what {' and '.join(sorted(found))} recorded: choose one with --source")
    return next(iter(found), (sources(settings) or ["coinbase"])[0])


def lake(
    settings: "DaedalusConfig",
    source: str,
    transform: "Channel",
    *,
    trades: str | None = None,
    mode: str = "overwrite_partition",
    engine: str = "local",
) -> "tuple[InputConfig, OutputConfig]":
    """Return where and how a transform reads and writes.

    Silver is read where it was written, in the output's lake; where there is none, in the input's. For a cluster,
    directories are full paths: its workers stand in directories of their own.

    Raises
    ------
    ConfigError
        If the transform is switched off.
    """
    from dataclasses import replace

    from daedalus.cli.stores import other_store
    from daedalus.cli.wiring import input_options, output_options, require_enabled
    from daedalus.etl.core.config import InputConfig, OutputConfig

    require_enabled(settings, transform)
    read = InputConfig(**input_options(settings, source))
    write = OutputConfig(**output_options(settings, source, transform), mode=mode)  # type: ignore[arg-type]
    if trades is not None:
        read = replace(read, trades_base_dir=other_store(settings, "etl_storage_input", trades))
    if write.silver("orderbook").folders():
        read = replace(read, processed_base_dir=write.base_dir)
    return (read, write) if engine == "local" else _with_full_paths(read, write)


def _with_full_paths(read: "InputConfig", write: "OutputConfig") -> "tuple[InputConfig, OutputConfig]":
    from dataclasses import replace

    def full(place: "Path | Storage | None") -> "Path | Storage | None":
        return place.absolute() if isinstance(place, Path) else place

    names = ("base_dir", "processed_base_dir", "trades_base_dir")
    read = replace(read, **{name: full(getattr(read, name)) for name in names})  # type: ignore[arg-type]
    return read, replace(write, base_dir=full(write.base_dir))  # type: ignore[arg-type]
