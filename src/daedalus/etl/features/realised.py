"""Realised spread and price impact, stamped when they become known (feature catalogue, section 8; T8).

A trade of time t, side D, price p and mid m before it enters its windows at t + tau, with m' the last mid at or before
then: realised 2 D (p - m') / m, impact 2 D (m' - m) / m, weighted by size. A row of exactly t + tau counts, and so does
the next one of the same time, in its place. Null are: no side, no mid before, no mid at t + tau (W7). A trade that
comes to light more than `_LATE_NS` after t + tau may find no mid.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import REBASE_ROWS, add, ratio, rebase, room, window_lengths_ns, window_sum
from daedalus.etl.features.trade_rows import MID_BEFORE, PLACE
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

DELAYS = (5, 60)
WINDOWS = (60, 300)
_LATE_NS = 60_000_000_000
_SUMS = 3


def realised(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    columns = tuple(
        Column(f"{name}_{tau}_{w}s", "float64", "bps", f"{doc} {tau} s later, by size; known in the last {w} s")
        for name, doc in (
            ("realised_spread_bps", "2 side (price - mid later) / mid, mid"),
            ("price_impact_bps", "2 side (mid later - mid) / mid, mid"),
        )
        for tau in DELAYS
        for w in WINDOWS
    )
    taus, sums = len(DELAYS), len(DELAYS) * _SUMS
    fields = (
        # Of trades: side, price, mid and size; `tails` are, per delay, the first not final, then those of the windows.
        Field("ring_ts", INT, (), "ring"),
        Field("ring", FLOAT, (2, sums), "ring"),
        Field("trade", FLOAT, (4,), "ring"),
        Field("head", INT, (1,)),
        Field("tails", INT, (taus + taus * len(WINDOWS),)),
        Field("totals", FLOAT, (2, sums)),
        Field("mid_ts", INT, (), "ring", "mid_"),
        Field("mid", FLOAT, (), "ring", "mid_"),
        Field("mid_head", INT, (1,)),
        Field("mid_tails", INT, (1,)),
    )
    run = _runner(config.staleness_ns, fields)
    params = {"staleness_ns": config.staleness_ns}
    doc = "what trades cost once the mid has moved"
    return Family("realised", 1, doc, columns, run, ("mid", "trade_rows"), fields, params)


def _runner(stale_ns: int, fields: tuple[Field, ...]) -> Run:
    delays, windows = window_lengths_ns(DELAYS), window_lengths_ns(WINDOWS)
    lookback = np.array([stale_ns + _LATE_NS], np.int64)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.price, frame.trades.amount, frame.visible, frame.deals)
        done, mid = np.zeros(1, np.int64), frame.floats("mid")
        given = (delays, windows, lookback, stale_ns)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _realised(start, done, frame.ts, mid, *trades, *given, *arrays, out.f64)

        drive("realised", state, fields, frame.rows, walk)

    return run


_SIDE = PLACE["side"]


@kernel
def _realised(
    start: int,
    done: I64,
    ts: I64,
    mid: F64,
    trade_ts: I64,
    price: F64,
    amount: F64,
    visible: I64,
    deals: F64,
    delays: I64,
    windows: I64,
    lookback: I64,
    stale_ns: int,
    ring_ts: I64,
    ring: F64,
    trade: F64,
    head: I64,
    tails: I64,
    totals: F64,
    mid_ts: I64,
    mids: F64,
    mid_head: I64,
    mid_tails: I64,
    out: F64,
) -> int:
    mask, count, taus = len(ring_ts) - 1, len(windows), len(delays)
    paid, sums, shown = np.zeros(_SUMS), np.empty(_SUMS), np.full(len(tails), -1)
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            if head[0] - tails.min() == len(ring_ts):
                return i
            slot = head[0] & mask
            ring_ts[slot] = trade_ts[j]
            trade[slot, 0], trade[slot, 1], trade[slot, 3] = deals[_SIDE, j], price[j], amount[j]
            trade[slot, 2] = deals[MID_BEFORE, j]
            head[0] += 1
            done[0] += 1
        for k in range(taus):
            # What was known before this row is final.
            while tails[k] < head[0] and ring_ts[tails[k] & mask] + delays[k] < ts[i]:
                later = _as_of(ring_ts[tails[k] & mask] + delays[k], stale_ns, mid_ts, mids, mid_head, mid_tails)
                _finish(k, later, ring, trade, tails, totals)
            _forget(k, ts[i] - delays[k], windows, ring_ts, tails)
        if not room(ts[i], lookback, mid_ts, mid_head, mid_tails):
            return i
        if not math.isnan(mid[i]):
            slot = mid_head[0] & (len(mid_ts) - 1)
            mid_ts[slot], mids[slot] = ts[i], mid[i]
            mid_head[0] += 1
        for k in range(taus):
            own, position = taus + k * count, tails[k]
            paid[:] = 0.0
            while position < head[0] and ring_ts[position & mask] + delays[k] == ts[i]:
                later = _as_of(ts[i], stale_ns, mid_ts, mids, mid_head, mid_tails)
                _add_cost(later, trade[position & mask], paid)
                position += 1
            for v in range(count):
                # What this row makes is final at the next one, or made again there: both count as a change.
                if paid[2] > 0.0 or shown[k] != tails[k] or shown[own + v] != tails[own + v]:
                    _write(k, v, i, count, taus, ring, tails, totals, paid, sums, out)
                else:
                    # The same costs as a row ago.
                    for c in range(2):
                        out[(c * taus + k) * count + v, i] = out[(c * taus + k) * count + v, i - 1]
                shown[own + v] = tails[own + v]
            shown[k] = tails[k]
    return len(ts)


@kernel
def _forget(k: int, now: int, windows: I64, ring_ts: I64, tails: I64) -> None:
    """Drop from the windows of delay `k` the trades that are final and had become known too long ago."""
    own = len(DELAYS) + k * len(windows)
    for v in range(len(windows)):
        while tails[own + v] < tails[k] and ring_ts[tails[own + v] & (len(ring_ts) - 1)] <= now - windows[v]:
            tails[own + v] += 1


@kernel
def _as_of(when: int, stale_ns: int, mid_ts: I64, mids: F64, mid_head: I64, mid_tails: I64) -> float:
    """Return the last mid at or before that time, not too old; none: NaN."""
    mask, position = len(mid_ts) - 1, mid_head[0] - 1
    while position >= mid_tails[0] and mid_ts[position & mask] > when:
        position -= 1
    alive = position >= mid_tails[0] and when - mid_ts[position & mask] <= stale_ns
    return float(mids[position & mask]) if alive else math.nan


@kernel
def _cost(later: float, trade: F64) -> tuple[float, float, float]:
    """Return realised spread and impact, both times size, and the size; NaN where they are null."""
    side, price, mid, size = trade[0], trade[1], trade[2], trade[3]
    if side == 0.0 or math.isnan(later + mid):
        return math.nan, math.nan, math.nan
    factor = 2.0 * side
    return factor * (price - later) / mid * 1e4 * size, factor * (later - mid) / mid * 1e4 * size, size


@kernel
def _add_cost(later: float, trade: F64, paid: F64) -> None:
    cost = _cost(later, trade)
    if not math.isnan(cost[2]):
        for c in range(_SUMS):
            paid[c] += cost[c]


@kernel
def _finish(k: int, later: float, ring: F64, trade: F64, tails: I64, totals: F64) -> None:
    """Add the first trade that is not final to the sums of delay `k`."""
    mask, first, own = len(ring) - 1, k * _SUMS, len(DELAYS) + k * len(WINDOWS)
    if tails[k] > 0 and tails[k] % REBASE_ROWS == 0:
        span = slice(first, first + _SUMS)
        rebase(tails[own : own + len(WINDOWS)].min(), ring[:, :, span], tails[k : k + 1], totals[:, span])
    slot = tails[k] & mask
    cost = _cost(later, trade[slot])
    for c in range(_SUMS):
        ring[slot, 0, first + c], ring[slot, 1, first + c] = totals[0, first + c], totals[1, first + c]
        add(totals, first + c, cost[c])
    tails[k] += 1


@kernel
def _write(
    k: int,
    v: int,
    i: int,
    count: int,
    taus: int,
    ring: F64,
    tails: I64,
    totals: F64,
    paid: F64,
    sums: F64,
    out: F64,
) -> None:
    """Write realised spread and impact of one delay over one window: what is final there, and what this row makes."""
    first, tail = k * _SUMS, tails[taus + k * count + v]
    for c in range(_SUMS):
        sums[c] = paid[c]
        if tail < tails[k]:
            sums[c] += window_sum(totals, ring, tail & (len(ring) - 1), first + c)
    for c in range(2):
        out[(c * taus + k) * count + v, i] = ratio(sums[c], sums[2])
