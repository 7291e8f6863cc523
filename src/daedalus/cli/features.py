"""`daedalus features`: bronze to silver, and what its columns are."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl
from daedalus.cli.etl_run import RunOptions, execute
from daedalus.cli.wiring import Table

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.config import FeatureConfig
    from daedalus.etl.core.executor import TransformExecutor

app = typer.Typer(
    help="Compute features from recordings: bronze to silver.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def group() -> None:
    """Compute features from recordings: bronze to silver."""


@app.command("list")
def list_features(
    feature_set: Annotated[str | None, typer.Option("--feature-set", help="Only core, standard or full.")] = None,
    table: Annotated[
        Table, typer.Option("--table", help="Of the rows of order books, of trades or of tickers.")
    ] = "orderbook",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/FEATURES.md, at default settings.")] = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """List the columns that the settings select, family by family.

    Example: daedalus features list --feature-set full --table trades
    """
    from daedalus.etl.features.catalogue import render_list, render_markdown

    if markdown:
        typer.echo(render_markdown(), nl=False)
        return
    typer.echo(render_list(_feature_config(config, overrides, feature_set), table), nl=False)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of a column or of a family, or a pattern of columns.")],
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Show what columns mean: unit, definition, the sets that have them, parameters and state.

    Example: daedalus features show spread_z_60s
    """
    from daedalus.etl.features.catalogue import render_column

    typer.echo(render_column(_feature_config(config, overrides, "full"), name), nl=False)


def _feature_config(config: Path | None, overrides: list[str] | None, feature_set: str | None) -> "FeatureConfig":
    """Return the features' settings, with another set if one is given."""
    return table_options(etl.load_settings(config, overrides, None, None, False), feature_set)


def table_options(settings: "DaedalusConfig", feature_set: str | None) -> "FeatureConfig":
    """Return the parameters of features that the settings say, with another set if one is given."""
    from daedalus.cli.wiring import feature_options
    from daedalus.etl.core.config import FeatureConfig

    options = feature_options(settings)
    return FeatureConfig(**(options if feature_set is None else {**options, "feature_set": feature_set}))


@app.command("calibrate-microprice")
def calibrate_microprice(
    table: Annotated[Path, typer.Argument(help="The file to write, for processor_options.microprice_calibration.")],
    tick_size: Annotated[float, typer.Option("--tick-size", help="Price step of the market.", min=1e-12)],
    input: etl.InputOption = None,
    source: etl.SourceOption = None,
    exchange: etl.ExchangeOption = None,
    symbol: etl.SymbolOption = None,
    start: etl.FromOption = None,
    end: etl.ToOption = None,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Estimate the table of microprice_stoikov from recorded books of one market.

    Take books from before those that the table is used on, or it looks ahead.

    Example: daedalus features calibrate-microprice btc.json --symbol BTC-USD --tick-size 0.01 --to 2025-06-19
    """
    settings = etl.load_settings(config, overrides, input, None, False)
    from daedalus.cli.wiring import input_options
    from daedalus.etl.core.calibrating import calibrate_from_lake
    from daedalus.etl.core.config import InputConfig

    chosen = etl.filter_spec(exchange, symbol, None, None, None, None, start, end)
    found, books = calibrate_from_lake(
        InputConfig(**input_options(settings, etl.source_of(settings, source, ["orderbook"]))), chosen, tick_size
    )
    found.save(table)
    typer.echo(f"{table}: {found.exchange} {found.symbol}, from {books:,} books")


def _command(table: Table, doc: str) -> Callable[..., None]:
    """Return the command that computes a table; all have the same options."""

    def compute(
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
        trades: etl.TradesOption = None,
        state_path: etl.StatePathOption = None,
        reset_state: etl.ResetStateOption = False,
        limit: etl.LimitOption = None,
        feature_set: etl.FeatureSetOption = None,
        workers: etl.WorkersOption = 1,
        engine: etl.EngineOption = "local",
        scheduler: etl.SchedulerOption = None,
        mode: etl.ModeOption = "overwrite_partition",
        config: etl.ConfigOption = None,
        overrides: etl.OverridesOption = None,
        dry_run: etl.DryRunOption = False,
        as_json: etl.JsonOption = False,
        debug: etl.DebugOption = False,
    ) -> None:
        from daedalus.cli.stores import state_place

        settings = etl.load_settings(config, overrides, input, output, debug)
        chosen = etl.filter_spec(exchange, symbol, year, month, day, hour, start, end)
        options = RunOptions(dry_run, debug, as_json, limit, workers, engine, scheduler)
        recorded_by = etl.source_of(settings, source, [table])
        places = etl.lake(settings, recorded_by, table, trades=trades, mode=mode, engine=engine)
        make = functools.partial(
            _runner(table),
            table_options(settings, feature_set),
            *places,
            state_path=None if state_path is None else state_place(settings, state_path, engine),
            reset_states=reset_state,
        )
        execute(f"{table} features", make, chosen, options)

    compute.__doc__ = doc + _COMMON
    compute.__name__ = table
    app.command(table)(compute)
    return compute


def _runner(table: Table) -> "Callable[..., TransformExecutor]":
    """Return what makes the executor of a table from its configuration and places."""
    from daedalus.etl.core import runners

    makers: dict[Table, Callable[..., TransformExecutor]] = {
        "orderbook": runners.StatefulOrderbookRunner,
        "trades": runners.trades_runner,
        "ticker": runners.ticker_runner,
    }
    return makers[table]


_COMMON = """

    The hours of a market are computed in order, with all state carried from one to the next. The first hour that is
    selected starts afresh, or from the state at --state-path, which each finished hour moves on: run hour by hour, the
    rows are those of one run over all hours, and a run that was killed goes on where it was. A state of other settings,
    another version or market is refused, and so is going back in time; --reset-state starts afresh. A partition that
    exists is replaced in one step.

    With --engine dask the hours of each market are a chain on a cluster, to the same rows; --input and --output, and
    --state-path if there is one, are then places that all its machines see.

    Exit codes: 0 done; 1 a market failed or something was skipped (the others are done); 2 the settings or flags are
    wrong, or nothing matches; 130 interrupted, 143 ended by SIGTERM.
    """

orderbook = _command(
    "orderbook",
    """Compute order book features, one silver row for each recorded book.

    Example: daedalus features orderbook --base-dir data --symbol BTC/USD --from 2025-06-19 --to 2025-06-20""",
)
trades = _command(
    "trades",
    """Compute trade features, one silver row for each recorded trade: against the book just before, and over windows.

    Example: daedalus features trades --base-dir data --symbol BTC/USD --feature-set core""",
)
ticker = _command(
    "ticker",
    """Compute ticker features, one silver row for each recorded ticker: funding, open interest, basis, premium.

    Example: daedalus features ticker --base-dir data --source ccxt --exchange bybit""",
)
