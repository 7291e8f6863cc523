"""How a lake shows itself, as text and in a notebook."""

import html

import polars as pl

_COLUMNS = ("table", "markets", "from", "to", "segments", "MB")


def text(where: str, catalog: pl.DataFrame) -> str:
    """Return a plain table, a line for each table of the lake."""
    cells = _cells(catalog)
    widths = [max(len(row[i]) for row in cells) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([f"Lake at {where}", *lines])


def table_html(where: str, catalog: pl.DataFrame) -> str:
    """Return the same as HTML."""
    head, *rows = _cells(catalog)
    made = [f"<tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>"]
    made += [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<p>Lake at <code>{html.escape(where)}</code></p><table>{''.join(made)}</table>"


def _cells(catalog: pl.DataFrame) -> list[tuple[str, ...]]:
    tables = catalog.group_by("table", maintain_order=True).agg(
        (pl.col("exchange") + " " + pl.col("symbol")).unique(maintain_order=True).alias("markets"),
        pl.col("start").min(),
        pl.col("end").max(),
        pl.col("segments").sum(),
        pl.col("bytes").sum(),
    )
    return [_COLUMNS, *(_line(*row) for row in tables.iter_rows())]


def _line(table: str, markets: list[str], start: object, end: object, segments: int, size: int) -> tuple[str, ...]:
    shown = ", ".join(markets[:3]) + (f" and {len(markets) - 3} more" if len(markets) > 3 else "")
    times = (f"{at:%Y-%m-%d %H:%M}" for at in (start, end))
    return (table, shown, *times, f"{segments:,}", f"{size / 1e6:,.2f}")
