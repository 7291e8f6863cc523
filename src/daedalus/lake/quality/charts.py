"""Pictures of the quality report: plain SVG whose colours come from the page."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from daedalus.shared.clock import utc

Point = tuple[int, float | None]
_CELL_H, _GAP = 20, 4
_LABEL_W = 230
_CHART_W, _CHART_H = 460, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 10, 22
_TICKS = 3


@dataclass(frozen=True)
class Cell:
    """One cell of the calendar: shares of its time, 0 to 1, and what a pointer over it shows."""

    verified: float
    connected: float
    gap: float
    title: str


def calendar(rows: Sequence[tuple[str, Sequence[Cell | None]]], marks: Sequence[tuple[int, str]], width: int) -> str:
    """Return the coverage calendar: a line a market, a cell an hour or day, filled from below.

    Parameters
    ----------
    rows
        (market, its cells), None where it was not recorded.
    marks
        (column, text) below the cells.
    width
        Of the picture, pixels.
    """
    columns = max(len(cells) for _, cells in rows)
    step = max(2.0, min(24.0, (width - _LABEL_W) / columns))
    height = len(rows) * (_CELL_H + _GAP) + 22
    parts = [_open(_LABEL_W + step * columns, height, "coverage by market and hour")]
    for line, (name, cells) in enumerate(rows):
        y = line * (_CELL_H + _GAP)
        parts.append(f'<text class="name" x="{_LABEL_W - 8}" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>')
        parts += [_cell(_LABEL_W + n * step, y, step - min(2.0, step / 4), cell) for n, cell in enumerate(cells)]
    for column, text in marks:
        x = _LABEL_W + column * step
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 6}">{html.escape(text)}</text>')
    return "".join([*parts, "</svg>"])


def _cell(x: float, y: float, width: float, cell: Cell | None) -> str:
    if cell is None:
        return f'<rect class="none" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_CELL_H}"/>'
    parts, top = [f"<g><title>{html.escape(cell.title)}</title>"], float(y + _CELL_H)
    parts.append(f'<rect class="none" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_CELL_H}"/>')
    for kind, share in (("verified", cell.verified), ("connected", cell.connected), ("gap", cell.gap)):
        # A short gap is still to be seen.
        tall = max(share * _CELL_H, 2.0 if kind == "gap" else 0.0) if share > 0 else 0.0
        top = max(float(y), top - tall) if kind != "gap" else float(y)
        if tall:
            parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{tall:.1f}"/>')
    return "".join([*parts, "</g>"])


def lines(series: Sequence[tuple[str, Sequence[Point]]], title: str) -> str:
    """Return a small chart of lines over time.

    Parameters
    ----------
    series
        (class of the line, its points as (time in ns, value)); a missing value breaks the line.
    title
        What it shows, for those who cannot see it.
    """
    points = [point for _, line in series for point in line if point[1] is not None]
    if not points:
        return ""
    times, values = [t for t, _ in points], [float(v) for _, v in points if v is not None]
    ticks = _ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]
    first, last = min(times), max(max(times), min(times) + 1)

    def x(t: int) -> float:
        return _LEFT + (t - first) / (last - first) * (_CHART_W - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_CHART_H - _TOP - _BOTTOM)

    parts = [_open(_CHART_W, _CHART_H, title)]
    for value in ticks:
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_CHART_W - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{short(value)}</text>'
        )
    for time, anchor in ((first, "start"), (last, "end")):
        text = f"{utc(time):%Y-%m-%d %H:%M}"
        parts.append(f'<text class="tick" x="{x(time):.1f}" y="{_CHART_H - 5}" text-anchor="{anchor}">{text}</text>')
    for kind, line in series:
        parts += [_stroke(kind, [(x(t), y(v)) for t, v in run]) for run in _runs(line)]
    return "".join([*parts, "</svg>"])


def _runs(line: Sequence[Point]) -> list[list[tuple[int, float]]]:
    """Return the stretches of a line without missing values."""
    runs: list[list[tuple[int, float]]] = [[]]
    for time, value in line:
        if value is None or not math.isfinite(value):
            runs.append([])
        else:
            runs[-1].append((time, value))
    return [run for run in runs if run]


def _stroke(kind: str, points: Sequence[tuple[float, float]]) -> str:
    if len(points) == 1:
        return f'<circle class="dot {kind}" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="2.5"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line {kind}" points="{path}"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Return where an axis is marked, at round numbers, its ends among them: from 0 where that is near.

    Examples
    --------
    >>> _ticks(0.2, 1.03), _ticks(102.0, 107.0), _ticks(3.0, 3.0)
    ([0.0, 0.5, 1.0, 1.5], [102.0, 104.0, 106.0, 108.0], [2.0, 4.0])
    """
    low = 0.0 if 0 <= low < high / 2 else low
    step = _round_up((high - low) / _TICKS or abs(high) / 2 or 1.0)
    first = math.floor(low / step)
    last = max(first + 1, math.ceil(high / step))
    return [n * step for n in range(first, last + 1)]


def _round_up(value: float) -> float:
    """Return the least of ..., 0.5, 1, 2, 5, 10, ... that is not below a value."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * times for times in (1, 2, 5, 10) if unit * times >= value * (1 - 1e-9))


def short(value: float) -> str:
    """Return a number in few characters.

    Examples
    --------
    >>> short(0.01234), short(1234567.0), short(12.0)
    ('0.0123', '1.23M', '12')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img">'
        f"<title>{html.escape(title)}</title>"
    )
