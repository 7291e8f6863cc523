"""Naive references of the feature catalogue, section 9: every sum anew, each event by its own age."""

from __future__ import annotations

import math

from daedalus.etl.features.config import FeatureConfig
from tests.references.static_features import Values, div
from tests.references.window_features import Kept

HALF_LIVES = (1, 10, 60, 600)


def weighted(x: list[float], weights: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(x, weights, strict=True))


def fading_trades(now: int, seen: list[Values]) -> Values:
    """What is left at `now` of the trades seen."""
    out: Values = {}
    q, side = [float(t["amount"] or 0) for t in seen], [int(t["side"] or 0) for t in seen]
    for h in HALF_LIVES:
        weights = [2.0 ** (-(now - int(t["ts"] or 0)) / 1e9 / h) for t in seen]
        rate = math.log(2) / h
        buys, sells = (weighted([float(s == sign) for s in side], weights) for sign in (1, -1))
        out[f"trade_intensity_hl{h}s"] = rate * math.fsum(weights)
        out[f"buy_intensity_hl{h}s"], out[f"sell_intensity_hl{h}s"] = rate * buys, rate * sells
        out[f"intensity_imbalance_hl{h}s"] = div(buys - sells, buys + sells)
        out[f"volume_intensity_hl{h}s"] = rate * weighted(q, weights)
        out[f"tfi_ew_hl{h}s"] = weighted([s * x for s, x in zip(side, q, strict=True)], weights)
        out[f"large_intensity_hl{h}s"] = rate * weighted([float(t["large_trade"] == 1) for t in seen], weights)
    out["intensity_ratio"] = div(out["trade_intensity_hl1s"], out["trade_intensity_hl60s"])
    return out


def fading(kept: Kept, rows: list[Values], trades: list[tuple[int, Values]], config: FeatureConfig) -> list[Values]:
    """Section 9 at every book row."""
    out: list[Values] = []
    for i, (_, now, _) in enumerate(kept):
        values = fading_trades(now, [t for at, t in trades if at <= i])
        for h in HALF_LIVES:
            ages = [2.0 ** (-(now - kept[j][1]) / 1e9 / h) for j in range(i + 1)]
            rate = math.log(2) / h

            def own(name: str, i: int = i, ages: list[float] = ages) -> float:
                return math.fsum((rows[j].get(name) or 0.0) * ages[j] for j in range(i + 1))

            values[f"ofi_ew_hl{h}s"], values[f"mlofi_decay_ew_hl{h}s"] = own("ofi"), own("mlofi_decay")
            values[f"book_intensity_hl{h}s"] = rate * math.fsum(ages)
            for name in ("bid", "ask"):
                events = [float((rows[j].get(f"ofi_{name}") or 0.0) != 0) for j in range(i + 1)]
                values[f"{name}_event_hl{h}s"] = rate * weighted(events, ages)
            squares = [(rows[j].get("log_return") or 0.0) ** 2 for j in range(i + 1)]
            values[f"rv_ew_hl{h}s"] = weighted(squares, ages)
        out.append(values)
    return out
