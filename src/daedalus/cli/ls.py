"""`daedalus ls`: what a lake holds."""

from typing import Annotated

import typer

from daedalus.cli import etl, lakes


def ls(
    table: Annotated[
        str | None, typer.Argument(help="Only this table: trades, trades_features, bars_60s ...; default: all.")
    ] = None,
    base: lakes.LakeOption = None,
    source: lakes.SourceOption = None,
    exchange: etl.ExchangeOption = None,
    symbol: etl.SymbolOption = None,
    start: etl.FromOption = None,
    end: etl.ToOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array, for machines.")] = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Show what there is: tables, exchanges, symbols, ranges, hours, rows and bytes.

    A range is that of the partitions, hours as a rule; fewer hours than the range is long means that some are missing.
    Rows of bronze are read from the names of the segments, of features and bars from the files' footers.

    Example: daedalus ls --base-dir data --symbol BTC/USD

    Exit codes: 0 shown, also when nothing matches; 1 the lake cannot be read; 2 the settings or flags are wrong.
    """
    lake = lakes.opened(base, source, config, overrides)
    found = lake.catalog(table, exchange=exchange, symbol=symbol, start=start, end=end)
    if as_json:
        typer.echo(found.write_json())
        return
    if found.is_empty():
        typer.echo("nothing matches" if lake.tables else "the lake is empty: nothing is recorded in it")
        return
    shown = found.with_columns(found["start"].dt.strftime("%Y-%m-%d %H:%M"), found["end"].dt.strftime("%Y-%m-%d %H:%M"))
    lakes.print_table(shown.columns, shown.rows())
    typer.echo(f"{found['segments'].sum():,} segments, {found['rows'].sum():,} rows, {found['bytes'].sum():,} bytes")
