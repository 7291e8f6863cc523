"""`daedalus ls`: what a lake holds."""

from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl, lakes

if TYPE_CHECKING:
    import polars as pl

#: Columns from which on a terminal is wide.
WIDE = 120


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
    lakes.print_table(*_shown(found))
    typer.echo(f"{found['segments'].sum():,} segments, {found['rows'].sum():,} rows, {found['bytes'].sum():,} bytes")


def _shown(found: "pl.DataFrame") -> tuple[list[str], list[tuple[object, ...]]]:
    """Return the names and rows of the table: on a narrow terminal without what `--json` tells anyhow."""
    is_wide = lakes.terminal_width() >= WIDE
    rows: list[tuple[object, ...]] = []
    for line in found.iter_rows(named=True):
        more = (line["hours"], line["segments"]) if is_wide else ()
        source = (line["source"],) if is_wide else ()
        times = (f"{line[name]:{'%Y-%m-%d %H:%M' if is_wide else '%y-%m-%d'}}" for name in ("start", "end"))
        size = f"{line['bytes'] / 1e6:,.2f}"
        market = f"{line['exchange']} {line['symbol']}"
        rows.append((line["table"], *source, market, *times, *more, f"{line['rows']:,}", size))
    names = ["table", *(["source"] if is_wide else []), "market", "from", "to"]
    return [*names, *(["hours", "segments"] if is_wide else []), "rows", "MB"], rows
