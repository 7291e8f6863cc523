"""Naive references of the feature catalogue, sections 4 and 5: every row looks at the rows before it, anew."""

from __future__ import annotations

import math

import numpy as np

from daedalus.etl.features.config import FeatureConfig
from tests.references.markets import Levels, Row
from tests.references.static_features import Values, clean, div

Kept = list[tuple[Row, int, bool]]


def level(side: Levels, m: int, missing: float) -> tuple[float, float]:
    """A missing level has size 0 and an infinite price."""
    return side[m] if m < len(side) else (missing, 0.0)


def side_flow(now: tuple[float, float], before: tuple[float, float]) -> tuple[float, float, float]:
    """Return what the side's queue changed by when the price rose, stayed and fell, one of the three not 0."""
    (p, q), (p0, q0) = now, before
    return (q if p > p0 else 0.0), (q - q0 if p == p0 else 0.0), (q0 if p < p0 else 0.0)


def flow(now: tuple[Levels, Levels], before: tuple[Levels, Levels], m: int) -> tuple[float, float]:
    """Return (dW, dV) in the three-case form of Xu, Gould and Howison (9)-(12)."""
    rose, stayed, fell = side_flow(level(now[0], m, -math.inf), level(before[0], m, -math.inf))
    bid = rose + stayed - fell
    p, q = level(now[1], m, math.inf)
    p0, q0 = level(before[1], m, math.inf)
    ask = -q0 if p > p0 else (q - q0 if p == p0 else q)
    return bid, ask


def minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def sign(x: float | None) -> int | None:
    return None if x is None else (x > 0) - (x < 0)


def per_row(kept: Kept, static: list[Values], config: FeatureConfig) -> list[Values]:
    """Section 4."""
    books = [(clean(r.bids, True, config.max_levels), clean(r.asks, False, config.max_levels)) for r, _, _ in kept]
    out: list[Values] = []
    direction = 0
    for i, (_, ts, is_reset) in enumerate(kept):
        values: Values = {}
        if not is_reset:
            values.update(order_flow(books[i], books[i - 1], static[i]["mid"], config))
            dt = (ts - kept[i - 1][1]) / 1e9
            values.update(changes(books[i], books[i - 1], static[i], static[i - 1], dt, config))
            velocity, velocity0 = values["mid_velocity_bps_s"], out[i - 1].get("mid_velocity_bps_s")
            values["mid_accel_bps_s2"] = div(minus(velocity, velocity0), dt)
            change = minus(static[i]["mid"], static[i - 1]["mid"])
            if change is not None and change != 0:
                direction = 1 if change > 0 else -1
        values["mid_tick_dir"] = direction
        out.append(values)
    return out


def order_flow(
    now: tuple[Levels, Levels], before: tuple[Levels, Levels], mid: float | None, config: FeatureConfig
) -> Values:
    out: Values = {}
    flows = []
    for m in range(min(config.ofi_levels, config.max_levels)):
        bid, ask = flow(now, before, m)
        flows.append(bid - ask)
        out[f"mlofi_l{m}"] = bid - ask
        if m == 0:
            out.update(ofi=bid - ask, ofi_bid=bid, ofi_ask=ask, ofi_notional=None if mid is None else (bid - ask) * mid)
    out["mlofi_sum"] = math.fsum(flows)
    out["mlofi_decay"] = math.fsum(math.exp(-config.ofi_decay_alpha * m) * e for m, e in enumerate(flows))
    return out


def changes(
    now: tuple[Levels, Levels],
    before: tuple[Levels, Levels],
    static: Values,
    static0: Values,
    dt: float,
    config: FeatureConfig,
) -> Values:
    out: Values = {}
    mid, mid0 = static["mid"], static0["mid"]
    r = None if mid is None or mid0 is None else math.log(mid / mid0)
    micro, micro0 = static["microprice"], static0["microprice"]
    out["log_return"] = r
    out["micro_return"] = None if micro is None or micro0 is None else math.log(micro / micro0)
    out["dmid_ticks"] = div(minus(mid, mid0), config.tick_size)
    out["mid_velocity_bps_s"] = div(None if r is None else 1e4 * r, dt)
    out["dspread_bps"] = minus(static["spread_bps"], static0["spread_bps"])
    out["dimbalance_l0"] = minus(static["imbalance_l0"], static0["imbalance_l0"])
    for k, name in enumerate(("bid", "ask")):
        depth = sum(q for _, q in now[k][:5]) if now[0] or now[1] else None
        depth0 = sum(q for _, q in before[k][:5]) if before[0] or before[1] else None
        out[f"ddepth_{name}_n5"] = minus(depth, depth0)
        out[f"{name}_move"] = sign(now[k][0][0] - before[k][0][0]) if now[k] and before[k] else None
        missing = -math.inf if name == "bid" else math.inf
        price, price0 = level(now[k], 0, missing)[0], level(before[k], 0, missing)[0]
        out[f"queue_depleted_{name}"] = int(price < price0 if name == "bid" else price > price0)
    return out


