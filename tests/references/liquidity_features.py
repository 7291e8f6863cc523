"""Naive references of the feature catalogue, section 8: spreads, realised costs, activity; and Hawkes of section 9."""

from __future__ import annotations

import itertools
import math
import statistics

from daedalus.etl.features.config import FeatureConfig
from tests.references.static_features import Values, div
from tests.references.trade_features import Kept
from tests.references.window_features import Series

SECOND = 1_000_000_000
Trades = list[tuple[int, Values]]
"""The index of the row that first sees a trade, and its columns."""


def liquidity(
    kept: Kept, static: list[Values], rows: list[Values], trades: Trades, config: FeatureConfig
) -> list[Values]:
    """Return the columns of every row."""
    stale = round(config.max_state_staleness_seconds * 1e9)
    mid = [s["mid"] for s in static]
    out: list[Values] = []
    for i, (_, now, _) in enumerate(kept):
        seen = [t for at, t in trades if at <= i]
        values: Values = {}
        values.update(roll(seen, mid[i], stale))
        values.update(realised(i, kept, mid, seen, stale))
        values.update(active(i, kept, rows, seen, config))
        values.update(hawkes(now, seen, config))
        out.append(values)
    return [{**values, **more} for values, more in zip(out, trade_bars(kept, trades), strict=True)]


def of(trade: Values, name: str) -> float:
    value = trade[name]
    assert value is not None
    return value


def roll(seen: list[Values], mid: float | None, stale: int) -> Values:
    """The changes of price in their order, None where a pause parts them; pairs within the last 200 changes."""
    chain: Series = []
    for a, b in itertools.pairwise(seen):
        known = of(b, "ts") - of(a, "ts") <= stale
        chain.append(of(b, "price") - of(a, "price") if known else None)
    while sum(c is not None for c in chain) > 200:
        chain.pop(0)
    if sum(c is not None for c in chain) < 3:
        return {}
    cov = covariance([(b, a) for a, b in itertools.pairwise(chain) if a is not None and b is not None])
    if cov is None:
        return {}
    spread = 2 * math.sqrt(max(-cov, 0.0))
    return {"roll_spread": spread, "roll_spread_bps": None if mid is None else spread / mid * 1e4}


def covariance(pairs: list[tuple[float, float]]) -> float | None:
    if len(pairs) < 2:
        return None
    mx, my = (math.fsum(p[k] for p in pairs) / len(pairs) for k in (0, 1))
    return math.fsum((x - mx) * (y - my) for x, y in pairs) / (len(pairs) - 1)


def realised(i: int, kept: Kept, mid: Series, seen: list[Values], stale: int) -> Values:
    """Every trade anew, with the mid that rows 0..i say was the last at t + tau."""
    now, out = kept[i][1], Values()
    for tau in (5, 60):
        costs = []
        for t in seen:
            known = int(of(t, "ts")) + tau * SECOND
            before = t["mid_before"]
            if known > now or known <= now - 300 * SECOND or not t["side"] or before is None:
                continue
            rows = [j for j in range(i + 1) if kept[j][1] <= known and mid[j] is not None]
            if not rows:
                continue
            later = mid[rows[-1]]
            if later is not None and known - kept[rows[-1]][1] <= stale:
                factor = 2 * of(t, "side") * 1e4 / before
                costs.append((known, factor * (of(t, "price") - later), factor * (later - before), of(t, "amount")))
        for w in (60, 300):
            inside = [c for c in costs if c[0] > now - w * SECOND]
            size = math.fsum(q for *_, q in inside)
            out[f"realised_spread_bps_{tau}_{w}s"] = div(math.fsum(r * q for _, r, _, q in inside), size)
            out[f"price_impact_bps_{tau}_{w}s"] = div(math.fsum(p * q for _, _, p, q in inside), size)
    return out


