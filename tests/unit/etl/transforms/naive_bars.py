"""Bars as the feature catalogue says them, event by event in plain Python. Slow and plainly right."""

import math
import statistics
from typing import Any

import numpy as np

NULL = None
Row = dict[str, Any]
STALE_NS = 300 * 10**9


def merged(book: list[Row], trades: list[Row]) -> list[tuple[int, int, int, Row]]:
    """Return (time, stream, position, event), trades (0) before book rows (1) of the same time (T5)."""
    deals = zip(running_max(trades), deal_columns(book, trades), strict=True)
    events = [*((t, 0, i, {**e, **deal}) for i, ((t, e), deal) in enumerate(deals))]
    events += [(t, 1, i, e) for i, (t, e) in enumerate(running_max(book))]
    return sorted(events, key=lambda event: event[:3])


def naive_bars(book: list[Row], trades: list[Row], duration_s: int, *, partial: bool = False) -> list[Row]:
    """Return the bars of one width; `book` rows have ts, mid, ..., `trades` have ts, price, size, side."""
    d, events = duration_s * 10**9, merged(book, trades)
    if not events:
        return []
    first, last = events[0][0] // d, events[-1][0] // d
    bars: list[Row] = []
    at = 0
    for k in range(first, last + 1):
        began = at
        while at < len(events) and events[at][0] < (k + 1) * d:
            at += 1
        bars.append(one_bar(k * d, (k + 1) * d, events[began:at], events[:began], bars))
    bars[-1]["is_partial"] = 1
    return bars if partial else bars[:-1]


def running_max(rows: list[Row]) -> list[tuple[int, Row]]:
    newest, out = -(2**63), []
    for row in rows:
        newest = max(newest, row["ts"])
        out.append((newest, row))
    return out


def deal_columns(book: list[Row], trades: list[Row]) -> list[Row]:
    """Return side, large, run and effective spread of each trade (section 6)."""
    rows, out = running_max(book), []
    tick, run = 0, 0
    for j, (ts, trade) in enumerate(running_max(trades)):
        quotes = [(t, r["mid"]) for t, r in rows if t < ts and r["mid"] is not None]
        mid = quotes[-1][1] if quotes and ts - quotes[-1][0] <= STALE_NS else None
        if j and trade["price"] != trades[j - 1]["price"]:
            tick = 1 if trade["price"] > trades[j - 1]["price"] else -1
        side = {"buy": 1, "sell": -1}.get(trade["side"], 0)
        if side == 0:
            side = tick if mid is None or trade["price"] == mid else (1 if trade["price"] > mid else -1)
        if side:
            run = run + side if run * side > 0 else side
        past = [t["price"] * t["size"] for t in trades[max(0, j - 1000) : j]]
        large = len(past) >= 100 and trade["price"] * trade["size"] >= float(np.quantile(past, 0.95))
        effective = 2 * side * (trade["price"] - mid) / mid * 1e4 if side and mid is not None else NULL
        out.append({"sign": side, "large": large, "run": run, "effective": effective})
    return out


def one_bar(start: int, end: int, inside: list[Any], before: list[Any], bars: list[Row]) -> Row:
    t = [e for _, stream, _, e in inside if stream == 0]
    b = [e for _, stream, _, e in inside if stream == 1]
    previous = bars[-1] if bars else None
    closes = [e["price"] for _, stream, _, e in before if stream == 0]
    bar: Row = {"bar_start": start, "bar_end": end, "is_partial": 0, "is_empty": int(not inside)}
    bar |= trade_columns(t, closes[-1] if closes else NULL)
    mids_before = [(ts, e["mid"]) for ts, stream, _, e in before if stream == 1]
    bar |= mid_columns(b, mids_before, start, bar["is_empty"])
    bar["ret"] = log_ratio(bar["close"], previous and previous["close"])
    bar["mid_ret"] = log_ratio(bar["mid_close"], previous and previous["mid_close"])
    bar["amihud"] = div(abs(bar["ret"]) * 1e6, bar["notional"]) if bar["ret"] is not None else NULL
    rows = [(ts, e) for ts, stream, _, e in [*before, *inside] if stream == 1]
    for column, key in (("twap_mid", "mid"), ("spread_twa_bps", "spread_bps"), ("imbalance_twa", "imbalance_l0")):
        bar[column] = time_weighted(rows, key, start, end)
    bar["range_bps"] = (
        (bar["mid_high"] - bar["mid_low"]) / bar["twap_mid"] * 1e4 if bar["twap_mid"] is not None else NULL
    )
    bar |= row_columns(b) | return_columns([e["log_return"] for e in b if e["log_return"] is not None])
    last = rows[-1][1] if rows else {"vpin": NULL, "kyle_lambda": NULL}
    return bar | {"vpin_last": last["vpin"], "kyle_lambda_last": last["kyle_lambda"]}


def div(x: float, y: float) -> float | None:
    return x / y if y and math.isfinite(x / y) else NULL


def time_weighted(rows: list[Any], key: str, start: int, end: int) -> float | None:
    """Return the mean of a value over the time that it was alive (W8)."""
    total = covered = 0.0
    for k, (ts, row) in enumerate(rows):
        dies = min(rows[k + 1][0] if k + 1 < len(rows) else end, ts + STALE_NS, end)
        lived = dies - max(ts, start)
        if lived > 0 and row[key] is not None:
            total += row[key] * lived
            covered += lived
    return div(total, covered)


