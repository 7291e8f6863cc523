"""`daedalus bars`: silver and trades to gold."""

from typing import Annotated

import typer

from daedalus.cli import etl


def bars(
    durations: Annotated[
        str | None, typer.Option("--durations", help="Widths in seconds: 1,5,60; default: the settings' bar_durations.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Also the bar in which the recording ends.")] = False,
    input: etl.InputOption = None,
    output: etl.OutputOption = None,
    source: etl.SourceOption = "coinbase",
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
    dry_run: etl.DryRunOption = False,
    debug: etl.DebugOption = False,
) -> None:
    """Make time bars from order book features (silver) and recorded trades.

    Each width has a directory of its own: processed/{source}/bars/{tier}/duration=60/exchange=.../symbol=.../... A bar
    stands in the hour in which it starts and is known at its end. Hours beside the selected ones are read as well, so
    that the first bars know the previous close and the last ones are closed.

    Example: daedalus bars --base-dir data --symbol BTC-USD --durations 1,60,3600

    Exit codes: 0 done; 1 a market failed (the others are done); 2 the settings or flags are wrong, or nothing matches;
    130 interrupted.
    """
    settings = etl.load_settings(config, overrides, input, output, debug)
    chosen = etl.filter_spec(exchange, symbol, year, month, day, hour, start, end)
    from daedalus.cli.wiring import bar_options
    from daedalus.etl.transforms.bars import BarAggregationTransform

    options = bar_options(settings)
    if durations is not None:
        options["durations"] = parse_durations(durations)
    transform = BarAggregationTransform(**options, partial=partial)
    etl.execute(transform, etl.lake(settings, source, "bars"), chosen, dry_run, debug)


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