def rolling(kept: Kept, static: list[Values], rows: list[Values], config: FeatureConfig) -> list[Values]:
    """Section 5."""
    regimes = spread_regimes([s["spread_bps"] for s in static], config)
    tops = [
        (level(clean(r.bids, True, 1), 0, 0.0)[1] + level(clean(r.asks, False, 1), 0, 0.0)[1]) / 2 for r, _, _ in kept
    ]
    out: list[Values] = []
    for i, (_, now, _) in enumerate(kept):
        values: Values = {"spread_regime": regimes[i]} if config.use_dynamic_spread_regime else {}
        for w in config.horizons:
            start = now - w * 1_000_000_000
            inside = [j for j in range(i + 1) if kept[j][1] > start]
            values.update(window_flow(inside, w, rows, tops, config))
            values[f"window_coverage_{w}s"] = min(1.0, (now - kept[0][1]) / 1e9 / w)
            values.update(window_returns(i, w, start, inside, kept, static, rows, config))
            values.update(window_spread(inside, w, static, regimes, config))
        out.append(values)
    return out


def known(values: list[float | int | None]) -> list[float]:
    return [v for v in values if v is not None]


def window_flow(inside: list[int], w: int, rows: list[Values], tops: list[float], config: FeatureConfig) -> Values:
    def total(name: str) -> float:
        return math.fsum(known([rows[j].get(name) for j in inside]))

    out: Values = {f"n_updates_{w}s": len(inside), f"update_rate_{w}s": len(inside) / w}
    out[f"ofi_sum_{w}s"] = total("ofi")
    out[f"ofi_norm_{w}s"] = div(total("ofi"), math.fsum(tops[j] for j in inside) / len(inside))
    for m in range(min(config.ofi_levels, config.max_levels)):
        out[f"mlofi_sum_l{m}_{w}s"] = total(f"mlofi_l{m}")
    out[f"mlofi_decay_sum_{w}s"] = total("mlofi_decay")
    return out


def window_returns(
    i: int,
    w: int,
    start: int,
    inside: list[int],
    kept: Kept,
    static: list[Values],
    rows: list[Values],
    config: FeatureConfig,
) -> Values:
    rv = math.fsum(r * r for r in known([rows[j].get("log_return") for j in inside]))
    out: Values = {f"rv_{w}s": rv, f"rvol_{w}s": math.sqrt(rv), f"ret_{w}s": None}
    before = [j for j in range(i + 1) if kept[j][1] <= start and static[j]["mid"] is not None]
    mid = static[i]["mid"]
    if before and mid is not None and (start - kept[before[-1]][1]) / 1e9 <= config.max_state_staleness_seconds:
        base = static[before[-1]]["mid"]
        assert base is not None
        out[f"ret_{w}s"] = math.log(mid / base)
    return out


def window_spread(
    inside: list[int], w: int, static: list[Values], regimes: list[int | None], config: FeatureConfig
) -> Values:
    spreads = known([static[j]["spread_bps"] for j in inside])
    tight = config.tight_spread_threshold * 1e4
    out: Values = {
        f"spread_tight_frac_{w}s": div(sum(s <= tight for s in spreads), len(spreads)),
        f"spread_wide_frac_{w}s": div(sum(s >= 10.0 for s in spreads), len(spreads)),
    }
    if config.use_dynamic_spread_regime:
        seen = known([regimes[j] for j in inside])
        out[f"spread_regime_tight_frac_{w}s"] = div(seen.count(-1), len(seen))
        out[f"spread_regime_wide_frac_{w}s"] = div(seen.count(1), len(seen))
    return out


def spread_regimes(spreads: list[float | int | None], config: FeatureConfig) -> list[int | None]:
    out: list[int | None] = []
    for i, spread in enumerate(spreads):
        before = known(spreads[max(0, i - config.spread_regime_window) : i])
        if i < 100 or spread is None or not before:
            out.append(None)
        elif spread <= np.quantile(before, config.spread_tight_percentile):
            out.append(-1)
        else:
            out.append(int(spread >= np.quantile(before, config.spread_wide_percentile)))
    return out
