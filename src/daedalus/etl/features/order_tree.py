"""Order statistics over time windows of any number, exact: one search tree, shared by all windows.

The tree holds the values of the longest window, ordered by value and then by position; every node counts, for each
window, how many of its subtree lie in it. So a value costs a few dozen steps whatever the windows hold. It is a treap
(Seidel and Aragon 1996) whose priorities are a hash of the position: its form follows from what it holds.

State: `ring_ts` int64[capacity], `ring` float64[capacity] (values), `left` and `right` int64[capacity] (a node is its
position + 1; 0 is none), `counts` int64[capacity, windows], `head`, `tails` and `root` int64[1].
"""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Field
from daedalus.etl.features.jit import kernel

#: Length of the scratch path: far beyond any depth that the hash allows.
DEPTH_MAX = 1024


def tree_fields(windows: int) -> tuple[Field, ...]:
    """Return the state of `windows` time windows over one series."""
    return (
        Field("ring_ts", INT, (), "ring"),
        Field("ring", FLOAT, (), "ring"),
        Field("left", INT, (), "ring"),
        Field("right", INT, (), "ring"),
        Field("counts", INT, (windows,), "ring"),
        Field("head", INT, (1,)),
        Field("tails", INT, (windows,)),
        Field("root", INT, (1,)),
    )


@kernel
def _priority(node: int) -> int:
    mixed = node * 0x1E3779B97F4A7C15
    mixed = (mixed ^ (mixed >> 31)) * 0x3F58476D1CE4E5B9
    return int(mixed ^ (mixed >> 29))


@kernel
def _is_before(a: int, b: int, ring: F64) -> bool:
    """Return whether node `a` is ordered before node `b`."""
    mask = len(ring) - 1
    x, y = ring[(a - 1) & mask], ring[(b - 1) & mask]
    return bool(x < y or (x == y and a < b))


@kernel
def drop(
    now: int,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    left: I64,
    right: I64,
    counts: I64,
    head: I64,
    tails: I64,
    root: I64,
) -> bool:
    """Drop from every window what has ts <= now - length; return whether the ring can take one more value."""
    mask, before, oldest = len(ring_ts) - 1, tails.min(), head[0]
    for w in range(len(lengths)):
        cutoff = now - lengths[w]
        while tails[w] < head[0] and ring_ts[tails[w] & mask] <= cutoff:
            _uncount(w, tails[w] + 1, ring, left, right, counts, root)
            tails[w] += 1
        oldest = min(oldest, tails[w])
    for position in range(before, oldest):
        _remove(position + 1, ring, left, right, counts, root)
    return bool(head[0] - oldest < len(ring_ts))


@kernel
def insert(
    now: int,
    value: float,
    ring_ts: I64,
    ring: F64,
    left: I64,
    right: I64,
    counts: I64,
    head: I64,
    root: I64,
    path: I64,
) -> None:
    """Let a value in; `drop` must have said that there is room. `path` is scratch space for the nodes above."""
    mask, node = len(ring) - 1, head[0] + 1
    slot = head[0] & mask
    ring_ts[slot], ring[slot], left[slot], right[slot] = now, value, 0, 0
    counts[slot, :] = 1
    head[0] += 1
    depth, at = 0, root[0]
    while at != 0:
        counts[(at - 1) & mask, :] += 1
        path[depth] = at
        depth += 1
        at = left[(at - 1) & mask] if _is_before(node, at, ring) else right[(at - 1) & mask]
    if depth == 0:
        root[0] = node
    else:
        _put(path[depth - 1], _is_before(node, path[depth - 1], ring), node, left, right, root)
    while depth > 0 and _priority(node) > _priority(path[depth - 1]):
        parent, above = path[depth - 1], path[depth - 2] if depth > 1 else 0
        _put(above, above != 0 and left[(above - 1) & mask] == parent, node, left, right, root)
        _lift(node, parent, left, right, counts)
        depth -= 1


@kernel
def _put(parent: int, on_left: bool, node: int, left: I64, right: I64, root: I64) -> None:
    """Make a node the child of another; of none: the root."""
    slot = (parent - 1) & (len(left) - 1)
    if parent == 0:
        root[0] = node
    elif on_left:
        left[slot] = node
    else:
        right[slot] = node


@kernel
def _lift(node: int, parent: int, left: I64, right: I64, counts: I64) -> None:
    """Turn parent and child round, so that the child is above."""
    mask = len(left) - 1
    low, high = (parent - 1) & mask, (node - 1) & mask
    if left[low] == node:
        moved = right[high]
        left[low], right[high] = moved, parent
    else:
        moved = left[high]
        right[low], left[high] = moved, parent
    for w in range(counts.shape[1]):
        whole = counts[low, w]
        counts[low, w] -= counts[high, w] - (counts[(moved - 1) & mask, w] if moved != 0 else 0)
        counts[high, w] = whole


@kernel
def _uncount(w: int, node: int, ring: F64, left: I64, right: I64, counts: I64, root: I64) -> None:
    """Take a node out of window `w`."""
    mask, at = len(ring) - 1, root[0]
    counts[(at - 1) & mask, w] -= 1
    while at != node:
        at = left[(at - 1) & mask] if _is_before(node, at, ring) else right[(at - 1) & mask]
        counts[(at - 1) & mask, w] -= 1


@kernel
def _remove(node: int, ring: F64, left: I64, right: I64, counts: I64, root: I64) -> None:
    """Take a node that no window counts out of the tree: its children are merged in its place."""
    mask, parent, at = len(ring) - 1, 0, root[0]
    while at != node:
        parent = at
        at = left[(at - 1) & mask] if _is_before(node, at, ring) else right[(at - 1) & mask]
    on_left = parent != 0 and left[(parent - 1) & mask] == node
    a, b = left[(node - 1) & mask], right[(node - 1) & mask]
    while a != 0 and b != 0:
        if _priority(a) > _priority(b):
            _put(parent, on_left, a, left, right, root)
            counts[(a - 1) & mask, :] += counts[(b - 1) & mask, :]
            parent, on_left, a = a, False, right[(a - 1) & mask]
        else:
            _put(parent, on_left, b, left, right, root)
            counts[(b - 1) & mask, :] += counts[(a - 1) & mask, :]
            parent, on_left, b = b, True, left[(b - 1) & mask]
    _put(parent, on_left, a + b, left, right, root)


@kernel
def kth(w: int, rank: int, ring: F64, left: I64, right: I64, counts: I64, root: I64) -> float:
    """Return the value of that rank, from 0, in window `w`, which must hold more."""
    mask, at = len(ring) - 1, root[0]
    while True:
        slot = (at - 1) & mask
        below = counts[(left[slot] - 1) & mask, w] if left[slot] != 0 else 0
        above = counts[(right[slot] - 1) & mask, w] if right[slot] != 0 else 0
        if rank < below:
            at = left[slot]
        elif rank < counts[slot, w] - above:
            return float(ring[slot])
        else:
            rank -= counts[slot, w] - above
            at = right[slot]


@kernel
def median(w: int, ring: F64, left: I64, right: I64, counts: I64, head: I64, tails: I64, root: I64) -> float:
    """Return the type 7 median (N4) of window `w`; of nothing: NaN."""
    n = head[0] - tails[w]
    if n == 0:
        return math.nan
    low = kth(w, (n - 1) // 2, ring, left, right, counts, root)
    if n % 2 == 1:
        return low
    high = kth(w, n // 2, ring, left, right, counts, root)
    return high - (high - low) * 0.5
