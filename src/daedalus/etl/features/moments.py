"""Moments of series over time windows, from one ring: the kernel that several rolling families share.

A family lists series and, per column template, a series and a statistic. What has to be summed follows from that.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Field, Frame, Run
from daedalus.etl.features.jit import kernel
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
    reaches_back = (outputs[:, 0] == Z).any()
    for i in range(start, len(ts)):
        if not room(ts[i], lengths, ring_ts, head, tails):
            return i
        if head[0] == 0:
            last[:] = math.nan
        _add_lives(totals, sums, last, min(ts[i] - last_ts[0], stale_ns) / 1e9)
        slot = enter(ts[i], lengths, ring_ts, ring, head, tails, totals)
        ring_last[slot, :] = last
        ring_last_ts[slot] = last_ts[0]
        if reaches_back:
            _write(
                i,
                ts[i],
                True,
                values,
                lengths,
                stale_ns,
                outputs,
                ring_ts,
                ring,
                tails,
                totals,
                ring_last,
                ring_last_ts,
                out,
            )
        for c in range(len(sums)):
            _add_row(totals, c, sums[c, 1], values[sums[c, 0], i])
        last[:] = values[:, i]
        last_ts[0] = ts[i]
        _write(
            i,
            ts[i],
            False,
            values,
            lengths,
            stale_ns,
            outputs,
            ring_ts,
            ring,
            tails,
            totals,
            ring_last,
            ring_last_ts,
            out,
        )
    return len(ts)


@kernel
def _add_lives(totals: F64, sums: I64, last: F64, life: float) -> None:
    """Add how long the values of the row before have lived."""
    for c in range(len(sums)):
        before = last[sums[c, 0]]
        if not math.isnan(before) and sums[c, 1] == _LIFE_VALUE:
            add(totals, c, before * life)
        elif not math.isnan(before) and sums[c, 1] == _LIFE:
            add(totals, c, life)


@kernel
def _add_row(totals: F64, c: int, kind: int, value: float) -> None:
    """Add what a sum of that kind takes of a row's value; null adds nothing."""
    if math.isnan(value):
        return
    if kind == _COUNT:
        add(totals, c, 1.0)
    elif kind == _VALUE:
        add(totals, c, value)
    elif kind == _SQUARE:
        add_product(totals, c, value, value)
    elif (kind == _ABOVE and value > 0.0) or (kind == _BELOW and value < 0.0) or (kind == _ZERO and value == 0.0):
        add(totals, c, 1.0)


@kernel
def _write(
    i: int,
    now: int,
    before: bool,
    values: F64,
    lengths: I64,
    stale_ns: int,
    outputs: I64,
    ring_ts: I64,
    ring: F64,
    tails: I64,
    totals: F64,
    ring_last: F64,
    ring_last_ts: I64,
    out: F64,
) -> None:
    """Write the columns that look at the rows before the current one only, or the others."""
    windows = len(lengths)
    for o in range(len(outputs)):
        kind, series, a, b, c, d = outputs[o]
        if (kind == Z) != before:
            continue
        x = values[series, i]
        for w in range(windows):
            slot = tails[w] & (len(ring) - 1)
            if kind == TIME_WEIGHTED:
                value = _lived(
                    now - lengths[w], stale_ns, series, slot, a, b, ring_ts, ring, totals, ring_last, ring_last_ts
                )
            elif kind == SAME_SIGN:
                own = b if x > 0.0 else (c if x < 0.0 else d)
                same = math.nan if math.isnan(x) else window_sum(totals, ring, slot, own)
                value = ratio(same, window_sum(totals, ring, slot, a))
            else:
                value = _moment(kind, x, slot, a, b, c, ring, totals)
            out[o * windows + w, i] = value


@kernel
def _moment(kind: int, x: float, slot: int, a: int, b: int, c: int, ring: F64, totals: F64) -> float:
    n = window_sum(totals, ring, slot, a)
    total, total_low = window_pair(totals, ring, slot, b)
    mean = ratio(total + total_low, n)
    if kind == MEAN:
        return mean
    squares, squares_low = window_pair(totals, ring, slot, c)
    var = variance(n, squares, squares_low, total, total_low, totals[0, c])
    if kind == VAR:
        return var
    if kind == STD:
        return math.sqrt(var)
    return ratio(math.sqrt(var), mean) if kind == CV else ratio(x - mean, math.sqrt(var))


@kernel
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
    value = ring_last[slot, series]
    end = min(ring_ts[slot], ring_last_ts[slot] + stale_ns)
    inside = (end - max(begin, ring_last_ts[slot])) / 1e9
    if inside > 0.0 and not math.isnan(value):
        lived += inside
        weighted += value * inside
    return ratio(weighted, lived)
