"""Naive references of the feature catalogue, section 3: cost of trading and shape of the book."""

from __future__ import annotations

import math
from fractions import Fraction

from daedalus.etl.features.config import FeatureConfig
from tests.references.markets import Levels

Values = dict[str, float | int | None]


def quotient(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None or b == 0 else a / b


def share(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else quotient(a - b, a + b)


def cost(bids: Levels, asks: Levels, config: FeatureConfig) -> Values:
    out: Values = {}
    if not bids and not asks:
        return out
    mid = (bids[0][0] + asks[0][0]) / 2 if bids and asks else None
    for count in (k for k in (1, 3, 5, 10, 20) if k <= config.max_levels):
        vwap, size = {}, {}
        for name, side in (("bid", bids), ("ask", asks)):
            size[name] = sum(q for _, q in side[:count])
            vwap[name] = quotient(sum(p * q for p, q in side[:count]), size[name])
            out[f"vwap_depth_{name}_n{count}"] = vwap[name]
        middle = None
        if mid is not None:
            top = vwap["bid"] * size["ask"] + vwap["ask"] * size["bid"]  # type: ignore[operator]
            middle = top / (size["bid"] + size["ask"])
            out[f"vwap_mid_dev_bps_n{count}"] = (middle - mid) / mid * 1e4
        out[f"vwap_mid_n{count}"] = middle
    for name, side in (("bid", bids), ("ask", asks)):
        out[f"fillable_notional_{name}"] = sum(p * q for p, q in side)
    for notional in (1_000, 10_000, 100_000, 1_000_000):
        slip = {}
        for way, side, sign in (("buy", asks, 1), ("sell", bids, -1)):
            price = walked(side, notional)
            out[f"fill_price_{way}_{notional}"] = price
            slip[way] = None if price is None or mid is None else sign * (price - mid) / mid * 1e4
            out[f"slippage_{way}_bps_{notional}"] = slip[way]
        both = None if slip["buy"] is None or slip["sell"] is None else slip["buy"] + slip["sell"]
        out[f"round_trip_bps_{notional}"] = both
    return out


def walked(side: Levels, notional: float) -> float | None:
    left, got = Fraction(notional), Fraction(0)
    for price, size in side:
        part = min(left, Fraction(price * size))
        got += part / Fraction(price)
        left -= part
        if left == 0:
            return float(Fraction(notional) / got)
    return None


def shape(bids: Levels, asks: Levels, config: FeatureConfig) -> Values:
    out: Values = {}
    if not bids and not asks:
        return out
    mid = (bids[0][0] + asks[0][0]) / 2 if bids and asks else None
    for name, side, sign in (("bid", bids, -1), ("ask", asks, 1)):
        far = None if mid is None else [max(0.0, sign * (p - mid) / mid * 1e4) for p, _ in side]
        smart = None if far is None else math.fsum(q * math.exp(-d / 10) for (_, q), d in zip(side, far, strict=True))
        out[f"smart_depth_{name}"] = smart
        out[f"decayed_depth_{name}"] = math.fsum(q * math.exp(-0.5 * k) for k, (_, q) in enumerate(side[:10]))
        if side:
            out.update({f"{key}_{name}": value for key, value in sizes(side[:10]).items()})
            if mid is not None and far is not None:
                values = distances(side[:10], far[:10], mid, sign, config.lot_size)
                out.update({f"{key}_{name}": value for key, value in values.items()})
                for k in range(min(5, len(side) - 1)):
                    out[f"gap_bps_{name}_l{k}"] = abs(side[k + 1][0] - side[k][0]) / mid * 1e4
    out["imbalance_smart"] = share(out["smart_depth_bid"], out["smart_depth_ask"])
    out["imbalance_decayed"] = share(out["decayed_depth_bid"], out["decayed_depth_ask"])
    out["slope_asym"] = share(out.get("book_slope_bid"), out.get("book_slope_ask"))
    if mid is not None:
        out["cog_asym_bps"] = out["cog_bps_ask"] - out["cog_bps_bid"]  # type: ignore[operator]
        out["book_width_bps"] = (asks[-1][0] - bids[-1][0]) / mid * 1e4
        weights = [
            sum(q / (max(0.0, sign * (p - mid) / mid * 1e4) + 0.1) for p, q in side[:10])
            for side, sign in ((bids, -1), (asks, 1))
        ]
        out["pressure"] = share(*weights)
    return out


def sizes(side: Levels) -> Values:
    q = [size for _, size in side]
    total, n = sum(q), len(q)
    shares = [x / total for x in q]
    wall = q.index(max(q))
    others = [x for k, x in enumerate(q) if k != wall]
    ordered = sorted(q)
    gini = math.fsum((2 * (i + 1) - n - 1) * x for i, x in enumerate(ordered)) / (n * total)
    entropy = -math.fsum(p * math.log(p) for p in shares)
    return {
        "hhi": math.fsum(p * p for p in shares),
        "gini": gini,
        "depth_entropy": 0.0 if n == 1 else entropy / math.log(n),
        "depth50_level": half(q),
        "wall_level": wall,
        "wall_ratio": q[wall] / (sum(others) / len(others)) if others else None,
    }


def half(q: list[float]) -> int:
    return next(k for k in range(len(q)) if sum(q[: k + 1]) >= 0.5 * sum(q) * (1 - 1e-12))


def distances(side: Levels, far: list[float], mid: float, sign: int, lot: float) -> Values:
    q = [size for _, size in side]
    total = [sum(q[: k + 1]) for k in range(len(q))]
    vwap = sum(p * x for p, x in side) / sum(q)
    slope, r2 = line(far, total)
    gaps = [abs(side[k + 1][0] - side[k][0]) / mid * 1e4 for k in range(len(side) - 1)]
    rate, _ = line(far, [math.log(x / q[0]) for x in q])
    return {
        "book_slope": quotient(total[-1], far[-1]),
        "book_slope_reg": slope,
        "book_slope_reg_r2": r2,
        "book_slope_ns": elasticity(side, total, mid, lot),
        "book_convexity": convexity(far, total),
        "depth50_bps": far[half(q)],
        "cog_bps": max(0.0, sign * (vwap - mid) / mid * 1e4),
        "wall_bps": far[q.index(max(q))],
        "depth_decay": None if rate is None else -rate,
        "max_gap_bps": max(gaps) if gaps else None,
    }


def line(x: list[float], y: list[float]) -> tuple[float | None, float | None]:
    xs, ys = [Fraction(v) for v in x], [Fraction(v) for v in y]
    n = len(xs)
    mx, my = sum(xs) / n, sum(ys) / n
    sxx = sum((v - mx) ** 2 for v in xs)
    if sxx == 0:
        return None, None
    sxy = sum((u - mx) * (v - my) for u, v in zip(xs, ys, strict=True))
    sst = sum((v - my) ** 2 for v in ys)
    return float(sxy / sxx), None if sst == 0 else float(sxy * sxy / sxx / sst)


def convexity(x: list[float], y: list[float]) -> float | None:
    """Solve the normal equations of a parabola in exact arithmetic (Cramer's rule)."""
    if len(set(x)) < 3:
        return None
    xs, ys = [Fraction(v) for v in x], [Fraction(v) for v in y]
    s = [sum((v**k for v in xs), Fraction(0)) for k in range(5)]
    t = [sum((v**k * u for v, u in zip(xs, ys, strict=True)), Fraction(0)) for k in range(3)]

    def det(a: list[list[Fraction]]) -> Fraction:
        (p, q, r), (u, v, w), (f, g, h) = a
        return p * (v * h - w * g) - q * (u * h - w * f) + r * (u * g - v * f)

    below = det([[s[0], s[1], s[2]], [s[1], s[2], s[3]], [s[2], s[3], s[4]]])
    return float(det([[s[0], s[1], t[0]], [s[1], s[2], t[1]], [s[2], s[3], t[2]]]) / below)


def elasticity(side: Levels, total: list[float], mid: float, lot: float) -> float | None:
    v = [math.log(x / lot) for x in total]
    if v[0] <= 0 or side[0][0] / mid - 1 == 0:
        return None
    terms = [v[0] / abs(side[0][0] / mid - 1)]
    terms += [abs(v[t + 1] / v[t] - 1) / abs(side[t + 1][0] / side[t][0] - 1) for t in range(len(v) - 1)]
    return math.fsum(terms) / len(v)
