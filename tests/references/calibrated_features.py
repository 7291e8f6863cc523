"""Naive references of the feature catalogue, section 13: everything anew for every row, or every day and fit."""

from __future__ import annotations

import math
import re
from fnmatch import fnmatchcase
from itertools import accumulate

import numpy as np

from daedalus.etl.features.config import FeatureConfig
from tests.references.markets import SECOND_NS, Levels
from tests.references.static_features import Values, clean, div
from tests.references.window_features import Kept, mean, std, z_score

DAY_NS = 86_400 * SECOND_NS
TEMPLATE = re.compile(r"(.+?)_(z|rank|ewz)_(?:hl)?(\d+)s?")


def sides(kept: Kept, config: FeatureConfig) -> list[tuple[Levels, Levels]]:
    cap = config.max_levels
    return [(clean(row.bids, True, cap), clean(row.asks, False, cap)) for row, _, _ in kept]


def books(kept: Kept, config: FeatureConfig) -> list[Values]:
    """13.1: the levels relative to mid, and against the days before."""
    raw = [_raw(bids, asks, config) for bids, asks in sides(kept, config)]
    days = [now // DAY_NS for _, now, _ in kept]
    scales: dict[tuple[int, str], tuple[float | None, float | None]] = {}
    out: list[Values] = []
    for i, values in enumerate(raw):
        row: Values = {}
        bid, ask = values["bid_price_l0"], values["ask_price_l0"]
        mid = None if bid is None or ask is None else (bid + ask) / 2
        for name, x in values.items():
            if name.split("_")[1] == "size":
                row[f"lob_rel_{name}"] = None if x is None else math.log(1 + x)
            else:
                row[f"lob_rel_{name}"] = None if x is None or mid is None else (x - mid) / mid * 1e4
            key = days[i], name
            if key not in scales:
                before = [j for j in range(len(raw)) if days[i] - config.norm_days <= days[j] < days[i]]
                past = [v for j in before if (v := raw[j][name]) is not None]
                scales[key] = mean(past), std(past)
            centre, spread = scales[key]
            row[f"lob_norm_{name}"] = None if x is None or centre is None else div(x - centre, spread)
        out.append(row)
    return out


def _raw(bids: Levels, asks: Levels, config: FeatureConfig) -> Values:
    out: Values = {}
    for k in range(config.max_levels):
        for name, side in (("ask", asks), ("bid", bids)):
            out[f"{name}_price_l{k}"] = side[k][0] if k < len(side) else None
            out[f"{name}_size_l{k}"] = side[k][1] if k < len(side) else None
    return out


def integrated(kept: Kept, rows: list[Values], config: FeatureConfig) -> list[Values]:
    """13.2: each fit from the bars of the day before it, by NumPy's eigenvectors."""
    levels = min(config.ofi_levels, config.max_levels)
    ts = [now for _, now, _ in kept]
    flows = [[float(row.get(f"mlofi_l{m}") or 0.0) for m in range(levels)] for row in rows]
    sizes = [sum(q for side in pair for _, q in side[:levels]) / 2 / levels for pair in sides(kept, config)]

    def vector(inside: list[int]) -> list[float] | None:
        size = math.fsum(sizes[j] for j in inside) / len(inside)
        return [math.fsum(flows[j][m] for j in inside) / size for m in range(levels)] if size else None

    bars: dict[int, list[int]] = {}
    for j, now in enumerate(ts):
        bars.setdefault(now // (10 * SECOND_NS), []).append(j)
    vectors = {bar: vector(inside) for bar, inside in bars.items()}
    fits: dict[int, np.ndarray | None] = {}
    out: list[Values] = []
    for i, now in enumerate(ts):
        boundary = now // (1800 * SECOND_NS) * 180
        if boundary not in fits:
            past = [x for bar, x in vectors.items() if boundary - 8640 <= bar < boundary and x is not None]
            fits[boundary] = first_component(past)
        weights = fits[boundary]
        values: Values = {}
        for w in (60, 300):
            x = vector([j for j in range(i + 1) if ts[j] > now - w * SECOND_NS])
            whole = weights is not None and x is not None
            values[f"ofi_integrated_{w}s"] = float(weights @ np.array(x)) if whole else None  # type: ignore[operator]
        out.append(values)
    return out


def first_component(past: list[list[float]]) -> np.ndarray | None:
    if len(past) < 180:
        return None
    covariance = np.atleast_2d(np.cov(np.array(past), rowvar=False, ddof=1))
    if not covariance.any():
        return None
    first = np.linalg.eigh(covariance)[1][:, -1]
    return np.array(first * np.sign(first.sum()) / np.abs(first).sum())


def microprices(kept: Kept, config: FeatureConfig) -> list[Values]:
    """13.3, by looking the state up in the table."""
    table = config.microprice_calibration
    out: list[Values] = []
    for bids, asks in sides(kept, config):
        value = None
        if table is not None and bids and asks:
            (b, qb), (a, qa) = bids[0], asks[0]
            width, share = round((a - b) / table.tick_size), qb / (qb + qa)
            if 1 <= width <= len(table.adjustments):
                move = table.adjustments[width - 1][sum(edge < share for edge in table.edges)]
                value = None if move is None else (a + b) / 2 + move
        out.append({"microprice_stoikov": value})
    return out


def normalised(kept: Kept, columns: list[Values], config: FeatureConfig) -> list[Values]:
    """13.4 over columns that the other references made."""
    names = {name for row in columns for name in row}
    ts = [now for _, now, _ in kept]
    out: list[Values] = [{} for _ in kept]
    for template in config.normalise:
        match = TEMPLATE.fullmatch(template)
        assert match is not None
        pattern, kind, n = match[1], match[2], int(match[3])
        for name in (name for name in names if fnmatchcase(name, pattern)):
            series = [row.get(name) for row in columns]
            for i in range(len(ts)):
                if kind == "z":
                    inside = [j for j in range(i + 1) if ts[j] > ts[i] - n * SECOND_NS]
                    out[i][f"{name}_z_{n}s"] = z_score(i, inside, series)
                elif kind == "rank":
                    past = [v for v in series[max(0, i - n) : i] if v is not None]
                    now = series[i]
                    out[i][f"{name}_rank_{n}"] = None if now is None else div(sum(v <= now for v in past), len(past))
                else:
                    out[i][f"{name}_ewz_hl{n}s"] = fading_score(i, n, ts, series)
    return out


def fading_score(i: int, half_life: int, ts: list[int], series: list[float | int | None]) -> float | None:
    """Each value before by its own age, as of the last of them: only relations between weights matter."""
    known = [(ts[j], v) for j in range(i) if (v := series[j]) is not None]
    now = series[i]
    if now is None or len(known) < 2:
        return None
    weights = [2.0 ** (-(known[-1][0] - at) / 1e9 / half_life) for at, _ in known]
    total = math.fsum(weights)
    centre = math.fsum(w * v for w, (_, v) in zip(weights, known, strict=True)) / total
    squares = math.fsum(w * (v - centre) ** 2 for w, (_, v) in zip(weights, known, strict=True))
    if squares <= 1e-26 * total * centre**2:
        return None
    others = 2.0 * math.fsum(w * before for w, before in zip(weights, accumulate([0.0, *weights]), strict=False))
    return (now - centre) / math.sqrt(squares * total / others)