def active(i: int, kept: Kept, rows: list[Values], seen: list[Values], config: FeatureConfig) -> Values:
    now, out = kept[i][1], Values()

    def total(name: str, w: int) -> float:
        return math.fsum(of(t, name) for t in seen if of(t, "ts") > now - w * SECOND)

    for w in (300, 3600):
        inside = [j for j in range(i + 1) if kept[j][1] > now - w * SECOND]
        rv = math.fsum((rows[j].get("log_return") or 0.0) ** 2 for j in inside)
        notional = total("notional", w)
        if rv > 0 and notional > 0:
            out[f"ko_activity_{w}s"] = math.sqrt(rv) * notional
            out[f"ko_illiquidity_{w}s"] = math.cbrt(rv / notional)
    for w in config.horizons:
        if w < 3600:
            out[f"volume_clock_ratio_{w}s"] = div(total("amount", w), total("amount", 3600) * w / 3600)
    return out


def hawkes(now: int, seen: list[Values], config: FeatureConfig) -> Values:
    if config.hawkes_beta is None:
        return {}
    sums = [
        math.fsum(math.exp(-config.hawkes_beta * (now - of(t, "ts")) / 1e9) for t in seen if t["side"] == side)
        for side in (1, -1)
    ]
    (buy, sell), (bb, bs, sb, ss) = config.hawkes_mu, config.hawkes_alpha
    return {
        "hawkes_lambda_buy": buy + bb * sums[0] + bs * sums[1],
        "hawkes_lambda_sell": sell + sb * sums[0] + ss * sums[1],
    }


def trade_bars(kept: Kept, trades: Trades) -> list[Values]:
    """Bars of one minute; one without trades repeats the close before."""
    bars: list[tuple[float, float, float]] = []
    prices: list[float] = []
    close: float | None = None
    minute = min([kept[0][1], *(int(of(t, "ts")) for _, t in trades)]) // (60 * SECOND) if kept else 0
    waiting = list(trades)
    out: list[Values] = []
    now = 0

    def until(time: int) -> None:
        nonlocal minute, close
        while minute < time // (60 * SECOND):
            if prices:
                close = prices[-1]
                bars.append((max(prices), min(prices), close))
            elif close is not None:
                bars.append((close, close, close))
            prices.clear()
            minute += 1

    for i, (_, ts, _) in enumerate(kept):
        while waiting and waiting[0][0] <= i:
            trade = waiting.pop(0)[1]
            now = max(now, int(of(trade, "ts")))
            until(now)
            prices.append(of(trade, "price"))
        now = max(now, ts)
        until(now)
        out.append(spreads(bars))
    return out


def spreads(bars: list[tuple[float, float, float]]) -> Values:
    out: Values = {}
    closes = [close for _, _, close in bars[-60:]]
    changes = [b - a for a, b in itertools.pairwise(closes)]
    if len(changes) >= 3:
        cov = covariance([(b, a) for a, b in itertools.pairwise(changes)])
        assert cov is not None
        out["roll_measure_abs"] = 2 * math.sqrt(abs(cov))
    pairs = list(itertools.pairwise(bars[-61:]))
    if pairs:
        out["cs_spread_60s"] = statistics.fmean(max(0.0, corwin(a, b)) for a, b in pairs)
        out["ar_spread_60s"] = statistics.fmean(abdi(a, b) for a, b in pairs)
    return out


def corwin(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    beta = math.log(a[0] / a[1]) ** 2 + math.log(b[0] / b[1]) ** 2
    gamma = math.log(max(a[0], b[0]) / min(a[1], b[1])) ** 2
    k = 3 - 2 * math.sqrt(2)
    alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / k - math.sqrt(gamma / k)
    return 2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha))


def abdi(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    eta, eta_next = ((math.log(high) + math.log(low)) / 2 for high, low, _ in (a, b))
    return math.sqrt(max(0.0, 4 * (math.log(a[2]) - eta) * (math.log(a[2]) - eta_next)))
