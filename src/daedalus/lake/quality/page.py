"""The quality report as one HTML file: no script, nothing from the network, light or dark as the reader's system is."""

import html
from collections.abc import Iterable, Sequence

import polars as pl

from daedalus.lake.quality.charts import Cell, Point, calendar, lines, short
from daedalus.lake.quality.reading import HOUR_NS
from daedalus.lake.quality.report import Quality
from daedalus.shared.clock import utc
from daedalus.shared.events import ALL

#: Gaps and markets that are shown; the table `quality` and the ledger have all.
GAPS_MAX, MARKETS_MAX = 500, 40
#: More hours than that, and a cell of the calendar is a day.
_HOURS_MAX = 14 * 24
#: Hours or days without any row that the calendar shows; longer stretches are left out.
_EMPTY_MAX = 24
_MARK_EVERY = 8
_WIDTH = 1110
_KEYS = (
    ("verified", "verified by the exchange's numbering"),
    ("connected", "connected"),
    ("gap", "gap"),
    ("none", "not recorded"),
)
_STYLE = """
:root{color-scheme:light dark;--page:#fff;--text:#1d2733;--soft:#5b6b7c;--rule:#dde3ea;--card:#f6f8fa;
--verified:#2e9e6b;--connected:#8fb8de;--gap:#d9483b;--none:#edf0f3;--first:#2a7fba;--second:#d9822b}
@media (prefers-color-scheme:dark){:root{--page:#12171d;--text:#e3e9f0;--soft:#93a3b4;--rule:#2b3540;--card:#1a2129;
--verified:#35b57c;--connected:#3f6f9f;--gap:#f0655a;--none:#222a33;--first:#5fb0ea;--second:#f0a554}}
body{margin:0 auto;padding:24px;max-width:1440px;background:var(--page);color:var(--text);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:22px;margin:0}h2{font-size:16px;margin:32px 0 8px}p{margin:4px 0;color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:3px 10px 3px 0;border-bottom:1px solid var(--rule);text-align:right}th{color:var(--soft);font-weight:500}
th.left,td.left{text-align:left}td.bad{color:var(--gap);font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(460px,100%),1fr));gap:16px}
figure{margin:0;padding:10px;background:var(--card);border-radius:8px}figcaption{font-weight:500}
svg{display:block;height:auto}figure svg{width:100%}
text{fill:var(--text);font-size:12px}.tick{fill:var(--soft);font-size:11px}
.verified{fill:var(--verified)}.connected{fill:var(--connected)}.gap{fill:var(--gap)}.none{fill:var(--none)}
.grid{stroke:var(--rule)}.line{fill:none;stroke-width:1.5}.line.first{stroke:var(--first)}
.line.second{stroke:var(--second);stroke-dasharray:4 3}.dot.first{fill:var(--first)}.dot.second{fill:var(--second)}
.key{white-space:nowrap;margin-left:14px}
.key i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:5px;vertical-align:-1px}
"""
_SUMMARY = (
    ("rows", "rows"),
    ("hours", "hours"),
    ("gaps", "gaps"),
    ("missed", "missed"),
    ("duplicates", "duplicates"),
    ("out_of_order", "out of order"),
    ("crossed", "crossed"),
    ("locked", "locked"),
    ("stale", "stale"),
    ("outliers", "outliers"),
    ("spread_p50_bps", "spread bps"),
    ("latency_p50_ms", "latency ms"),
    ("latency_p99_ms", "p99 ms"),
    ("clock_offset_ms", "offset ms"),
)
_BAD = {"missed", "duplicates", "crossed", "outliers"}


