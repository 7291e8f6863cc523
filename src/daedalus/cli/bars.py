"""`daedalus bars`: silver and trades to gold."""

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl
from daedalus.cli.etl_run import RunOptions, execute

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig


def bars(
    durations: Annotated[
        str | None, typer.Option("--durations", help="Widths in seconds: 1,5,60; default: the settings' bar_durations.")
    ] = None,
    event_bars: Annotated[
        list[str] | None,
        typer.Option(
            "--event-bars",
            help="Also bars by trades, such as tick-100, volume-5, dollar-1e6 or tick_imbalance; may be repeated.",
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", help="orderbook or trades: make bars of it alone; default: of both."),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Also the bar in which the recording ends.")] = False,
    input: etl.InputOption = None,
    output: etl.OutputOption = None,
    source: etl.SourceOption = None,
    exchange: etl.ExchangeOption = None,
    symbol: etl.SymbolOption = None,
    year: etl.YearOption = None,
    month: etl.MonthOption = None,
    day: etl.DayOption = None,
    hour: etl.HourOption = None,
    start: etl.FromOption = None,
    end: etl.ToOption = None,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
    workers: etl.WorkersOption = 1,
    engine: etl.EngineOption = "local",
    scheduler: etl.SchedulerOption = None,
    mode: etl.ModeOption = "overwrite_partition",
    dry_run: etl.DryRunOption = False,
    as_json: etl.JsonOption = False,
    debug: etl.DebugOption = False,
) -> None:
    """Make time bars and event bars from order book features (silver) and recorded trades.

    Each width has a directory of its own: processed/{source}/bars/{tier}/duration=60/exchange=.../symbol=.../... A bar
    stands in the hour in which it starts and is known at its end. Hours beside the selected ones are read as well, so
    that the first bars know the previous close and the last ones are closed.

    An event bar opens at a trade and closes at the trade that reaches its threshold, which belongs to it whole:
    tick-N after N trades, volume-V, dollar-Q; {tick,volume,dollar}_imbalance and _run adapt their threshold (Lopez de
    Prado 2018), or keep one: dollar_imbalance-5e5. Its directory is bar={name}.

    Example: daedalus bars --base-dir data --symbol BTC-USD --durations 1,60,3600 --event-bars volume-10

    With --engine dask each market is a task on a cluster; --input and --output are places that all its machines see.

    Exit codes: 0 done; 1 a market failed (the others are done); 2 the settings or flags are wrong, or nothing matches;
    130 interrupted, 143 ended by SIGTERM.
    """
    running = RunOptions(dry_run, debug, as_json, None, workers, engine, scheduler)
    settings = etl.load_settings(config, overrides, input, output, debug)
    chosen = etl.filter_spec(exchange, symbol, year, month, day, hour, start, end)
    from daedalus.cli.wiring import bar_options
    from daedalus.etl.core.runners import make_runner
    from daedalus.etl.transforms.bars import BarAggregationTransform

    options = bar_options(settings)
    options |= {name: value for name, value in (("event_bars", event_bars), ("channels", channel)) if value}
    if durations is not None:
        options["durations"] = parse_durations(durations)
    transform = functools.partial(BarAggregationTransform, **options, partial=partial, silver=_silver_columns(settings))
    recorded_by = etl.source_of(settings, source, channel or ["orderbook", "trades"], are_features=True)
    places = etl.lake(settings, recorded_by, "bars", mode=mode, engine=engine)
    make = functools.partial(make_runner, transform, *places)
    execute(BarAggregationTransform.name, make, chosen, running)


def _silver_columns(settings: "DaedalusConfig") -> frozenset[str]:
    """Return the feature columns that the settings make silver of."""
    from daedalus.cli.wiring import feature_options
    from daedalus.etl.core.config import FeatureConfig
    from daedalus.etl.features.registry import families
    from daedalus.etl.features.selection import selected

    config = FeatureConfig(**feature_options(settings))
    return selected(families(config), config)


def parse_durations(text: str) -> list[int]:
    """Return the widths in a list such as ``1,5,60``. Raises `ConfigError` if it is none.

    Examples
    --------
    >>> parse_durations("1, 60")
    [1, 60]
    """
    from daedalus.shared.errors import ConfigError

    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"--durations {text}: give whole seconds, separated by commas, such as 1,5,60") from None
