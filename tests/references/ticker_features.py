"""Naive references of the feature catalogue, section 10, and of trades as rows: every row looks back anew."""

from __future__ import annotations

import math
from fractions import Fraction

from daedalus.etl.features.config import FeatureConfig
from tests.references import deal_features, fading_features, liquidity_features, static_features
from tests.references.markets import Deal, Row
from tests.references.quotes import Quote
from tests.references.static_features import Values, div
from tests.references.window_features import memory

SECOND = 1_000_000_000
HORIZONS = (300, 3600)


def stamped(events: list[Quote] | list[Deal]) -> list[int]:
    """T2."""
    return [max(event.ts for event in events[: k + 1]) for k in range(len(events))]


def before(
    now: int, received: int, kept: list[tuple[Row, int, bool]], static: list[Values], strict: bool = True
) -> tuple[int, float] | None:
    """Return time and place of the last book with a mid that is earlier (T5) and had been received."""
    found = None
    for j, (row, ts, _) in enumerate(kept):
        if row.collected_at <= received and (ts < now if strict else ts <= now) and static[j]["mid"] is not None:
            found = (ts, j)
    return found


def touch_columns(values: Values | None) -> Values:
    """The book before a row."""
    if values is None:
        return {}
    names = ("mid", "spread", "spread_bps", "spread_ticks", "microprice", "microprice_dev_bps", "log_size_ratio_l0")
    more = ("touch_notional_bid", "touch_notional_ask", "log_mid", "imbalance_l0")
    return {name: values[name] for name in (*names, *more)}


def trade_rows(rows: list[Row], deals: list[Deal], config: FeatureConfig) -> list[Values]:
    """Every trade as a row: sections 6 and 7, and what section 9 has of trades."""
    stale = round(config.max_state_staleness_seconds * 1e9)
    kept = static_features.kept_rows(rows, stale)
    static = [static_features.static(row, config) for row, _, _ in kept]
    seen: list[deal_features.Trade] = []
    out: list[Values] = []
    newest: int | None = None
    for deal in deals:
        now = deal.ts if newest is None else max(deal.ts, newest)
        values: Values = {"ts": now, "is_late": int(deal.ts < now)}
        if not (0 < deal.price < math.inf and 0 < deal.amount < math.inf):
            out.append(values)
            continue
        newest = now
        found = before(now, deal.collected_at, kept, static)
        quote = None if found is None or now - found[0] > stale else found[1]
        trade = deal_features.one(now, deal, seen, None if quote is None else static[quote], stale)
        if quote is not None:
            deal_features.against_touch(trade, deal, kept[quote][0], static[quote]["mid"])
        seen.append(trade)
        values.update({k: v for k, v in trade.items() if k not in ("ts", "price", "amount")})
        values.update(touch_columns(None if quote is None else static[quote]))
        mid = values.get("mid")
        for w in config.horizons:
            inside = [t for t in seen if t["ts"] > now - w * SECOND]  # type: ignore[operator]
            values.update({f"{name}_{w}s": v for name, v in deal_features.window(inside, mid).items()})
            if w >= 60:
                values[f"side_autocorr_{w}s"] = memory([Fraction(int(t["side"] or 0)) for t in inside])
        values.update(fading_features.fading_trades(now, seen))
        values.update(liquidity_features.hawkes(now, seen, config))
        out.append(values)
    return out


def ticker_rows(rows: list[Row], deals: list[Deal], quotes: list[Quote], config: FeatureConfig) -> list[Values]:
    """Every ticker as a row."""
    stale = round(config.max_state_staleness_seconds * 1e9)
    kept = static_features.kept_rows(rows, stale)
    static = [static_features.static(row, config) for row, _, _ in kept]
    times = stamped(quotes)
    valid = [deal for deal in deals if 0 < deal.price < math.inf and 0 < deal.amount < math.inf]
    traded = list(zip(stamped(valid), valid, strict=True))
    out: list[Values] = []
    for i, quote in enumerate(quotes):
        now = times[i]
        found = before(now, quote.collected_at, kept, static)
        place = None if found is None or now - found[0] > stale else found[1]
        values: Values = {"ts": now, "is_late": int(quote.ts < now)}
        values.update(touch_columns(None if place is None else static[place]))
        values.update(said(quote, values.get("mid"), now))
        values["funding_z"] = funding_z(quotes[: i + 1])
        for w in HORIZONS:
            old = before(now - w * SECOND, quote.collected_at, kept, static, strict=False)
            mid, base = values.get("mid"), None if old is None else static[old[1]]["mid"]
            is_known = mid is not None and old is not None and now - w * SECOND - old[0] <= stale
            values[f"ret_{w}s"] = math.log(mid / base) if is_known else None  # type: ignore[operator]
        values.update(interest(i, quotes, times, values, config, stale))
        for w in HORIZONS:
            past = [k for k in range(i) if times[k] > now - w * SECOND]
            values[f"basis_z_{w}s"] = score(values["basis_bps"], [out[k]["basis_bps"] for k in past])
        for w in (60, 3600):
            mine = [d for ts, d in traded if now - w * SECOND < ts <= now and d.collected_at <= quote.collected_at]
            turnover = math.fsum(d.price * d.amount for d in mine)
            daily = quote.quote_volume
            values[f"volume_24h_share_{w}s"] = None if daily is None else div(turnover, daily * w / 86400)
        out.append(values)
    return out