def page(where: str, quality: Quality) -> str:
    """Return the report of a lake as the text of one HTML file."""
    hours = quality.hours
    first, last = int(str(hours["hour_start"].min())), int(str(hours["hour_start"].max())) + HOUR_NS
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Data quality of {html.escape(where)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Data quality</h1><p>{html.escape(where)}, {utc(first):%Y-%m-%d %H:%M} to {utc(last):%Y-%m-%d %H:%M} UTC",
        "</p>",
        _coverage(hours),
        _table("By market and channel", *_summary(quality.summary())),
        _gaps(quality.gaps),
        _charts("Spread, bps: median, and 95th percentile dashed", hours, ("spread_p50_bps", "spread_p95_bps")),
        _charts("Latency, ms: median, and 99th percentile dashed", hours, ("latency_p50_ms", "latency_p99_ms")),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _coverage(hours: pl.DataFrame) -> str:
    names = ("exchange", "symbol", "channel")
    flows = hours.filter(pl.col("symbol") != ALL, pl.col("connected_s").is_not_null())
    width = HOUR_NS if flows["hour_start"].n_unique() <= _HOURS_MAX else 24 * HOUR_NS
    at = (pl.col("hour_start") // width * width).alias("at")
    sums = flows.group_by(*names, at, maintain_order=True).agg(pl.col("connected_s", "verified_s", "gap_s").sum())
    times = _columns(sorted(sums["at"].unique()), width)
    places = {time: n for n, time in enumerate(times) if time is not None}
    cells: dict[str, list[Cell | None]] = {}
    for exchange, symbol, channel, start, connected, verified, gap in sums.sort(*names, "at").iter_rows():
        line = cells.setdefault(f"{exchange} {symbol} {channel}", [None] * len(times))
        line[places[start]] = _cell(start, width, connected, verified, gap)
    shown = list(cells.items())
    note = f"<p>the first {MARKETS_MAX} of {len(shown)} streams</p>" if len(shown) > MARKETS_MAX else ""
    keys = " ".join(f'<span class="key"><i style="background:var(--{kind})"></i>{text}</span>' for kind, text in _KEYS)
    unit = "hour" if width == HOUR_NS else "day"
    head = f"<h2>Coverage</h2><p>a cell is one {unit}, filled with its time:{keys}</p>{note}"
    return f'{head}<div class="wide">{calendar(shown[:MARKETS_MAX], _marks(times), _WIDTH)}</div>'


def _columns(starts: Sequence[int], width: int) -> list[int | None]:
    """Return the columns of the calendar: hours or days, and None where a stretch without any is left out."""
    columns: list[int | None] = []
    for n, start in enumerate(starts):
        if n and (missing := (start - starts[n - 1]) // width - 1):
            columns += [starts[n - 1] + k * width for k in range(1, missing + 1)] if missing <= _EMPTY_MAX else [None]
        columns.append(start)
    return columns


def _marks(times: Sequence[int | None]) -> list[tuple[int, str]]:
    """Return the (column, text) of times below the calendar: where a stretch begins, and some on the way."""
    marks: list[tuple[int, str]] = []
    for n, time in enumerate(times):
        begins = n == 0 or times[n - 1] is None
        if time is not None and (not marks or n - marks[-1][0] >= (_MARK_EVERY if not begins else 4)):
            marks.append((n, f"{utc(time):%Y-%m-%d %H:%M}" if begins else f"{utc(time):%m-%d %H:%M}"))
    return marks


def _cell(start: int, width: int, connected: float, verified: float, gap: float) -> Cell:
    whole = width / 1e9
    title = f"{utc(start):%Y-%m-%d %H:%M}: connected {connected:,.0f} s, verified {verified:,.0f} s, gaps {gap:,.1f} s"
    return Cell(verified / whole, max(0.0, connected - verified) / whole, gap / whole, title)


def _summary(found: pl.DataFrame) -> tuple[list[str], Iterable[tuple[list[str], set[int]]]]:
    heads = ["market", "channel", "connected", "verified", *(text for _, text in _SUMMARY), "sides agree"]
    return heads, (_summary_line(row) for row in found.iter_rows(named=True))


def _summary_line(row: dict[str, float | str | None]) -> tuple[list[str], set[int]]:
    connected, verified, gap = (float(row[f"{name}_s"] or 0.0) for name in ("connected", "verified", "gap"))
    shares = [percent(connected, connected + gap), percent(verified, connected)]
    cells = [f"{row['exchange']} {row['symbol']}", str(row["channel"]), *shares]
    cells += [_number(row[name]) for name, _ in _SUMMARY]
    agreement = row["side_agreement"]
    stops = {"gaps": float(row["gaps"] or 0) - float(row["gaps_shutdown"] or 0)}
    bad = {4 + n for n, (name, _) in enumerate(_SUMMARY) if stops.get(name) or (name in _BAD and row[name])}
    return [*cells, "" if agreement is None else f"{float(agreement):.1%}"], bad


def percent(part: float, whole: float) -> str:
    """Return a share, rounded down, so that 100 % means all of it; nothing of nothing is empty."""
    if whole <= 0:
        return ""
    return f"{int(part / whole * 10_000 + 1e-6) / 100:.2f}%"


def _number(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return ""
    return f"{value:,}" if isinstance(value, int) else short(value)


def _gaps(gaps: pl.DataFrame) -> str:
    # What channels of a market share is one line.
    shared = [name for name in gaps.columns if name != "channel"]
    gaps = gaps.group_by(shared, maintain_order=True).agg(pl.col("channel").sort().str.join(" "))
    lines = (_gap_line(row) for row in gaps.head(GAPS_MAX).iter_rows(named=True))
    heads = ["began", "market", "channel", "cause", "seconds", "missed", "detail"]
    title = f"Gaps: {gaps.height:,}" + (f", the first {GAPS_MAX}" if gaps.height > GAPS_MAX else "")
    return _table(title, heads, lines) if gaps.height else "<h2>Gaps: none</h2>"


def _gap_line(row: dict[str, int | str | None]) -> tuple[list[str], set[int]]:
    start, end = int(row["started_at"] or 0), row["ended_at"]
    seconds = "open" if end is None else f"{(int(end) - start) / 1e9:,.3f}"
    missed = "" if row["missed"] is None else f"{row['missed']:,}"
    cells = [f"{row['exchange']} {row['symbol']}", str(row["channel"]), str(row["reason"]), seconds, missed]
    return [f"{utc(start):%Y-%m-%d %H:%M:%S}", *cells, str(row["detail"] or "")[:160]], set()


_LEFT = {"market", "channel", "cause", "began", "detail"}


def _table(title: str, heads: Sequence[str], rows: Iterable[tuple[list[str], set[int]]]) -> str:
    side = [' class="left"' if head in _LEFT else "" for head in heads]
    parts = [f'<h2>{html.escape(title)}</h2><div class="wide"><table><tr>']
    parts += [f"<th{where}>{html.escape(head)}</th>" for head, where in zip(heads, side, strict=True)]
    for cells, bad in rows:
        parts.append("</tr><tr>")
        classes = [' class="bad"' if n in bad else where for n, where in enumerate(side)]
        parts += [f"<td{where}>{html.escape(cell)}</td>" for cell, where in zip(cells, classes, strict=True)]
    return "".join([*parts, "</tr></table></div>"])


def _charts(title: str, hours: pl.DataFrame, columns: tuple[str, str]) -> str:
    """Return small charts of two columns, one a stream that has them."""
    figures: list[str] = []
    for (exchange, symbol, channel), rows in hours.group_by("exchange", "symbol", "channel", maintain_order=True):
        if rows[columns[0]].count() and len(figures) < MARKETS_MAX:
            name = f"{exchange} {symbol} {channel}"
            chart = lines([("first", _points(rows, columns[0])), ("second", _points(rows, columns[1]))], name)
            figures.append(f"<figure><figcaption>{html.escape(name)}</figcaption>{chart}</figure>")
    return f'<h2>{html.escape(title)}</h2><div class="charts">{"".join(figures)}</div>' if figures else ""


def _points(rows: pl.DataFrame, column: str) -> list[Point]:
    """Return (time, value) by hour; an hour that is not there breaks the line."""
    points: list[Point] = []
    for start, value in rows.select("hour_start", column).sort("hour_start").iter_rows():
        if points and start - points[-1][0] > HOUR_NS:
            points.append((start - HOUR_NS, None))
        points.append((start, value))
    return points
