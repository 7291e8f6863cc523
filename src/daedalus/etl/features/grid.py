"""A series sampled on a grid of the epoch (previous tick, W7), and what windows of its returns say.

A window (ts - w, ts] with w a multiple of the grid's step holds the last w / step grid points, whenever within a step
it is asked: so columns change only when a point is passed, are worked out then, from the points, and held between.
The point at exactly ts takes the rows of that ts seen so far, and is sampled again at the next of them.

What a window sums up is kept as in `streaming`, with the number of the point for a time: a point costs the same
however long the windows are. A point that is sampled again is first taken back.
"""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Field
from daedalus.etl.features.jit import kernel

SECOND_NS = 1_000_000_000


def grid_fields(name: str, points: int) -> tuple[Field, ...]:
    """Return the state of one sampled series: the last `points` points, the last known value and the clock."""
    return (
        Field(f"{name}_points", FLOAT, (points,)),
        Field(f"{name}_known", FLOAT, (1,)),
        Field(f"{name}_clock", INT, (3,)),
    )


def grid_window_fields(name: str, points: int, windows: int, columns: int) -> tuple[Field, ...]:
    """Return the state of `windows` windows of at most `points` points over `columns` sums, as `streaming` has it.

    The ring's length is fixed: one point a step is all that there can be.
    """
    rows = 1 << points.bit_length()
    return (
        Field(f"{name}_ts", INT, (rows,)),
        Field(f"{name}_ring", FLOAT, (rows, 2, columns)),
        Field(f"{name}_head", INT, (1,)),
        Field(f"{name}_tails", INT, (windows,)),
        Field(f"{name}_totals", FLOAT, (2, columns)),
    )


@kernel
def advance(now: int, value: float, step: int, stale_ns: int, points: F64, known: F64, clock: I64) -> int:
    """Let a row in and sample the points up to it.

    `clock` is (seen, last point, time of the last known value). Returns the first point that is new or sampled again,
    or the one after the last when there is none.
    """
    current = now // step
    if clock[0] == 0:
        clock[0], clock[1] = 1, current - 1
        known[0] = math.nan
        points[:] = math.nan
    first = min(clock[1] + 1, current) if current * step == now else clock[1] + 1
    first = int(max(first, current - len(points) + 1))
    for k in range(first, current + 1):
        if k * step < now:
            points[k % len(points)] = known[0] if k * step - clock[2] <= stale_ns else math.nan
    if not math.isnan(value):
        known[0], clock[2] = value, now
    if current * step == now:
        points[current % len(points)] = known[0] if now - clock[2] <= stale_ns else math.nan
    clock[1] = current
    return first


@kernel
def log_returns(first: int, last: int, points: F64, returns: F64) -> None:
    """Write the returns that end at the points from `first` to `last`."""
    size = len(points)
    for k in range(first, last + 1):
        returns[k % size] = math.log(points[k % size] / points[(k - 1) % size])


@kernel
def take_back(point: int, ring_ts: I64, ring: F64, head: I64, totals: F64) -> None:
    """Undo the newest row of a window state if it is of that point."""
    slot = (head[0] - 1) & (len(ring_ts) - 1)
    if head[0] > 0 and ring_ts[slot] == point:
        head[0] -= 1
        totals[:] = ring[slot]


@kernel
def unroll(last: int, values: F64, into: F64, count: int) -> None:
    """Copy the last `count` positions of the ring `values` up to `last`, newest last, the unknown ones as well."""
    size = len(values)
    slot = (last - count + 1) % size
    for k in range(count):
        into[k] = values[slot]
        slot = slot + 1 if slot + 1 < size else 0
