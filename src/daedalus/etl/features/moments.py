"""Moments of series over time windows, from one ring: the kernel that several rolling families share.

A family lists series and, per column template, a series and a statistic. What has to be summed follows from that.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Field, Frame, Run
from daedalus.etl.features.jit import kernel, primitive
from daedalus.etl.features.pairs import add_product, variance, window_pair
from daedalus.etl.features.streaming import add, enter, ratio, room, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

MEAN, STD, VAR, CV, Z, TIME_WEIGHTED, SAME_SIGN = range(7)
_COUNT, _VALUE, _SQUARE, _LIFE_VALUE, _LIFE, _ABOVE, _BELOW, _ZERO = range(8)
_SUMS = {
    MEAN: (_COUNT, _VALUE),
    STD: (_COUNT, _VALUE, _SQUARE),
    VAR: (_COUNT, _VALUE, _SQUARE),
    CV: (_COUNT, _VALUE, _SQUARE),
    Z: (_COUNT, _VALUE, _SQUARE),
    TIME_WEIGHTED: (_LIFE, _LIFE_VALUE),
    SAME_SIGN: (_COUNT, _ABOVE, _BELOW, _ZERO),
}


class Moment(NamedTuple):
    """One column per window: the name without `{w}s`, the series' number and the statistic of it."""

    name: str
    unit: str
    doc: str
    series: int
    statistic: int


class Layout(NamedTuple):
    """What the kernel walks over: sums as (series, kind) and outputs as (statistic, series, sums...)."""

    sums: I64
    outputs: I64


def moment_columns(moments: Sequence[Moment], windows: Sequence[int]) -> tuple[Column, ...]:
    """Return the columns, window by window within each moment."""
    return tuple(Column(f"{m.name}{w}s", "float64", m.unit, f"{m.doc}; last {w} s") for m in moments for w in windows)


def layout_of(moments: Sequence[Moment]) -> Layout:
    """Return which sums are needed and where each moment finds its own."""
    places: dict[tuple[int, int], int] = {}
    for moment in moments:
        for kind in _SUMS[moment.statistic]:
            places.setdefault((moment.series, kind), len(places))
    rows = []
    for moment in moments:
        own = [places[moment.series, kind] for kind in _SUMS[moment.statistic]]
        rows.append([moment.statistic, moment.series, *own, *([0] * (4 - len(own)))])
    return Layout(np.array(list(places), np.int64), np.array(rows, np.int64))


def moment_fields(moments: Sequence[Moment], windows: int, series: int) -> tuple[Field, ...]:
    """Return the state: windows, and the row before each row in them (for what lives on)."""
    return (
        *window_fields(windows, len(layout_of(moments).sums)),
        Field("ring_last", FLOAT, (series,), "ring"),
        Field("ring_last_ts", INT, (), "ring"),
        Field("last", FLOAT, (series,)),
        Field("last_ts", INT, (1,)),
    )


def moment_runner(
    family: str,
    moments: Sequence[Moment],
    windows: Sequence[int],
    stale_ns: int,
    fields: tuple[Field, ...],
    series: Callable[[Frame], F64],
) -> Run:
    """Return the computation; `series` makes the matrix [series, rows] of a chunk."""
    layout, lengths = layout_of(moments), window_lengths_ns(tuple(windows))

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        values = series(frame)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return frame.call(_moments, start, frame.ts, values, lengths, stale_ns, *layout, *arrays, out.f64)

        drive(family, state, fields, frame.rows, walk)

    return run


