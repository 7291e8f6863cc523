"""Arithmetic of intervals of time, int64 ns: sorted, merged, measured."""

from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same time as disjoint spans, sorted. Empty ones vanish.

    Examples
    --------
    >>> merged([(5, 9), (0, 3), (2, 4), (7, 7)])
    [(0, 4), (5, 9)]
    """
    found: list[Span] = []
    for start, end in sorted(spans):
        if end <= start:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def clipped(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    """Return what of some spans lies in [start, end)."""
    return [(max(a, start), min(b, end)) for a, b in spans if a < end and b > start]


def length(spans: Iterable[Span]) -> int:
    """Return how much time some spans cover, ns."""
    return sum(end - start for start, end in merged(spans))


def left_over(start: int, end: int, holes: Sequence[Span]) -> int:
    """Return how much of [start, end) lies outside of holes, ns.

    Examples
    --------
    >>> left_over(0, 10, [(2, 4), (3, 5), (9, 20)])
    6
    """
    return max(0, end - start) - length(clipped(holes, start, end))
