"""Naive references of the feature catalogue, sections 6 and 7: single trades, and trades over time windows."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

from daedalus.etl.features.config import FeatureConfig
from tests.references.markets import Row
from tests.references.static_features import Values, clean, div
from tests.references.trade_features import Deal, Kept, least_squares, merged
from tests.references.window_features import mean, memory, std

SECOND = 1_000_000_000
Trade = dict[str, float | int | None]


def annotated(kept: Kept, static: list[Values], deals: list[Deal], config: FeatureConfig) -> list[tuple[int, Trade]]:
    """Return (index of the row that first sees it, columns) of every visible trade."""
    stale = round(config.max_state_staleness_seconds * 1e9)
    out: list[tuple[int, Trade]] = []
    for _, now, deal, i in merged(kept, deals):
        if deal is not None:
            rows = [j for j in range(i) if kept[j][1] < now and static[j]["mid"] is not None]
            quote = rows[-1] if rows and now - kept[rows[-1]][1] <= stale else None
            trade = one(now, deal, [t for _, t in out], None if quote is None else static[quote], stale)
            trade["mid_before"] = None if quote is None else static[quote]["mid"]
            if quote is not None:
                against_touch(trade, deal, kept[quote][0], static[quote]["mid"])
            out.append((i, trade))
    return out


def against_touch(trade: Trade, deal: Deal, row: Row, mid: float | None) -> None:
    """Add what a trade of a known side says of the touch that it hits."""
    if trade["side"] and mid is not None:
        is_buy = trade["side"] > 0
        side = clean(row.asks, False, 1) if is_buy else clean(row.bids, True, 1)
        beyond = deal.price - side[0][0] if is_buy else side[0][0] - deal.price
        trade["trade_through_bps"] = max(0.0, beyond / mid * 1e4)
        trade["size_vs_touch"] = deal.amount / side[0][1]


def one(now: int, deal: Deal, before: list[Trade], quote: Values | None, stale: int) -> Trade:
    price, mid = deal.price, None if quote is None else quote["mid"]
    moves = [m for a, b in itertools.pairwise(before) if (m := b["price"] - a["price"]) != 0]  # type: ignore[operator]
    if before and price != before[-1]["price"]:
        moves.append(price - before[-1]["price"])  # type: ignore[operator]
    side, source = deal.side, 0
    if side == 0 and mid is not None and price != mid:
        side, source = (1 if price > mid else -1), 1
    elif side == 0:
        side = (moves[-1] > 0) - (moves[-1] < 0) if moves else 0
        source = 2 if side else 3
    trade: Trade = {"ts": now, "price": price, "amount": deal.amount, "side": side, "side_source": source}
    trade.update(signed_size=side * deal.amount, notional=price * deal.amount, trade_dt_s=None, trade_log_return=None)
    trade["signed_notional"] = side * price * deal.amount
    if before:
        gap = now - before[-1]["ts"]  # type: ignore[operator]
        trade["trade_dt_s"] = gap / 1e9
        trade["trade_log_return"] = math.log(price / before[-1]["price"]) if gap <= stale else None  # type: ignore[operator]
    run = int(before[-1]["run_length"] or 0) if before else 0
    trade["run_length"] = run if side == 0 else (run + side if run * side > 0 else side)
    past = [t["notional"] for t in before[-1000:]]
    trade["large_trade"] = int(price * deal.amount >= np.quantile(past, 0.95)) if len(past) >= 100 else None  # type: ignore[arg-type]
    trade["large_trade_fixed"] = int(price * deal.amount >= 100_000)
    micro = None if quote is None else quote["microprice"]
    trade["price_vs_mid_bps"] = None if mid is None else (price - mid) / mid * 1e4
    trade["price_vs_micro_bps"] = None if micro is None else (price - micro) / micro * 1e4
    trade["effective_spread_bps"] = None if mid is None or side == 0 else 2 * side * (price - mid) / mid * 1e4
    sweep = [trade]
    for earlier in reversed(before):
        if earlier["ts"] != now or earlier["side"] != side:
            break
        sweep.insert(0, earlier)
    trade["sweep_size"] = sum(t["amount"] for t in sweep)  # type: ignore[misc]
    trade["sweep_levels"] = len({t["price"] for t in sweep})
    return trade


def flows(kept: Kept, static: list[Values], trades: list[tuple[int, Trade]], config: FeatureConfig) -> list[Values]:
    """Section 7 at every book row."""
    out: list[Values] = []
    for i, (_, now, _) in enumerate(kept):
        values: Values = {}
        for w in config.horizons:
            inside = [t for at, t in trades if at <= i and t["ts"] > now - w * SECOND]  # type: ignore[operator]
            values.update({f"{name}_{w}s": value for name, value in window(inside, static[i]["mid"]).items()})
            if w >= 60:
                values[f"side_autocorr_{w}s"] = memory([Fraction(int(t["side"] or 0)) for t in inside])
        out.append(values)
    return out


def window(trades: list[Trade], mid: float | None) -> Values:
    def pick(name: str, keep: list[Trade]) -> list[float]:
        return [t[name] for t in keep if t[name] is not None]  # type: ignore[misc]

    buys, sells = [t for t in trades if t["side"] == 1], [t for t in trades if t["side"] == -1]
    large = [t for t in trades if t["large_trade"] == 1]
    sizes, gaps = pick("amount", trades), pick("trade_dt_s", trades)
    volume, bought, sold = (math.fsum(pick("amount", part)) for part in (trades, buys, sells))
    large_bought, large_sold = (math.fsum(t["amount"] for t in large if t["side"] == s) for s in (1, -1))  # type: ignore[misc]
    vwap = div(math.fsum(pick("notional", trades)), volume)
    paid = [t for t in trades if t["effective_spread_bps"] is not None]
    weighted = math.fsum(t["effective_spread_bps"] * t["amount"] for t in paid)  # type: ignore[operator]
    shares = [len(part) / (len(buys) + len(sells)) for part in (buys, sells) if part]
    s, m, prices = std(gaps), mean(gaps), pick("price", trades)
    return {
        "n_trades": len(trades),
        "n_buys": len(buys),
        "n_sells": len(sells),
        "volume": volume,
        "buy_volume": bought,
        "sell_volume": sold,
        "notional": math.fsum(pick("notional", trades)),
        "tfi": bought - sold,
        "tfi_ratio": div(bought - sold, bought + sold),
        "tfi_count_ratio": div(len(buys) - len(sells), len(buys) + len(sells)),
        "vwap": vwap,
        "vwap_dev_bps": None if mid is None or vwap is None else (mid - vwap) / mid * 1e4,
        "effective_spread_bps": div(weighted, math.fsum(pick("amount", paid))),
        "trade_size_mean": mean(sizes),
        "trade_size_std": std(sizes),
        "interarrival_mean": m,
        "interarrival_std": s,
        "interarrival_cv": div(s, m),
        "burstiness": None if s is None or m is None else div(s - m, s + m),
        "large_share": div(math.fsum(pick("amount", large)), volume),
        "large_imbalance": div(large_bought - large_sold, large_bought + large_sold),
        "side_entropy": abs(-sum(p * math.log2(p) for p in shares)) if shares else None,
        "trade_size_max": max(sizes, default=None),
        "trade_size_median": float(np.median(sizes)) if sizes else None,
        "max_run": max((abs(run) for run in pick("run_length", trades)), default=None),
        "trade_price_range_bps": div((max(prices) - min(prices)) * 1e4, mid) if prices else None,
        "trade_rv": math.fsum(r * r for r in pick("trade_log_return", trades)),
    }


def impacts(
    kept: Kept,
    static: list[Values],
    rows: list[Values],
    deals: list[Deal],
    seen: list[tuple[int, Trade]],
    config: FeatureConfig,
) -> list[Values]:
    """The regressions of section 8 over bars, and the ratio of Amihud."""
    trades = [trade for _, trade in seen]
    short = config.kyle_lambda_window // 5

    def signed(name: str) -> list[float]:
        return [float(t[name] or 0.0) for t in trades]

    roots = [float(t["side"] or 0) * math.sqrt(float(t["notional"] or 0)) for t in trades]
    millions = [x / 1e6 for x in signed("signed_notional")]
    flow = [float(r.get("ofi") or 0.0) for r in rows]
    none, still = [0.0] * len(trades), [0.0] * len(kept)
    fits = [
        regressed("kyle_lambda", 5, short, signed("signed_size"), still, False, kept, static, deals, config),
        regressed("amihud_60", 60, 60, signed("notional"), still, True, kept, static, deals, config),
        regressed("kyle_lambda_60s", 60, 60, signed("signed_size"), still, False, kept, static, deals, config),
        regressed("kyle_lambda_bps", 5, short, millions, still, True, kept, static, deals, config),
        regressed("kyle_lambda_bps_60s", 60, 60, millions, still, True, kept, static, deals, config),
        regressed("hasbrouck_lambda", 60, 60, roots, still, True, kept, static, deals, config),
        regressed("ofi_lambda", 10, 180, none, flow, False, kept, static, deals, config),
    ]
    return [{key: value for part in parts for key, value in part.items()} for parts in zip(*fits, strict=True)]


def regressed(
    name: str,
    seconds: int,
    count: int,
    trade_x: list[float],
    row_x: list[float],
    in_bps: bool,
    kept: Kept,
    static: list[Values],
    deals: list[Deal],
    config: FeatureConfig,
) -> list[Values]:
    width, stale = seconds * SECOND, round(config.max_state_staleness_seconds * 1e9)
    bars: list[tuple[float, float | None]] = []
    open_bar: int | None = None
    x, done = 0.0, 0
    mid: tuple[float, int] | None = None
    close: float | None = None
    fit: tuple[float | None, float | None, float | None] = (None, None, None)
    out: list[Values] = []
    for now, _, deal, i in merged(kept, deals):
        open_bar = now // width if open_bar is None else open_bar
        before = len(bars)
        while now >= (open_bar + 1) * width:
            end = (open_bar + 1) * width
            new = mid[0] if mid is not None and end - mid[1] <= stale else None
            change = None
            if new is not None and close is not None:
                change = 1e4 * math.log(new / close) if in_bps else new - close
            bars.append((x, change))
            close, x, open_bar = new, 0.0, open_bar + 1
        if len(bars) > before:
            fit = least_squares(bars[-count:])
        if deal is not None:
            x += trade_x[done]
            done += 1
            continue
        if kept[i][2]:
            mid = close = None
        x += row_x[i]
        if static[i]["mid"] is not None:
            mid = (static[i]["mid"], now)  # type: ignore[assignment]
        if name.startswith("amihud"):
            ratios = [abs(change) * 100 / paid for paid, change in bars[-count:] if paid > 0 and change is not None]
            out.append({name: mean(ratios)})
            continue
        out.append({name: fit[0], f"{name}_r2": fit[1], f"{name}_t": fit[2]})
    return out