def trade_columns(t: list[Row], close: float | None) -> Row:
    prices = [e["price"] for e in t] or [close]
    bar: Row = {"open": prices[0], "close": prices[-1]}
    bar["high"], bar["low"] = (max(prices), min(prices)) if t else (prices[0], prices[0])
    buys, sells = [e for e in t if e["sign"] > 0], [e for e in t if e["sign"] < 0]
    bar["volume"] = sum((e["size"] for e in t), 0.0)
    bar["notional"] = sum((e["price"] * e["size"] for e in t), 0.0)
    bar["buy_volume"], bar["sell_volume"] = (sum((e["size"] for e in side), 0.0) for side in (buys, sells))
    bar["n_trades"], bar["n_buys"], bar["n_sells"] = len(t), len(buys), len(sells)
    bar["vwap"] = bar["notional"] / bar["volume"] if t else NULL
    bar["tfi"] = bar["buy_volume"] - bar["sell_volume"]
    bar["tfi_ratio"] = div(bar["tfi"], bar["buy_volume"] + bar["sell_volume"])
    bar["trade_size_mean"] = bar["volume"] / len(t) if t else NULL
    bar["trade_size_max"] = max((e["size"] for e in t), default=NULL)
    bar["large_share"] = div(sum(e["size"] for e in t if e["large"]), bar["volume"])
    bar["max_run"] = max((abs(e["run"]) for e in t), default=NULL)
    paid = [e for e in t if e["effective"] is not None]
    bar["effective_spread_bps"] = div(sum(e["effective"] * e["size"] for e in paid), sum(e["size"] for e in paid))
    return bar


def mid_columns(b: list[Row], before: list[Any], start: int, is_empty: int) -> Row:
    alive = before and start - before[-1][0] <= STALE_NS and before[-1][1] is not None
    carried = [before[-1][1]] if alive else []
    mids = carried + [e["mid"] for e in b if e["mid"] is not None]
    if not mids:
        spread = 0.0 if is_empty else NULL
        names = ("mid_open", "mid_high", "mid_low", "mid_close", "close_pos")
        return {**dict.fromkeys(names), "parkinson": spread, "garman_klass": spread, "rogers_satchell": spread}
    o, h, low, c = mids[0], max(mids), min(mids), mids[-1]
    log = math.log
    return {
        "mid_open": o,
        "mid_high": h,
        "mid_low": low,
        "mid_close": c,
        "close_pos": div(c - low, h - low),
        "parkinson": log(h / low) ** 2 / (4 * log(2)),
        "garman_klass": 0.5 * log(h / low) ** 2 - (2 * log(2) - 1) * log(c / o) ** 2,
        "rogers_satchell": log(h / c) * log(h / o) + log(low / c) * log(low / o),
    }


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else NULL


def row_columns(b: list[Row]) -> Row:
    def known(key: str) -> list[float]:
        return [e[key] for e in b if e[key] is not None]

    spreads = known("spread_bps")
    flow = {f"mlofi_l{m}_sum": sum(known(f"mlofi_l{m}"), 0.0) for m in range(10)}
    touch = mean([((e["bid_size_l0"] or 0.0) + (e["ask_size_l0"] or 0.0)) / 2 for e in b])
    return flow | {
        "n_updates": len(b),
        "spread_mean_bps": mean(spreads),
        "spread_min_bps": min(spreads, default=NULL),
        "spread_max_bps": max(spreads, default=NULL),
        "spread_std_bps": statistics.stdev(spreads) if len(spreads) > 1 else NULL,
        "imbalance_mean": mean(known("imbalance_l0")),
        "imbalance_last": known("imbalance_l0")[-1] if known("imbalance_l0") else NULL,
        "imbalance_n5_mean": mean(known("imbalance_n5")),
        "microprice_dev_last_bps": known("microprice_dev_bps")[-1] if known("microprice_dev_bps") else NULL,
        "depth_bid_n5_mean": mean(known("depth_bid_n5")),
        "depth_ask_n5_mean": mean(known("depth_ask_n5")),
        "ofi_sum": flow["mlofi_l0_sum"],
        "mlofi_decay_sum": sum(known("mlofi_decay"), 0.0),
        "ofi_norm": div(flow["mlofi_l0_sum"], touch) if touch is not None else NULL,
    }


def return_columns(r: list[float]) -> Row:
    n, rv = len(r), sum((x * x for x in r), 0.0)
    pairs = sum(abs(r[k]) * abs(r[k - 1]) for k in range(1, n))
    medians = sum(statistics.median(abs(x) for x in r[k - 2 : k + 1]) ** 2 for k in range(2, n))
    up, down = sum((x * x for x in r if x > 0), 0.0), sum((x * x for x in r if x < 0), 0.0)
    bpv = math.pi / 2 * n / (n - 1) * pairs if n > 1 else NULL
    return {
        "rv": rv,
        "bpv": bpv,
        "medrv": math.pi / (6 - 4 * math.sqrt(3) + math.pi) * n / (n - 2) * medians if n > 2 else NULL,
        "rs_pos": up,
        "rs_neg": down,
        "sjv": up - down,
        "jump_var": max(rv - bpv, 0.0) if bpv is not None else NULL,
        "rskew": div(math.sqrt(n) * sum(x**3 for x in r), rv**1.5) if n > 2 else NULL,
        "rkurt": div(n * sum(x**4 for x in r), rv * rv) if n > 2 else NULL,
    }


def log_ratio(now: float | None, before: float | None) -> float | None:
    return math.log(now / before) if now is not None and before is not None else NULL
