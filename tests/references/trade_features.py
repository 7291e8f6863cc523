"""Naive references of the feature catalogue: the merged streams, and the regression of section 8."""

from __future__ import annotations

import math
from fractions import Fraction

from tests.references.markets import Deal
from tests.references.stateful_features import Kept

Event = tuple[int, int, Deal | None, int]
"""Time in the merged stream, ts_eff in its own, the trade or None, the index of the book row that sees it or is it."""


def merged(kept: Kept, deals: list[Deal]) -> list[Event]:
    """Put every trade before the first book row that may see it: ts_eff not later, and received by then."""
    events: list[Event] = []
    waiting = []
    newest = 0
    for deal in deals:
        if not (0 < deal.price < math.inf and 0 < deal.amount < math.inf):
            continue
        newest = max(newest, deal.ts)
        waiting.append((newest, deal))
    now = 0
    for i, (row, ts, _) in enumerate(kept):
        while waiting and waiting[0][0] <= ts:
            if not any(deal.collected_at <= row.collected_at for _, deal in waiting):
                break
            trade_ts, deal = waiting.pop(0)
            now = max(now, trade_ts)
            events.append((now, trade_ts, deal, i))
        now = max(now, ts)
        events.append((now, ts, None, i))
    return events


def least_squares(bars: list[tuple[float, float | None]]) -> tuple[float | None, float | None, float | None]:
    """Return slope, R2 and t, in exact arithmetic."""
    pairs = [(Fraction(x), Fraction(y)) for x, y in bars if y is not None]
    n = len(pairs)
    if n < 3:
        return None, None, None
    mean_x, mean_y = sum(x for x, _ in pairs) / n, sum(y for _, y in pairs) / n
    sxx = sum((x - mean_x) ** 2 for x, _ in pairs)
    sxy = sum((x - mean_x) * (y - mean_y) for x, y in pairs)
    sst = sum((y - mean_y) ** 2 for _, y in pairs)
    if sxx == 0:
        return None, None, None
    slope = sxy / sxx
    if sst == 0:
        return 0.0, None, None
    sse = sst - sxy * slope
    t = None if sse <= Fraction(1e-24) * sst else float(slope) / math.sqrt(float(sse / (n - 2) / sxx))
    return float(slope), float(1 - sse / sst), t
