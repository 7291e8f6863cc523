"""Naive references of the feature catalogue, section 5: measures on the grids, sampled anew at every row."""

from __future__ import annotations

import math

import numpy as np

from daedalus.etl.features.config import FeatureConfig
from tests.references.static_features import Values
from tests.references.window_features import Kept, Series, depth5

SECOND = 1_000_000_000
Array = np.ndarray


def on_grid(kept: Kept, static: list[Values], config: FeatureConfig) -> list[Values]:
    """Return the columns of every row."""
    ts = [now for _, now, _ in kept]
    mid, spread = [s["mid"] for s in static], [s["spread_bps"] for s in static]
    depth = [depth5(row, config) for row, _, _ in kept]
    stale = round(config.max_state_staleness_seconds * 1e9)
    windows = sorted({*config.horizons, 300, 900, 3600})
    out: list[Values] = []
    for i in range(len(ts)):
        values: Values = {}
        points = sampled(i, ts, mid, 1, max(windows) + 1, stale)
        for w in windows:
            values.update(measures(points[-w - 1 :], w))
        for name, series in (("spread", spread), ("depth", depth)):
            for w in (300, 3600):
                phi = autoregression(sampled(i, ts, series, 1, w, stale))
                values[f"{name}_phi_{w}s"] = phi
                alive = phi is not None and 0 < phi < 1
                values[f"{name}_half_life_s_{w}s"] = -math.log(2) / math.log(phi) if alive else None  # type: ignore[arg-type]
        values.update(lee_mykland(sampled(i, ts, mid, 60, 604, stale)))
        out.append(values)
    return out


def sampled(i: int, ts: list[int], series: Series, step: int, count: int, stale: int) -> Array:
    """Return the last `count` grid points at row i: the last known value of rows 0..i at or before each, NaN if old."""
    rows = [j for j in range(i + 1) if series[j] is not None]
    last = ts[i] // (step * SECOND)
    grid = np.arange(last - count + 1, last + 1) * step * SECOND
    if not rows:
        return np.full(count, np.nan)
    times, values = np.array([ts[j] for j in rows]), np.array([series[j] for j in rows], float)
    at = np.searchsorted(times, grid, "right") - 1
    alive = (at >= 0) & (grid - times[np.maximum(at, 0)] <= stale)
    return np.where(alive, values[np.maximum(at, 0)], np.nan)


def finite(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def measures(points: Array, w: int) -> Values:
    """All measures of one window; `points` begins with the one just before the window."""
    with np.errstate(all="ignore"):
        r = np.log(points[1:] / points[:-1])
        r = r[~np.isnan(r)]
        n, a, rv = np.float64(len(r)), np.abs(r), np.sum(r * r)
        bpv = np.pi / 2 * n / (n - 1) * np.sum(a[1:] * a[:-1]) if n > 1 else np.nan
        jump = np.maximum(rv - bpv, 0.0)
        up, down = np.sum(r[r > 0] ** 2), np.sum(r[r < 0] ** 2)
        out = {"rv_g1": rv, "bpv": bpv, "jump_var": jump, "jump_ratio": jump / rv, "rs_pos": up, "rs_neg": down}
        out |= {"sjv": up - down, "sjv_ratio": (up - down) / (up + down)}
        out["rskew"] = np.sqrt(n) * np.sum(r**3) / rv**1.5 if n >= 3 else np.nan
        out["rkurt"] = n * np.sum(r**4) / rv**2 if n >= 3 else np.nan
        middles = np.median([a[2:], a[1:-1], a[:-2]], axis=0) if n > 2 else np.empty(0)
        three = np.pi / (6 - 4 * np.sqrt(3) + np.pi)
        out["medrv"] = three * n / (n - 2) * np.sum(middles**2) if n > 2 else np.nan
        out["minrv"] = np.pi / (np.pi - 2) * n / (n - 1) * np.sum(np.minimum(a[1:], a[:-1]) ** 2) if n > 1 else np.nan
        mu = 2 ** (2 / 3) * math.gamma(7 / 6) / math.gamma(1 / 2)
        tpq = n * mu**-3 * n / (n - 2) * np.sum((a[2:] * a[1:-1] * a[:-2]) ** (4 / 3)) if n > 2 else np.nan
        inner = ((np.pi / 2) ** 2 + np.pi - 5) / n * np.fmax(1.0, tpq / bpv**2) if tpq / bpv**2 >= 0 else np.nan
        out["bns_z"] = (rv - bpv) / rv / np.sqrt(inner)
        sums = np.convolve(r, np.ones(5), "valid") if n >= 5 else np.empty(0)
        share = (n - 4) / 5 / n
        out["tsrv"] = (np.sum(sums**2) / 5 - share * rv) / (1 - share) if n >= 10 else np.nan
        out["var_ratio"] = (np.sum(sums**2) / (5 * (n - 4))) / (rv / n) if n >= 5 else np.nan
        d = (r - r[0]) - np.mean(r - r[0]) if n > 1 else np.empty(0)
        out["ret_autocorr"] = np.sum(d[1:] * d[:-1]) / np.sum(d * d)
        out["hurst"] = hurst(points[1:])
        out["perm_entropy"] = orders(points[1:])
    return {f"{name}_{w}s": finite(value) for name, value in out.items()}


def hurst(points: Array) -> float:
    x, means = np.log(points), []
    for lag in (1, 2, 4, 8, 16):
        moved = np.abs(x[lag:] - x[:-lag])
        moved = moved[~np.isnan(moved)]
        means.append(np.mean(moved) if len(moved) else np.nan)
    if not all(m > 0 for m in means):
        return np.nan
    return float(np.polyfit(np.log([1, 2, 4, 8, 16]), np.log(means), 1)[0])


def orders(points: Array) -> float:
    mids = points[~np.isnan(points)]
    if len(mids) < 3:
        return np.nan
    triples = np.lib.stride_tricks.sliding_window_view(mids, 3)
    kinds = np.argsort(triples, axis=1, kind="stable") @ [1, 3, 9]
    shares = [float(np.mean(kinds == kind)) for kind in set(kinds.tolist())]
    return abs(-sum(p * math.log(p) for p in shares if p) / math.log(6))


def autoregression(points: Array) -> float | None:
    x, y = points[:-1], points[1:]
    whole = ~np.isnan(x + y)
    if whole.sum() < 3:
        return None
    x, y = x[whole], y[whole]
    dx, dy = x - x[0], y - y[0]
    dx, dy = dx - dx.mean(), dy - dy.mean()
    sxx = np.sum(dx * dx)
    return None if sxx == 0 else float(np.sum(dx * dy) / sxx)


def lee_mykland(points: Array) -> Values:
    with np.errstate(all="ignore"):
        r = np.abs(np.log(points[1:] / points[:-1]))
        sigma = np.sqrt(np.sum(r[1:-1] * r[:-2]) / 601)
        stat = finite(np.log(points[-1] / points[-2]) / sigma)
    if stat is None:
        return {}
    root, c = math.sqrt(2 * math.log(1440)), math.sqrt(2 / math.pi)
    centre = root / c - (math.log(math.pi) + math.log(math.log(1440))) / (2 * c * root)
    beyond = (abs(stat) - centre) * (c * root) > 4.6001
    return {"lm_stat": stat, "lm_jump": int(math.copysign(1, stat)) if beyond else 0}
