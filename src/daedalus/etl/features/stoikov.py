"""Calibrating Stoikov's micro-price on past books (feature catalogue, section 13.3), as in the author's notebook.

States are (spread in ticks, bucket of the imbalance at the touch). From row to row the mid stays (Q), or moves by one
of K = (-1, -1/2, 1/2, 1) ticks (R1) into some state (R2). Then G1 = (1 - Q)^-1 R1 K, B = (1 - Q)^-1 R2, and
G* = sum of B^i G1 over i < 6. Every transition is counted with its mirror image: bid and ask exchanged.
"""

import numpy as np

from daedalus.etl.features.base import F64, I64
from daedalus.etl.features.calibration import MicropriceCalibration
from daedalus.shared.errors import ConfigError

_HALF_TICKS = (-2, -1, 1, 2)
_TERMS = 6


def calibrate_microprice(
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    tick_size: float,
    buckets: int = 10,
    spreads: int = 2,
) -> MicropriceCalibration:
    """Estimate the table from the touch of past books.

    Parameters
    ----------
    bid, bid_size, ask, ask_size
        float64[n], best prices and sizes in arrival order; rows with a spread other than 1 to `spreads` ticks are left
        out, as are moves of the mid by more than a tick.
    tick_size
        Price step of the market.
    buckets
        Of the imbalance; their edges are the quantiles (type 7) of the rows left in.
    spreads
        Widest spread, in ticks.

    Raises
    ------
    ConfigError
        If no mid moves by a tick or half of one: there is nothing to estimate from.
    """
    with np.errstate(invalid="ignore"):
        width = np.rint((ask - bid) / tick_size)
        kept = (width >= 1) & (width <= spreads) & (bid_size + ask_size > 0)
    mid, share = (bid[kept] + ask[kept]) / 2.0, bid_size[kept] / (bid_size[kept] + ask_size[kept])
    if len(mid) < 2:
        raise ConfigError(f"{len(mid)} books have a spread of 1 to {spreads} ticks of {tick_size:g}: check tick_size")
    edges = np.quantile(share, np.linspace(0.0, 1.0, buckets + 1)[1:-1])
    bucket, row = np.searchsorted(edges, share, side="left"), width[kept].astype(np.int64) - 1
    moves = np.rint(np.diff(mid) / tick_size * 2.0).astype(np.int64)
    small = np.abs(moves) <= 2
    states = [row * buckets + bucket, row * buckets + buckets - 1 - bucket]
    before = np.concatenate([state[:-1][small] for state in states])
    after = np.concatenate([state[1:][small] for state in states])
    g = _adjustments(before, after, np.concatenate([moves[small], -moves[small]]), spreads * buckets, tick_size)
    table = tuple(tuple(None if np.isnan(x) else float(x) for x in line) for line in g.reshape(spreads, buckets))
    return MicropriceCalibration(float(tick_size), tuple(edges.tolist()), table)


def _adjustments(before: I64, after: I64, moves: I64, states: int, tick_size: float) -> F64:
    """Return G* of every state; NaN for those that were not seen or from which the mid was never seen to move."""
    stays, goes, jumps = np.zeros((states, states)), np.zeros((states, states)), np.zeros((states, len(_HALF_TICKS)))
    still = moves == 0
    np.add.at(stays, (before[still], after[still]), 1.0)
    np.add.at(goes, (before[~still], after[~still]), 1.0)
    np.add.at(jumps, (before[~still], np.searchsorted(_HALF_TICKS, moves[~still])), 1.0)
    alive = jumps.any(axis=1)
    while (more := alive | stays[:, alive].any(axis=1)).sum() > alive.sum():
        alive = more
    if not alive.any():
        raise ConfigError("the mid never moves by a tick or half of one: check tick_size, or take more books")
    seen = (stays.sum(axis=1) + jumps.sum(axis=1))[alive]
    q, r1, r2 = (m / seen[:, None] for m in (stays[np.ix_(alive, alive)], jumps[alive], goes[np.ix_(alive, alive)]))
    rest = np.eye(len(seen)) - q
    term = np.linalg.solve(rest, r1 @ np.array(_HALF_TICKS) / 2.0 * tick_size)
    b, total = np.linalg.solve(rest, r2), term
    for _ in range(_TERMS - 1):
        term = b @ term
        total = total + term
    out = np.full(states, np.nan)
    out[alive] = total
    return out
