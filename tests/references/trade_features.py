"""Naive references of the feature catalogue, section 8: Kyle's lambda and VPIN over the merged streams."""

from __future__ import annotations

import math
from fractions import Fraction

from daedalus.etl.features.config import FeatureConfig
from tests.references.markets import Deal
from tests.references.stateful_features import Kept
from tests.references.static_features import Values

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


def kyle(kept: Kept, static: list[Values], deals: list[Deal], config: FeatureConfig) -> list[Values]:
    """Close 5 s bars one after the other and regress over the last n."""
    width, stale = 5_000_000_000, round(config.max_state_staleness_seconds * 1e9)
    bars: list[tuple[float, float | None]] = []
    open_bar: int | None = None
    volume = 0.0
    mid: tuple[float, int] | None = None
    close: float | None = None
    out: list[Values] = []
    fit: tuple[float | None, float | None, float | None] = (None, None, None)
    for now, _, deal, i in merged(kept, deals):
        open_bar = now // width if open_bar is None else open_bar
        closed = False
        while now >= (open_bar + 1) * width:
            end = (open_bar + 1) * width
            new_close = mid[0] if mid is not None and end - mid[1] <= stale else None
            change = None if new_close is None or close is None else new_close - close
            bars.append((volume, change))
            close, volume, closed = new_close, 0.0, True
            open_bar += 1
        if closed:
            fit = least_squares(bars[-(config.kyle_lambda_window // 5) :])
        if deal is not None:
            volume += deal.side * deal.amount
            continue
        if kept[i][2]:
            mid = close = None
        if static[i]["mid"] is not None:
            mid = (static[i]["mid"], now)  # type: ignore[assignment]
        out.append({"kyle_lambda": fit[0], "kyle_lambda_r2": fit[1], "kyle_lambda_t": fit[2]})
    return out


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


def vpin(kept: Kept, deals: list[Deal], config: FeatureConfig) -> list[Values]:
    """Fill buckets trade by trade."""
    buckets: list[float] = []
    bucket: dict[str, float] | None = None
    took: float | None = None
    day_volumes: dict[int, float] = {}
    out: list[Values] = []

    def opening_size(now: int) -> float:
        if config.vpin_bucket_volume != "auto":
            return float(config.vpin_bucket_volume)
        return day_volumes.get(now // 86_400_000_000_000 - 1, 0.0) / 50

    for now, own, deal, _ in merged(kept, deals):
        if deal is None:
            full = len(buckets) >= config.vpin_window_buckets
            size = bucket["size"] if bucket else opening_size(now)
            out.append(
                {
                    "vpin": sum(buckets[-config.vpin_window_buckets :]) / config.vpin_window_buckets if full else None,
                    "vpin_bucket_fill": (bucket["fill"] if bucket else 0.0) / size if size > 0 else None,
                    "vpin_bucket_dur_s": took,
                }
            )
            continue
        left, size = deal.amount, opening_size(now)
        while left > 0:
            if bucket is None:
                if size == 0:
                    break
                bucket = {"size": size, "fill": 0.0, "net": 0.0, "start": own}
            part = min(left, bucket["size"] - bucket["fill"])
            bucket["net"] += deal.side * part
            closes = part == bucket["size"] - bucket["fill"]
            bucket["fill"] += part
            left -= part
            if closes:
                buckets.append(abs(bucket["net"]) / bucket["size"])
                took = (own - int(bucket["start"])) / 1e9
                bucket = None
        day = now // 86_400_000_000_000
        day_volumes[day] = day_volumes.get(day, 0.0) + deal.amount
    return out
