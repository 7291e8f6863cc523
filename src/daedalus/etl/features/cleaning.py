"""Cleaning of book levels (rules B1-B3) and the padding of ragged rows to [n, max_levels]."""

import math

import numpy as np

from daedalus.etl.features.base import F64, I64
from daedalus.etl.features.calls import Caller, directly
from daedalus.etl.features.jit import kernel


def clean_side(
    offsets: I64, price: F64, size: F64, max_levels: int, sign: float, call: Caller = directly
) -> tuple[F64, F64]:
    """Return one side of every row as (prices, sizes), float64[n, max_levels], best level first.

    Levels that are not finite or not positive are dropped, the rest sorted, equal prices merged (sizes added in their
    order) and the best `max_levels` kept. Missing levels have price NaN and size 0.

    Parameters
    ----------
    offsets
        int64[n + 1]: row i owns levels offsets[i] to offsets[i + 1].
    price, size
        float64[levels].
    sign
        1.0 for bids (high is best), -1.0 for asks.
    call
        How to call the kernel.
    """
    rows = len(offsets) - 1
    out_price, out_size = np.empty((rows, max_levels)), np.empty((rows, max_levels))
    call(_clean, offsets, price, size, sign, out_price, out_size)
    return out_price, out_size


@kernel
def _clean(offsets: I64, price: F64, size: F64, sign: float, out_price: F64, out_size: F64) -> None:
    rows, cap = out_price.shape
    for i in range(rows):
        kept, worst = 0, sign * math.inf
        for j in range(offsets[i], offsets[i + 1]):
            p, q = price[j], size[j]
            if not (p > 0.0 and q > 0.0 and p < math.inf and q < math.inf):
                continue
            if sign * p < sign * worst and kept < cap:
                out_price[i, kept] = p
                out_size[i, kept] = q
                kept += 1
            else:
                kept = _insert(out_price, out_size, i, kept, cap, p, q, sign)
            worst = out_price[i, kept - 1]
        for k in range(kept, cap):
            out_price[i, k] = math.nan
            out_size[i, k] = 0.0


@kernel
def _insert(out_price: F64, out_size: F64, i: int, kept: int, cap: int, p: float, q: float, sign: float) -> int:
    """Put a level into the sorted row where it belongs, if anywhere, and return how many the row holds."""
    at = kept
    while at > 0 and sign * p > sign * out_price[i, at - 1]:
        at -= 1
    if at > 0 and out_price[i, at - 1] == p:
        out_size[i, at - 1] += q
        return kept
    if at == cap:
        return kept
    last = min(kept, cap - 1)
    for k in range(last, at, -1):
        out_price[i, k] = out_price[i, k - 1]
        out_size[i, k] = out_size[i, k - 1]
    out_price[i, at] = p
    out_size[i, at] = q
    return min(kept + 1, cap)
