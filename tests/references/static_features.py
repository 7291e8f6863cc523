"""Naive references of the feature catalogue, sections 0-3: plain loops over one row at a time, null is None."""

from __future__ import annotations

import math

from daedalus.etl.features.config import FeatureConfig
from tests.references import shape_features
from tests.references.markets import Levels, Row

Values = dict[str, float | int | None]


def kept_rows(rows: list[Row], stale_ns: int) -> list[tuple[Row, int, bool]]:
    """Return (row, ts_eff, is_reset) of the rows that stay: T2, S1, S2."""
    kept: list[tuple[Row, int, bool]] = []
    numbers: set[int | None] = set()
    for row in rows:
        if not kept:
            kept.append((row, row.ts, True))
            numbers = {row.seq} - {None}
            continue
        last_ts = kept[-1][1]
        now = max(row.ts, last_ts)
        is_reset = row.reset or now - last_ts > stale_ns
        numbers = set() if is_reset else numbers
        if row.seq in numbers:
            continue
        numbers |= {row.seq} - {None}
        kept.append((row, now, is_reset))
    return kept


def clean(levels: Levels, best_is_high: bool, cap: int) -> Levels:
    """B1-B3."""
    sizes: dict[float, float] = {}
    for price, size in levels:
        if math.isfinite(price) and math.isfinite(size) and price > 0 and size > 0:
            sizes[price] = sizes.get(price, 0.0) + size
    return sorted(sizes.items(), reverse=best_is_high)[:cap]


def div(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or denominator is None or denominator == 0:
        return None
    return numerator / denominator


def imbalance(bid: float, ask: float) -> float | None:
    return div(bid - ask, bid + ask)


def identity(kept: list[tuple[Row, int, bool]], config: FeatureConfig) -> list[Values]:
    """Section 1."""
    out: list[Values] = []
    touch: object = None
    changed_at = 0
    for i, (row, ts, is_reset) in enumerate(kept):
        bids, asks = clean(row.bids, True, config.max_levels), clean(row.asks, False, config.max_levels)
        now_touch = (bids[:1], asks[:1])
        if is_reset or now_touch != touch:
            touch, changed_at = now_touch, ts
        out.append(
            {
                "ts": ts,
                "seq": row.seq,
                "dt_s": None if is_reset else (ts - kept[i - 1][1]) / 1e9,
                "n_levels_bid": len(bids),
                "n_levels_ask": len(asks),
                "book_age_s": (ts - changed_at) / 1e9,
                "is_crossed": int(bool(bids and asks) and bids[0][0] > asks[0][0]),
                "is_locked": int(bool(bids and asks) and bids[0][0] == asks[0][0]),
                "is_one_sided": int(bool(bids) != bool(asks)),
                "is_empty": int(not bids and not asks),
                "is_reset": int(is_reset),
                "is_late": int(row.ts < ts),
            }
        )
    return out


def static(row: Row, config: FeatureConfig) -> Values:
    """Sections 2 and 3."""
    bids, asks = clean(row.bids, True, config.max_levels), clean(row.asks, False, config.max_levels)
    values = levels(bids, asks, config)
    values.update(touch_features(bids, asks, config))
    values.update(depth_by_count(bids, asks, config))
    values.update(depth_by_band(bids, asks, config))
    values.update(shape_features.cost(bids, asks, config))
    values.update(shape_features.shape(bids, asks, config))
    return values


def levels(bids: Levels, asks: Levels, config: FeatureConfig) -> Values:
    out: Values = {}
    for k in range(config.max_levels):
        for name, side in (("bid", bids), ("ask", asks)):
            out[f"{name}_price_l{k}"] = side[k][0] if k < len(side) else None
            out[f"{name}_size_l{k}"] = side[k][1] if k < len(side) else None
        bid = bids[k][1] if k < len(bids) else 0.0
        ask = asks[k][1] if k < len(asks) else 0.0
        out[f"imbalance_l{k}"] = imbalance(bid, ask)
    return out


def mid_of(bids: Levels, asks: Levels) -> float | None:
    return (bids[0][0] + asks[0][0]) / 2 if bids and asks else None


def touch_features(bids: Levels, asks: Levels, config: FeatureConfig) -> Values:
    out: Values = dict.fromkeys(
        (
            "mid",
            "spread",
            "spread_bps",
            "spread_ticks",
            "microprice",
            "microprice_dev_bps",
            "log_size_ratio_l0",
            "log_mid",
        )
    )
    out["touch_notional_bid"] = bids[0][0] * bids[0][1] if bids else None
    out["touch_notional_ask"] = asks[0][0] * asks[0][1] if asks else None
    mid = mid_of(bids, asks)
    if mid is None:
        return out
    (b, qb), (a, qa) = bids[0], asks[0]
    micro = (qb * a + qa * b) / (qb + qa)
    out.update(mid=mid, spread=a - b, spread_bps=(a - b) / mid * 1e4, log_mid=math.log(mid), microprice=micro)
    out["microprice_dev_bps"] = (micro - mid) / mid * 1e4
    out["log_size_ratio_l0"] = math.log(qb / qa)
    if config.tick_size is not None:
        out["spread_ticks"] = float(round((a - b) / config.tick_size))
    return out


def depth_by_count(bids: Levels, asks: Levels, config: FeatureConfig) -> Values:
    out: Values = {}
    for count in (1, 3, 5, 10, 20):
        if count > config.max_levels:
            continue
        sums = {}
        for name, side in (("bid", bids), ("ask", asks)):
            sums[name] = sum(q for _, q in side[:count])
            out[f"depth_{name}_n{count}"] = sums[name] if bids or asks else None
            out[f"depth_notional_{name}_n{count}"] = sum(p * q for p, q in side[:count]) if bids or asks else None
        out[f"imbalance_n{count}"] = imbalance(sums["bid"], sums["ask"])
    return out


def distance_bps(price: float, mid: float, is_bid: bool) -> float:
    return max(0.0, (mid - price) / mid * 1e4 if is_bid else (price - mid) / mid * 1e4)


def depth_by_band(bids: Levels, asks: Levels, config: FeatureConfig) -> Values:
    out: Values = {}
    mid = mid_of(bids, asks)
    lows = [0.0, *config.bands_bps[:-1]]
    so_far = {"bid": 0.0, "ask": 0.0}
    for low, high in zip(lows, config.bands_bps, strict=True):
        band, edge = f"b{low:g}_{high:g}", f"{high:g}bps"
        inside: dict[str, float | None] = {}
        for name, side in (("bid", bids), ("ask", asks)):
            if mid is None:
                inside[name], out[f"depth_{name}_{band}"], out[f"depth_cum_{name}_{edge}"] = None, None, None
                continue
            total = 0.0
            for price, size in side:
                if low <= distance_bps(price, mid, name == "bid") + 1e-9 < high:
                    total += size
            inside[name] = total
            so_far[name] += total
            out[f"depth_{name}_{band}"], out[f"depth_cum_{name}_{edge}"] = total, so_far[name]
        out[f"imbalance_{band}"] = None if mid is None else imbalance(inside["bid"] or 0.0, inside["ask"] or 0.0)
        out[f"imbalance_cum_{edge}"] = None if mid is None else imbalance(so_far["bid"], so_far["ask"])
    last = config.bands_bps[-1]
    for name, side in (("bid", bids), ("ask", asks)):
        far = None if mid is None else distance_bps(side[-1][0], mid, name == "bid") + 1e-9 >= last
        out[f"book_covers_{name}_{last:g}bps"] = None if far is None else int(far)
    return out
