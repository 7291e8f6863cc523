"""`daedalus quality`: how far a lake can be trusted."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl, lakes
from daedalus.cli.ls import WIDE

if TYPE_CHECKING:
    import polars as pl

    from daedalus.lake.quality.report import Quality

#: Counts of faults, in the order in which the table shows them: name, and how it is called there.
_COUNTS = (
    ("gaps", "gaps"),
    ("missed", "missed"),
    ("duplicates", "dup"),
    ("out_of_order", "disorder"),
    ("crossed", "crossed"),
    ("locked", "locked"),
    ("stale", "stale"),
    ("outliers", "outliers"),
)
_NUMBERS = (
    ("spread_p50_bps", "spread bps"),
    ("latency_p50_ms", "lat p50"),
    ("latency_p99_ms", "lat p99"),
    ("clock_offset_ms", "offset"),
)


def quality(
    base: lakes.LakeOption = None,
    source: lakes.SourceOption = None,
    exchange: etl.ExchangeOption = None,
    symbol: etl.SymbolOption = None,
    start: etl.FromOption = None,
    end: etl.ToOption = None,
    html: Annotated[Path | None, typer.Option("--html", help="Also write the report to this file, in HTML.")] = None,
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Keep the hours as table `quality` of the lake, whole days.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: summary, hours, gaps.")] = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Judge what was recorded, by exchange, symbol, channel and hour.

    Seconds connected, and of these the share that the exchange's own numbering proves whole; gaps with their cause;
    duplicates, disorder, crossed and locked books, stale quotes, outliers; spread, latency and clock offset; how many
    trades agree with the quote before them. docs/QUALITY.md says how each is measured.

    Example: daedalus quality --base-dir data --symbol BTC/USD --from 2025-06-19 --html quality.html

    Exit codes: 0 judged, whatever was found; 1 a file cannot be read or written; 2 nothing matches, or the settings or
    flags are wrong.
    """
    lake = lakes.opened(base, source, config, overrides)
    found = lake.quality(exchange=exchange, symbol=symbol, start=start, end=end, save=save)
    if html is not None:
        _write(html, lake.url, found)
    if as_json:
        frames = {"summary": found.summary(), "hours": found.hours, "gaps": found.gaps}
        typer.echo(json.dumps({name: json.loads(frame.write_json()) for name, frame in frames.items()}))
        return
    lakes.print_table(*_summary(found.summary()))
    typer.echo()
    _print_gaps(found)
    for line in (["table quality holds the hours"] if save else []) + ([f"report: {html}"] if html else []):
        typer.echo(line)


def _write(path: Path, where: str, found: "Quality") -> None:
    from daedalus.lake.quality.page import page
    from daedalus.storage.local import explained, publish_stream

    with explained(path):
        publish_stream([page(where, found).encode()], path, overwrite=True)


def _summary(found: "pl.DataFrame") -> tuple[list[str], list[Sequence[object]]]:
    """Return the names and rows of the table. On a narrow terminal, faults that nowhere occur are left out."""
    from daedalus.lake.quality.page import percent

    is_wide = lakes.terminal_width() >= WIDE
    counts = [(name, shown) for name, shown in _COUNTS if is_wide or name == "gaps" or found[name].sum()]
    numbers = _NUMBERS if is_wide else _NUMBERS[1:2]
    rows: list[Sequence[object]] = []
    for row in found.iter_rows(named=True):
        connected, verified, gap = (row[f"{name}_s"] or 0.0 for name in ("connected", "verified", "gap"))
        agreement = () if not is_wide else ("" if row["side_agreement"] is None else f"{row['side_agreement']:.1%}",)
        rows.append(
            (
                f"{row['exchange']} {row['symbol']}",
                row["channel"],
                f"{row['rows']:,}",
                percent(connected, connected + gap),
                percent(verified, connected),
                *("" if row[name] is None else f"{row[name]:,}" for name, _ in counts),
                *("" if row[name] is None else f"{row[name]:,.4g}" for name, _ in numbers),
                *agreement,
            )
        )
    shown = [text for _, text in (*counts, *numbers)] + (["sides agree"] if is_wide else [])
    return ["market", "channel", "rows", "connected", "verified", *shown], rows


def _print_gaps(found: "Quality") -> None:
    """Print the gaps by market and cause; one that concerns several channels is one line."""
    import polars as pl

    from daedalus.shared.clock import utc

    if found.gaps.is_empty():
        typer.echo("no gaps")
        return
    cause = ["exchange", "symbol", "reason"]
    seconds = ((pl.col("ended_at") - pl.col("started_at")) / 1e9).max().alias("seconds")
    once = found.gaps.group_by(*cause, "started_at", maintain_order=True).agg(
        "channel", seconds, pl.col("missed").max()
    )
    grouped = once.group_by(*cause, maintain_order=True).agg(
        pl.col("channel").explode().unique().sort().str.join(" "),
        pl.len().alias("times"),
        pl.col("seconds", "missed").sum(),
        pl.col("started_at").min(),
    )
    rows = [
        (f"{exchange} {symbol}", reason, times, f"{lasted:,.3f}", missed, f"{utc(first):%Y-%m-%d %H:%M:%S}", channels)
        for exchange, symbol, reason, channels, times, lasted, missed, first in grouped.iter_rows()
    ]
    is_wide = lakes.terminal_width() >= WIDE
    names = ["market", "cause of gap", "times", "seconds", "missed", "first", "channels"]
    lakes.print_table(names if is_wide else names[:-1], rows if is_wide else [row[:-1] for row in rows])
