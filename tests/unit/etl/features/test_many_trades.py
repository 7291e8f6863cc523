"""Windows that hold more trades than a new ring, against NumPy; and the tree behind medians."""

from __future__ import annotations

import numpy as np

from tests.references.markets import Deal, Row, touch
from tests.unit.etl.features.helpers import compute

HORIZONS = (3, 60, 900)


def market(seed: int, count: int) -> tuple[list[Row], list[Deal]]:
    """Return trades in bursts, with ties of time and of size, and a row every few of them."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.choice([0.0, 0.001, 0.2, 0.4, 30.0], count, p=[0.3, 0.3, 0.2, 0.19, 0.01]))
    sizes = rng.choice(np.round(rng.lognormal(size=40), 3), count)
    prices = np.round(100.0 + rng.normal(size=count), 2)
    sides = rng.choice([-1, 0, 1], count)
    deals = [Deal(*map(float, d[:2]), int(d[2]), float(d[3])) for d in zip(at, sizes, sides, prices, strict=True)]
    rows = [touch(float(t), 99.0, 101.0 + 0.5 * k % 3) for k, t in enumerate(np.unique(at[:: count // 60]))]
    return rows, deals


def test_windows_of_many_trades() -> None:
    rows, deals = market(1, 5000)
    table = compute(rows, deals, horizons=HORIZONS, include=("trade_median", "trade_range"), feature_set="core")
    ts = np.array([deal.ts for deal in deals])
    sizes, prices = np.array([deal.amount for deal in deals]), np.array([deal.price for deal in deals])
    held = []
    for w in HORIZONS:
        for i, row in enumerate(rows):
            inside = (ts > row.ts - w * 1_000_000_000) & (ts <= row.ts)
            held.append(int(inside.sum()))
            mid = (row.bids[0][0] + row.asks[0][0]) / 2
            want = {
                "trade_size_median": float(np.quantile(sizes[inside], 0.5)) if inside.any() else None,
                "trade_size_max": float(sizes[inside].max()) if inside.any() else None,
                "trade_price_range_bps": float(np.ptp(prices[inside])) / mid * 1e4 if inside.any() else None,
            }
            for name, value in want.items():
                got = table.column(f"{name}_{w}s")[i].as_py()
                assert got == value or abs(got - value) <= 1e-9 * abs(value), (name, w, i)
    assert max(held) > 2000


def test_sums_of_many_trades() -> None:
    rows, deals = market(2, 5000)
    include = ("realised", "activity")
    table = compute(rows, deals, horizons=(60, 900), include=include, feature_set="core")
    ts, sizes = np.array([deal.ts for deal in deals]), np.array([deal.amount for deal in deals])
    for i, row in enumerate(rows):
        volume = [sizes[(ts > row.ts - w * 1_000_000_000) & (ts <= row.ts)].sum() for w in (900, 3600)]
        np.testing.assert_allclose(table.column("volume_clock_ratio_900s")[i].as_py(), volume[0] / volume[1] * 4)
    assert table.column("realised_spread_bps_60_300s").null_count < len(rows)
