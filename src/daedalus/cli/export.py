"""`daedalus export`: recordings for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from daedalus.cli import etl, lakes


class ExportFormat(StrEnum):
    """Which program is to read it."""

    HFTBACKTEST = "hftbacktest"
    NAUTILUS = "nautilus"
    CSV = "csv"
    ARROW = "arrow"


def export(
    format: Annotated[ExportFormat, typer.Option("--format", help="What is written; docs/EXPORT.md tells each.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file (.npz, .csv, .arrow); of nautilus the catalog's folder.")
    ],
    table: Annotated[str, typer.Option("--table", help="Of csv and arrow: any table of `daedalus ls`.")] = "trades",
    pair: Annotated[
        str | None, typer.Option("--pair", help="Of nautilus: BASE/QUOTE, where the symbol does not tell.")
    ] = None,
    base: lakes.LakeOption = None,
    source: lakes.SourceOption = None,
    exchange: etl.ExchangeOption = None,
    symbol: etl.SymbolOption = None,
    start: etl.FromOption = None,
    end: etl.ToOption = None,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Write recorded rows as files that other programs read: hftbacktest, nautilus_trader, csv, Arrow.

    A file appears under its name when it is whole, and replaces what was there.

    Example: daedalus export --format hftbacktest --symbol BTC/USD --from 2025-06-19 --to 2025-06-20 --output btc.npz

    Exit codes: 0 written; 1 a file cannot be read or written; 2 nothing matches, or the settings or flags are wrong.
    """
    lake = lakes.opened(base, source, config, overrides)
    options = {"exchange": exchange, "symbol": symbol, "start": start, "end": end, "pair": pair}
    rows = lake.export(format.value, output, table=table, **options)
    typer.echo(f"{output}" + ("" if rows is None else f": {rows:,} rows"))
