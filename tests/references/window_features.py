"""Naive references of the feature catalogue, section 5: statistics of book rows over time windows."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

from daedalus.etl.features.config import FeatureConfig
from tests.references.markets import Row
from tests.references.static_features import Values, clean, div

Kept = list[tuple[Row, int, bool]]
Series = list[float | int | None]
SECOND = 1_000_000_000


def windows(kept: Kept, static: list[Values], rows: list[Values], config: FeatureConfig) -> list[Values]:
    """Return the columns of every row."""
    stale = round(config.max_state_staleness_seconds * 1e9)
    ts = [now for _, now, _ in kept]
    spread, imbalance = [s["spread_bps"] for s in static], [s["imbalance_l0"] for s in static]
    micro, mid = [s["microprice_dev_bps"] for s in static], [s["mid"] for s in static]
    flow, returns = [r.get("ofi") for r in rows], [r.get("log_return") for r in rows]
    depth = [depth5(row, config) for row, _, _ in kept]
    dt: Series = [None if fresh else (ts[i] - ts[i - 1]) / 1e9 for i, (_, _, fresh) in enumerate(kept)]
    out: list[Values] = []
    for i in range(len(ts)):
        values: Values = {}
        for w in config.horizons:
            inside = [j for j in range(i + 1) if ts[j] > ts[i] - w * SECOND]
            values.update(spreads(i, w, inside, spread, ts, stale))
            values.update(imbalances(i, w, inside, imbalance, micro, ts, stale))
            values.update(depths(w, inside, depth))
            values[f"ofi_z_{w}s"] = z_score(i, inside, flow)
            values.update(moves(i, w, inside, returns, dt))
            values.update(speeds(i, w, ts, mid, stale))
            values.update(ranges(i, w, inside, mid, spread))
        out.append(values)
    return out


def depth5(row: Row, config: FeatureConfig) -> float | None:
    cap = config.max_levels
    sizes = [q for _, q in clean(row.bids, True, cap)[:5]] + [q for _, q in clean(row.asks, False, cap)[:5]]
    return sum(sizes) if sizes else None


def known(series: Series, rows: list[int]) -> list[float]:
    return [value for j in rows if (value := series[j]) is not None]


def mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def variance(values: list[float]) -> float | None:
    """Exact, but what rounding alone can make is none."""
    if len(values) < 2:
        return None
    exact = [Fraction(v) for v in values]
    centre = sum(exact) / len(exact)
    m2 = sum((v - centre) ** 2 for v in exact)
    squares = sum(v * v for v in exact)
    return 0.0 if m2 <= squares * Fraction(1e-26) else float(m2 / (len(exact) - 1))


def std(values: list[float]) -> float | None:
    var = variance(values)
    return None if var is None else math.sqrt(var)


def z_score(i: int, inside: list[int], series: Series) -> float | None:
    before = known(series, [j for j in inside if j < i])
    x, centre = series[i], mean(before)
    return None if x is None or centre is None else div(x - centre, std(before))


def lived(i: int, w: int, series: Series, ts: list[int], stale: int) -> float | None:
    begin = ts[i] - w * SECOND
    total = weight = 0.0
    for j in range(i):
        value = series[j]
        span = min(ts[j + 1], ts[j] + stale) - max(ts[j], begin)
        if value is not None and span > 0:
            total += value * (span / 1e9)
            weight += span / 1e9
    return div(total, weight)


def spreads(i: int, w: int, inside: list[int], spread: Series, ts: list[int], stale: int) -> Values:
    values = known(spread, inside)
    return {
        f"spread_mean_bps_{w}s": mean(values),
        f"spread_std_bps_{w}s": std(values),
        f"spread_tw_bps_{w}s": lived(i, w, spread, ts, stale),
        f"spread_z_{w}s": z_score(i, inside, spread),
    }


def imbalances(
    i: int, w: int, inside: list[int], imbalance: Series, micro: Series, ts: list[int], stale: int
) -> Values:
    values, now = known(imbalance, inside), imbalance[i]
    same = None if now is None else sum((v > 0) - (v < 0) == (now > 0) - (now < 0) for v in values)
    return {
        f"imbalance_mean_{w}s": mean(values),
        f"imbalance_std_{w}s": std(values),
        f"imbalance_tw_{w}s": lived(i, w, imbalance, ts, stale),
        f"imbalance_sign_persist_{w}s": div(same, len(values)),
        f"microprice_dev_mean_bps_{w}s": mean(known(micro, inside)),
    }


def depths(w: int, inside: list[int], depth: Series) -> Values:
    values = known(depth, inside)
    return {
        f"depth_mean_n5_{w}s": mean(values),
        f"depth_var_n5_{w}s": variance(values),
        f"depth_cv_n5_{w}s": div(std(values), mean(values)),
    }


def moves(i: int, w: int, inside: list[int], returns: Series, dt: Series) -> Values:
    r = known(returns, inside)
    return {
        f"rvol_ann_{w}s": math.sqrt(math.fsum(x * x for x in r)) * math.sqrt(31_557_600 / w),
        f"efficiency_ratio_{w}s": div(abs(math.fsum(r)), math.fsum(abs(x) for x in r)),
        f"mid_change_rate_{w}s": sum(x != 0 for x in r) / w,
        f"mean_interupdate_s_{w}s": mean(known(dt, inside)),
    }


def as_of(when: int, i: int, ts: list[int], mid: Series, stale: int) -> float | None:
    before = [j for j in range(i + 1) if ts[j] <= when and mid[j] is not None]
    return mid[before[-1]] if before and when - ts[before[-1]] <= stale else None


def speeds(i: int, w: int, ts: list[int], mid: Series, stale: int) -> Values:
    now = mid[i]
    one, two = (as_of(ts[i] - k * w * SECOND, i, ts, mid, stale) for k in (1, 2))
    if now is None or one is None:
        return {}
    out: Values = {f"velocity_bps_s_{w}s": 1e4 * math.log(now / one) / w}
    if two is not None:
        out[f"accel_bps_s2_{w}s"] = 1e4 * (math.log(now / one) - math.log(one / two)) / w**2
    return out


def ranges(i: int, w: int, inside: list[int], mid: Series, spread: Series) -> Values:
    mids, spreads_, now = known(mid, inside), known(spread, inside), mid[i]
    out: Values = {f"spread_{name}_bps_{w}s": f(spreads_) for name, f in (("min", min), ("max", max)) if spreads_}
    if now is not None:
        out[f"mid_high_dev_bps_{w}s"] = (now - max(mids)) / now * 1e4
        out[f"mid_low_dev_bps_{w}s"] = (now - min(mids)) / now * 1e4
        out[f"range_bps_{w}s"] = (max(mids) - min(mids)) / now * 1e4
    return out


def flow_against_price(kept: Kept, rows: list[Values], config: FeatureConfig) -> list[Values]:
    """The regressions, memories and normalised flows of section 5, in exact arithmetic where it matters."""
    levels = min(config.ofi_levels, config.max_levels)
    cap = config.max_levels
    sizes = [
        sum(q for side in (clean(r.bids, True, cap), clean(r.asks, False, cap)) for _, q in side[:levels]) / 2 / levels
        for r, _, _ in kept
    ]
    out: list[Values] = []
    for i, (_, now, _) in enumerate(kept):
        values: Values = {}
        for w in (60, 300, 3600):
            inside = [j for j in range(i + 1) if kept[j][1] > now - w * SECOND]
            if w > 60:
                pairs = [(rows[j].get("ofi"), rows[j].get("log_return")) for j in inside]
                whole = [(Fraction(x), Fraction(1e4 * y)) for x, y in pairs if x is not None and y is not None]
                values[f"ofi_mid_beta_{w}s"], values[f"ofi_mid_r2_{w}s"] = regression(whole)
            if w < 3600:
                flows = [Fraction(e) for j in inside if (e := rows[j].get("ofi")) is not None]
                values[f"ofi_autocorr_{w}s"] = memory(flows)
            if w == 60:
                size = math.fsum(sizes[j] for j in inside) / len(inside)
                for m in range(levels):
                    total = math.fsum(rows[j].get(f"mlofi_l{m}") or 0.0 for j in inside)
                    values[f"mlofi_norm_l{m}_60s"] = div(total, size)
        out.append(values)
    return out


def regression(pairs: list[tuple[Fraction, Fraction]]) -> tuple[float | None, float | None]:
    n = len(pairs)
    if n < 3:
        return None, None
    mx, my = sum(x for x, _ in pairs) / n, sum(y for _, y in pairs) / n
    sxx, syy = sum((x - mx) ** 2 for x, _ in pairs), sum((y - my) ** 2 for _, y in pairs)
    if sxx <= Fraction(1e-26) * sum(x * x for x, _ in pairs):
        return None, None
    if syy <= Fraction(1e-26) * sum(y * y for _, y in pairs):
        return 0.0, None
    sxy = sum((x - mx) * (y - my) for x, y in pairs)
    return float(sxy / sxx), float(sxy * sxy / sxx / syy)


def memory(flows: list[Fraction]) -> float | None:
    if len(flows) < 2:
        return None
    centre = sum(flows) / len(flows)
    d = [e - centre for e in flows]
    below = sum(x * x for x in d)
    if below <= Fraction(1e-26) * sum(e * e for e in flows):
        return None
    return float(sum(a * b for a, b in itertools.pairwise(d)) / below)
