"""Running maxima over time windows of any number, exact to the bit (N7): one ordered chain per series.

The chain links the rows that can still become a maximum, each smaller than the one before it. A row costs constant time
on average, whatever the windows: every window points at its own maximum in the chain and steps along when that leaves.
A minimum is the maximum of the negated values.

State: `ring_ts` int64[capacity], `ring` float64[capacity, series] (values), `older` and `newer` int64[capacity, series]
(positions along the chain), `head`, `tails`, `back` int64[series] and `chosen` int64[windows, series], the position of
each window's maximum, -1 where there is none.
"""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Field
from daedalus.etl.features.jit import kernel


def extreme_fields(windows: int, series: int) -> tuple[Field, ...]:
    """Return the state of `windows` time windows over `series` maxima."""
    return (
        Field("ring_ts", INT, (), "ring"),
        Field("ring", FLOAT, (series,), "ring"),
        Field("older", INT, (series,), "ring"),
        Field("newer", INT, (series,), "ring"),
        Field("head", INT, (1,)),
        Field("tails", INT, (windows,)),
        Field("back", INT, (series,)),
        Field("chosen", INT, (windows, series)),
    )


@kernel
def expire(now: int, lengths: I64, ring_ts: I64, newer: I64, head: I64, tails: I64, chosen: I64) -> int:
    """Drop from every window the rows with ts <= now - length; return the oldest position that one still holds."""
    mask = len(ring_ts) - 1
    oldest: int = head[0]
    for w in range(len(lengths)):
        tail, cutoff = tails[w], now - lengths[w]
        while tail < head[0] and ring_ts[tail & mask] <= cutoff:
            tail += 1
        oldest = min(oldest, tail)
        if tail > tails[w]:
            tails[w] = tail
            # Along the chain before a new row may take the place of one that has left.
            for s in range(chosen.shape[1]):
                best = chosen[w, s]
                while 0 <= best < tail:
                    best = newer[best & mask, s]
                chosen[w, s] = best
    return oldest


@kernel
def push(now: int, lengths: I64, ring_ts: I64, newer: I64, head: I64, tails: I64, chosen: I64) -> int:
    """Let a row in, as `streaming.enter` does; `choose` must follow for every series. Returns -1 without room."""
    oldest = expire(now, lengths, ring_ts, newer, head, tails, chosen)
    if head[0] - oldest == len(ring_ts):
        return -1
    slot: int = head[0] & (len(ring_ts) - 1)
    ring_ts[slot] = now
    head[0] += 1
    return slot


@kernel
def choose(
    s: int, value: float, ring: F64, older: I64, newer: I64, head: I64, tails: I64, back: I64, chosen: I64
) -> None:
    """Enter the current row's value of series `s` and leave every window's maximum in `chosen`. Null is skipped."""
    mask, position = len(ring) - 1, head[0] - 1
    oldest = tails.min()
    if position == 0:
        back[s] = -1
        chosen[:, s] = -1
    slot = position & mask
    ring[slot, s] = value
    older[slot, s] = newer[slot, s] = -1
    known = not math.isnan(value)
    if known:
        before = back[s]
        while before >= oldest and ring[before & mask, s] <= value:
            before = older[before & mask, s]
        if before >= oldest:
            older[slot, s] = before
            newer[before & mask, s] = position
        back[s] = position
    for w in range(len(tails)):
        if known and (chosen[w, s] < 0 or ring[chosen[w, s] & mask, s] <= value):
            chosen[w, s] = position