@kernel
def _moments(
    start: int,
    ts: I64,
    values: F64,
    lengths: I64,
    stale_ns: int,
    sums: I64,
    outputs: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    ring_last: F64,
    ring_last_ts: I64,
    last: F64,
    last_ts: I64,
    out: F64,
) -> int:
    mask, windows = len(ring_ts) - 1, len(lengths)
    mean, var = np.empty(windows), np.empty(windows)
    for i in range(start, len(ts)):
        if not room(ts[i], lengths, ring_ts, head, tails):
            return i
        if head[0] == 0:
            last[:] = math.nan
        _add_lives(totals, sums, last, min(ts[i] - last_ts[0], stale_ns) / 1e9)
        slot = enter(ts[i], lengths, ring_ts, ring, head, tails, totals)
        for s in range(len(last)):
            ring_last[slot, s] = last[s]
        ring_last_ts[slot] = last_ts[0]
        for o in range(len(outputs)):
            kind, s, a, b, c, _ = outputs[o]
            if kind == Z:
                _mean_and_variance(tails, mask, ring, totals, a, b, c, mean, var)
                for w in range(windows):
                    out[o * windows + w, i] = ratio(values[s, i] - mean[w], math.sqrt(var[w]))
        for c in range(len(sums)):
            _add_row(totals, c, sums[c, 1], values[sums[c, 0], i])
        for s in range(len(last)):
            last[s] = values[s, i]
        last_ts[0] = ts[i]
        worked_out = -1
        for o in range(len(outputs)):
            kind, s, a, b, c, d = outputs[o]
            base = o * windows
            if kind == MEAN:
                for w in range(windows):
                    oldest = tails[w] & mask
                    out[base + w, i] = ratio(window_sum(totals, ring, oldest, b), window_sum(totals, ring, oldest, a))
            elif kind == SAME_SIGN:
                x = values[s, i]
                own = b if x > 0.0 else (c if x < 0.0 else d)
                for w in range(windows):
                    oldest = tails[w] & mask
                    same = ratio(window_sum(totals, ring, oldest, own), window_sum(totals, ring, oldest, a))
                    out[base + w, i] = math.nan if math.isnan(x) else same
            elif kind == TIME_WEIGHTED:
                for w in range(windows):
                    begin = ts[i] - lengths[w]
                    oldest = tails[w] & mask
                    out[base + w, i] = _lived(
                        begin, stale_ns, s, oldest, a, b, ring_ts, ring, totals, ring_last, ring_last_ts
                    )
            elif kind != Z:
                if worked_out != s:
                    _mean_and_variance(tails, mask, ring, totals, a, b, c, mean, var)
                    worked_out = s
                _write(kind, mean, var, out, base, i)
    return len(ts)


@primitive
def _add_lives(totals: F64, sums: I64, last: F64, life: float) -> None:
    """Add how long the values of the row before have lived."""
    for c in range(len(sums)):
        before = last[sums[c, 0]]
        known = not math.isnan(before)
        if sums[c, 1] == _LIFE_VALUE:
            add(totals, c, before * life if known else 0.0)
        elif sums[c, 1] == _LIFE:
            add(totals, c, life if known else 0.0)


@primitive
def _add_row(totals: F64, c: int, kind: int, value: float) -> None:
    """Add what a sum of that kind takes of a row's value; null adds nothing."""
    if kind == _COUNT:
        add(totals, c, 0.0 if math.isnan(value) else 1.0)
    elif kind == _VALUE:
        add(totals, c, value)
    elif kind == _SQUARE:
        add_product(totals, c, value, value)
    elif kind == _ABOVE:
        add(totals, c, 1.0 if value > 0.0 else 0.0)
    elif kind == _BELOW:
        add(totals, c, 1.0 if value < 0.0 else 0.0)
    elif kind == _ZERO:
        add(totals, c, 1.0 if value == 0.0 else 0.0)


@primitive
def _mean_and_variance(
    tails: I64, mask: int, ring: F64, totals: F64, a: int, b: int, c: int, mean: F64, var: F64
) -> None:
    """Work out every window from its count, sum and sum of squares in columns `a`, `b` and `c`."""
    for w in range(len(tails)):
        oldest = tails[w] & mask
        n = window_sum(totals, ring, oldest, a)
        total, total_low = window_pair(totals, ring, oldest, b)
        squares, squares_low = window_pair(totals, ring, oldest, c)
        mean[w] = ratio(total + total_low, n)
        var[w] = variance(n, squares, squares_low, total, total_low, totals[0, c])


@primitive
def _write(kind: int, mean: F64, var: F64, out: F64, base: int, i: int) -> None:
    """Write what mean and variance of the windows give."""
    for w in range(len(mean)):
        if kind == VAR:
            out[base + w, i] = var[w]
        elif kind == STD:
            out[base + w, i] = math.sqrt(var[w])
        else:
            out[base + w, i] = ratio(math.sqrt(var[w]), mean[w])


@primitive
def _lived(
    begin: int,
    stale_ns: int,
    series: int,
    slot: int,
    a: int,
    b: int,
    ring_ts: I64,
    ring: F64,
    totals: F64,
    ring_last: F64,
    ring_last_ts: I64,
) -> float:
    """Return the time-weighted mean since `begin` (W8): whole lives in the window and the one that reaches into it."""
    lived, weighted = window_sum(totals, ring, slot, a), window_sum(totals, ring, slot, b)
    value, since = ring_last[slot, series], ring_last_ts[slot]
    end = ring_ts[slot] if ring_ts[slot] < since + stale_ns else since + stale_ns
    inside = (end - (begin if begin > since else since)) / 1e9
    reaches = (inside > 0.0) & (value == value)
    part = inside if reaches else 0.0
    return ratio(weighted + (value * part if reaches else 0.0), lived + part)