def relative(a: float | None, b: float | None) -> float | None:
    ratio = None if a is None or b is None else div(a - b, b)
    return None if ratio is None else ratio * 1e4


def said(quote: Quote, mid: float | None, now: int) -> Values:
    """What one ticker says."""
    q = quote
    width = None if q.high is None or q.low is None else q.high - q.low
    year = 365.25 * 24 / (8.0 if q.funding_hours is None else q.funding_hours)  # Bybit's interval is 8 h
    return {
        "last_price": q.last,
        "mark_price": q.mark,
        "index_price": q.index,
        "open_interest": q.open_interest,
        "funding_rate": q.funding_rate,
        "volume_24h": q.base_volume,
        "high_24h": q.high,
        "low_24h": q.low,
        "basis_bps": relative(q.mark, q.index),
        "premium_bps": relative(mid, q.index),
        "last_vs_mid_bps": relative(q.last, mid),
        "pos_in_24h_range": None if q.last is None or q.low is None else div(q.last - q.low, width),
        "funding_annualised": None if q.funding_rate is None else q.funding_rate * year,
        "time_to_funding_s": None if q.next_ts is None else max(0, q.next_ts - now) / 1e9,
    }


def funding_z(quotes: list[Quote]) -> float | None:
    """Score the last rate among the 90 prints before its own; a print is a new rate or a new funding time."""
    if quotes[-1].funding_rate is None:
        return None
    prints: list[float] = []
    rate: float | None = None
    following: int | None = None
    for quote in quotes:
        if quote.funding_rate is not None:
            is_new_time = quote.next_at is not None and quote.next_at != following
            if rate is None or quote.funding_rate != rate or is_new_time:
                prints.append(quote.funding_rate)
            rate = quote.funding_rate
            following = quote.next_at if quote.next_at is not None else following
    return score(prints[-1], list(prints[-91:-1]))


def score(x: float | int | None, values: list[float | int | None]) -> float | None:
    """(x - mean) / deviation, exactly; what only rounding makes is no deviation."""
    known = [Fraction(v) for v in values if v is not None]
    if x is None or len(known) < 2:
        return None
    mean = sum(known) / len(known)
    m2 = sum((v - mean) ** 2 for v in known)
    if m2 <= Fraction(1e-26) * sum(v * v for v in known):
        return None
    return float(Fraction(x) - mean) / math.sqrt(m2 / (len(known) - 1))


def interest(
    i: int, quotes: list[Quote], times: list[int], values: Values, config: FeatureConfig, stale: int
) -> Values:
    """Open interest against its value as of the window's start."""
    out: Values = {}
    now, current = times[i], quotes[i].open_interest

    def change(w: int) -> tuple[float | None, float | None]:
        start = now - w * SECOND
        known = [k for k in range(i + 1) if times[k] <= start and quotes[k].open_interest is not None]
        base = quotes[known[-1]].open_interest if known and start - times[known[-1]] <= stale else None
        return (None if base is None or current is None else current - base), base

    for w in config.horizons:
        moved, base = change(w)
        out[f"oi_change_{w}s"], out[f"oi_change_pct_{w}s"] = moved, div(moved, base)
    for w in HORIZONS:
        moved, ret = change(w)[0], values[f"ret_{w}s"]
        known = moved is not None and ret is not None
        out[f"oi_price_quadrant_{w}s"] = 2 * sign(moved) + sign(ret) if known else None  # type: ignore[arg-type]
    return out


def sign(x: float) -> int:
    return (x > 0) - (x < 0)


def beside_books(rows: list[Row], quotes: list[Quote], config: FeatureConfig) -> list[Values]:
    """The last ticker at every book row."""
    stale = round(config.max_state_staleness_seconds * 1e9)
    kept = static_features.kept_rows(rows, stale)
    times = stamped(quotes)
    out: list[Values] = []
    for row, now, _ in kept:
        seen = [k for k, q in enumerate(quotes) if times[k] <= now and q.collected_at <= row.collected_at]
        quoted = [k for k in seen if quotes[k].bid is not None and quotes[k].ask is not None]
        mid = static_features.static(row, config)["mid"]
        values: Values = {"ticker_age_s": (now - times[seen[-1]]) / 1e9 if seen else None}
        if quoted and now - times[quoted[-1]] <= stale:
            last = quotes[quoted[-1]]
            values["quoted_bid_ask_vs_book_bps"] = relative((last.bid + last.ask) / 2, mid)  # type: ignore[operator]
        out.append(values)
    return out
