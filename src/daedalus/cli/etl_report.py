"""What a run of features or bars came to: a table for people, one JSON object for machines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daedalus.etl.core.report import Report, Tally

#: Markets that the table names at most.
_MARKETS_SHOWN_MAX = 20
_MARKET_TITLES = ("exchange", "symbol", "hours", "rows in", "rows out", "skipped", "failed", "seconds")
#: Columns of text, to the left.
_NAMES = ("exchange", "symbol")


def report_json(name: str, report: "Report") -> str:
    """Return what a run came to, as one JSON object."""
    import orjson

    return orjson.dumps(
        {
            "transform": name,
            "partitions": [{"path": str(w.path), "rows": w.rows, "bytes": w.bytes} for w in report.written],
            "rows_in": report.rows_in,
            "rows_out": report.rows_out,
            "files_opened": report.files_opened,
            "files_needed": report.files_needed,
            "seconds": round(report.seconds, 3),
            "markets": _markets(report),
            "failures": [{"market": str(f.market), "error": str(f.error)} for f in report.failures],
            "skipped": report.skipped,
            "notes": report.notes,
        }
    ).decode()


def _markets(report: "Report") -> list[dict[str, str | int | float]]:
    return [
        {
            "exchange": market.exchange,
            "symbol": market.symbol,
            "hours": tally.hours,
            "rows_in": tally.rows_in,
            "rows_out": tally.rows_out,
            "skipped": tally.skipped,
            "failed": tally.failed,
            "seconds": round(tally.seconds, 3),
        }
        for market, tally in report.tallies.items()
    ]


def summary(name: str, report: "Report") -> str:
    """Return what a run came to: a line for each market, those with trouble first, and one for all together."""
    rows = [
        (market.exchange, market.symbol, *_cells(tally))
        for market, tally in sorted(report.tallies.items(), key=lambda item: not (item[1].failed or item[1].skipped))
    ]
    lines = _table(_MARKET_TITLES, rows[:_MARKETS_SHOWN_MAX])
    if len(rows) > _MARKETS_SHOWN_MAX:
        lines.append(f"and {len(rows) - _MARKETS_SHOWN_MAX:,} more, which --json names")
    return "\n  ".join([name, *lines, *_table(*_whole(report))])


def _cells(tally: "Tally") -> list[str]:
    counts = tally.hours, tally.rows_in, tally.rows_out, tally.skipped, tally.failed
    return [*(f"{count:,}" for count in counts), f"{tally.seconds:,.2f}"]


def _whole(report: "Report") -> tuple[Sequence[str], list[Sequence[str]]]:
    rate = report.rows_in / report.seconds if report.seconds else 0.0
    bytes_out = sum(written.bytes for written in report.written)
    cells = {
        "partitions": f"{len(report.written):,}",
        "rows in": f"{report.rows_in:,}",
        "rows out": f"{report.rows_out:,}",
        "MB out": f"{bytes_out / 1e6:,.2f}",
        "seconds": f"{report.seconds:,.2f}",
        "rows/s": f"{rate:,.0f}",
        "files opened": f"{report.files_opened:,}",
        "needed": f"{report.files_needed:,}",
        "failed": f"{len(report.failures):,}",
        "skipped": f"{len(report.skipped):,}",
    }
    return list(cells), [list(cells.values())]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows below their titles, names to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if title in _NAMES else text.rjust(width)
            for text, width, title in zip(line, widths, titles, strict=True)
        )
        for line in (titles, *rows)
    ]
