"""Time bars as the feature catalogue says them, event by event in plain Python. Slow and plainly right."""

import math
from typing import Any

NULL = None


def naive_bars(
    book: list[dict[str, Any]],
    trades: list[dict[str, Any]],
    duration_s: int,
    *,
    partial: bool = False,
    stale_s: int = 300,
) -> list[dict[str, Any]]:
    """Return the bars of one width; `book` rows have ts, mid, ..., `trades` have ts, price, size, side."""
    d = duration_s * 10**9
    events = [*((t, 0, i, e) for i, (t, e) in enumerate(running_max(trades)))]
    events += [(t, 1, i, e) for i, (t, e) in enumerate(running_max(book))]
    events.sort(key=lambda event: event[:3])
    if not events:
        return []
    first, last = events[0][0] // d, events[-1][0] // d
    bars: list[dict[str, Any]] = []
    at = 0
    for k in range(first, last + 1):
        began = at
        while at < len(events) and events[at][0] < (k + 1) * d:
            at += 1
        previous = bars[-1] if bars else None
        bars.append(one_bar(k * d, d, events[began:at], events[:began], previous, stale_s * 10**9))
    bars[-1]["is_partial"] = 1
    return bars if partial else bars[:-1]


def running_max(rows: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    newest, out = -(2**63), []
    for row in rows:
        newest = max(newest, row["ts"])
        out.append((newest, row))
    return out


def one_bar(
    start: int, d: int, inside: list[Any], before: list[Any], previous: dict[str, Any] | None, stale: int
) -> dict[str, Any]:
    t = [e for _, stream, _, e in inside if stream == 0]
    b = [e for _, stream, _, e in inside if stream == 1]
    bar: dict[str, Any] = {"bar_start": start, "bar_end": start + d, "is_partial": 0, "is_empty": int(not inside)}
    bar |= trade_columns(t, previous)
    bar |= mid_columns(
        b, [(ts, e) for ts, stream, _, e in before if stream == 1 and e["mid"] is not None], start, stale
    )
    bar["ret"] = log_ratio(bar["close"], previous and previous["close"])
    bar["mid_ret"] = log_ratio(bar["mid_close"], previous and previous["mid_close"])
    bar["n_updates"] = len(b)
    spreads = [e["spread_bps"] for e in b if e["spread_bps"] is not None]
    imbalances = [e["imbalance_l0"] for e in b if e["imbalance_l0"] is not None]
    bar["spread_mean_bps"] = sum(spreads) / len(spreads) if spreads else NULL
    bar["spread_min_bps"] = min(spreads, default=NULL)
    bar["spread_max_bps"] = max(spreads, default=NULL)
    bar["imbalance_mean"] = sum(imbalances) / len(imbalances) if imbalances else NULL
    bar["imbalance_last"] = imbalances[-1] if imbalances else NULL
    bar["ofi_sum"] = sum((e["ofi"] for e in b if e["ofi"] is not None), 0.0)
    bar["rv"] = sum((e["log_return"] ** 2 for e in b if e["log_return"] is not None), 0.0)
    return bar


def trade_columns(t: list[dict[str, Any]], previous: dict[str, Any] | None) -> dict[str, Any]:
    prices = [e["price"] for e in t] or [previous["close"] if previous else NULL]
    bar: dict[str, Any] = {"open": prices[0], "close": prices[-1]}
    bar["high"], bar["low"] = (max(prices), min(prices)) if t else (prices[0], prices[0])
    buys, sells = [e for e in t if e["side"] == "buy"], [e for e in t if e["side"] == "sell"]
    bar["volume"] = sum((e["size"] for e in t), 0.0)
    bar["notional"] = sum((e["price"] * e["size"] for e in t), 0.0)
    bar["buy_volume"], bar["sell_volume"] = (sum((e["size"] for e in side), 0.0) for side in (buys, sells))
    bar["n_trades"], bar["n_buys"], bar["n_sells"] = len(t), len(buys), len(sells)
    bar["vwap"] = bar["notional"] / bar["volume"] if t else NULL
    bar["tfi"] = bar["buy_volume"] - bar["sell_volume"]
    sided = bar["buy_volume"] + bar["sell_volume"]
    bar["tfi_ratio"] = bar["tfi"] / sided if sided else NULL
    return bar


def mid_columns(b: list[dict[str, Any]], before: list[Any], start: int, stale: int) -> dict[str, Any]:
    carried = [before[-1][1]["mid"]] if before and start - before[-1][0] <= stale else []
    mids = carried + [e["mid"] for e in b if e["mid"] is not None]
    if not mids:
        return dict.fromkeys(("mid_open", "mid_high", "mid_low", "mid_close"))
    return {"mid_open": mids[0], "mid_high": max(mids), "mid_low": min(mids), "mid_close": mids[-1]}


def log_ratio(now: float | None, before: float | None) -> float | None:
    return math.log(now / before) if now is not None and before is not None else NULL
