"""Naive reference of `recovery_s_*` (feature catalogue, section 5)."""

from __future__ import annotations

from daedalus.etl.features.config import FeatureConfig
from tests.references.stateful_features import Kept
from tests.references.static_features import Values, clean

MINUTE_NS = 60_000_000_000


def recoveries(kept: Kept, per_row: list[Values], config: FeatureConfig) -> list[Values]:
    """Look at every depletion and the rows after it."""
    out: list[Values] = [{} for _ in kept]
    for side in ("bid", "ask"):
        sizes = [_touch_size(row.bids if side == "bid" else row.asks, side == "bid") for row, _, _ in kept]
        for i, values in enumerate(out):
            first = max(j for j in range(i + 1) if kept[j][2])
            depleted = [j for j in range(first, i + 1) if per_row[j].get(f"queue_depleted_{side}") == 1]
            values[f"recovery_s_{side}"] = _since(kept, sizes, depleted[-1], i) if depleted else None
    return out


def _since(kept: Kept, sizes: list[float | None], at: int, now: int) -> float | None:
    began = kept[at][1]
    before = [sizes[j] for j in range(at) if kept[j][1] > began - MINUTE_NS and sizes[j] is not None]
    if not before:
        return None
    goal = 0.9 * sum(before) / len(before)  # type: ignore[arg-type]
    reached = [j for j in range(at, now + 1) if sizes[j] is not None and sizes[j] >= goal]  # type: ignore[operator]
    return (kept[reached[0]][1] - began) / 1e9 if reached else None


def _touch_size(levels: list[tuple[float, float]], is_bid: bool) -> float | None:
    side = clean(levels, is_bid, 1)
    return side[0][1] if side else None
