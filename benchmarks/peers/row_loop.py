"""The core set as one would write it without this library: a loop over rows in plain Python.

Quantiles come from a sorted list; windows are queues of rows. It takes rows and trades as Python objects, so that
reading is not counted against it, and expects an orderly market: no gap in the recording, both sides there.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, insort
from collections import deque
from typing import NamedTuple

import numpy as np

from benchmarks.peers.row_loop_trades import Kyle, Vpin
from daedalus.etl.features.chunks import BookChunk, TradeChunk

HORIZONS = (1, 5, 15, 30, 60, 300, 900)
BANDS = (5.0, 10.0, 25.0, 50.0, 100.0)
LEVEL_SETS = (1, 3, 5, 10, 20)
LEVELS, OFI_LEVELS, DECAY = 20, 10, 0.5
REFERENCE_ROWS, ROWS_MIN, TIGHT, WIDE = 300, 100, 0.2, 0.8
EDGE_BPS = 1e-9


class Book(NamedTuple):
    """One row: times in ns, sides best first as (price, size)."""

    ts: int
    collected_at: int
    seq: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Deal(NamedTuple):
    ts: int
    collected_at: int
    price: float
    amount: float
    side: int


def objects(book: BookChunk, trades: TradeChunk, rows: int) -> tuple[list[Book], list[list[Deal]]]:
    """Return the first rows as objects, each with the trades received by then."""
    bids, asks = (
        [list(zip(p, q, strict=True)) for p, q in zip(price[:rows].tolist(), size[:rows].tolist(), strict=True)]
        for price, size in ((book.bid_price, book.bid_size), (book.ask_price, book.ask_size))
    )
    times = (book.ts[:rows].tolist(), book.collected_at[:rows].tolist(), book.seq[:rows].tolist())
    books = [Book(*fields) for fields in zip(*times, bids, asks, strict=True)]
    columns = (trades.ts, trades.collected_at, trades.price, trades.amount, trades.side)
    deals = [Deal(*fields) for fields in zip(*(column.tolist() for column in columns), strict=True)]
    edges = [0, *np.searchsorted(trades.collected_at, book.collected_at[:rows], "right").tolist()]
    return books, [deals[first:last] for first, last in itertools.pairwise(edges)]


class Sums:
    """Sums of a few values over (ts - seconds, ts].

    Added up anew at every row, the straightforward way; or kept as rows come and go, which is faster and drifts.
    """

    def __init__(self, seconds: int, count: int, running: bool) -> None:
        self.length, self.rows, self.running = seconds * 1_000_000_000, deque(), [0.0] * count if running else None
        self.count = count

    def add(self, ts: int, values: tuple[float, ...]) -> None:
        self.rows.append((ts, values))
        if self.running is not None:
            for c, value in enumerate(values):
                self.running[c] += value

    def evict(self, now: int) -> None:
        while self.rows and self.rows[0][0] <= now - self.length:
            gone = self.rows.popleft()[1]
            if self.running is not None:
                for c, value in enumerate(gone):
                    self.running[c] -= value

    def sums(self) -> list[float]:
        if self.running is not None:
            return self.running
        return [sum(values[c] for _, values in self.rows) for c in range(self.count)]


class RowLoop:
    """Computes the core set, one row after the other.

    Parameters
    ----------
    running
        Whether sums over windows are kept instead of added up anew.
    """

    def __init__(self, running: bool = False) -> None:
        self.before: Book | None = None
        self.mid = self.velocity = math.nan
        self.changed_at = 0
        self.waiting: deque[Deal] = deque()
        self.windows = [Sums(w, 9, running) for w in HORIZONS]
        self.trades = [Sums(w, 1, running) for w in HORIZONS]
        self.recent: deque[float] = deque()
        self.ordered: list[float] = []
        self.kyle, self.vpin = Kyle(), Vpin()

    def row(self, book: Book, deals: list[Deal]) -> dict[str, float | int | None]:
        """Return the features of a row; `deals` are the trades received since the row before, up to it."""
        self.waiting.extend(deals)
        while self.waiting and self.waiting[0].ts <= book.ts:
            deal = self.waiting.popleft()
            for window in self.trades:
                window.add(deal.ts, (deal.side * deal.amount,))
            self.kyle.trade(deal.ts, deal.side * deal.amount)
            self.vpin.trade(deal.amount, deal.side)
        out = self.identity(book)
        mid = self.touch(book, out)
        self.depth(book, mid, out)
        flow, decayed, r = self.changes(book, mid, out)
        regime = self.regime(out["spread_bps"])
        out["spread_regime"] = regime
        size = sum(q for _, q in book.bids[:5]) + sum(q for _, q in book.asks[:5])
        self.rolling(book.ts, flow, decayed, r, regime, size, out)
        out["kyle_lambda"], out["kyle_lambda_r2"], out["kyle_lambda_t"] = self.kyle.row(book.ts, mid)
        out["vpin"] = self.vpin.value
        self.before, self.mid = book, mid
        return out

    def identity(self, book: Book) -> dict[str, float | int | None]:
        before, bid, ask = self.before, book.bids[0], book.asks[0]
        if before is None or bid != before.bids[0] or ask != before.asks[0]:
            self.changed_at = book.ts
        return {
            "ts": book.ts,
            "seq": book.seq,
            "n_levels_bid": len(book.bids),
            "n_levels_ask": len(book.asks),
            "dt_s": None if before is None else (book.ts - before.ts) / 1e9,
            "book_age_s": (book.ts - self.changed_at) / 1e9,
            "is_crossed": int(bid[0] > ask[0]),
            "is_locked": int(bid[0] == ask[0]),
            "is_one_sided": 0,
            "is_empty": 0,
            "is_reset": int(before is None),
            "is_late": 0,
        }

    def touch(self, book: Book, out: dict[str, float | int | None]) -> float:
        for side, levels in (("bid", book.bids), ("ask", book.asks)):
            for k, (price, size) in enumerate(levels):
                out[f"{side}_price_l{k}"] = price
                out[f"{side}_size_l{k}"] = size
        (b, qb), (a, qa) = book.bids[0], book.asks[0]
        mid = (b + a) / 2.0
        out["mid"], out["spread"], out["spread_bps"] = mid, a - b, (a - b) / mid * 1e4
        out["microprice"] = (qb * a + qa * b) / (qb + qa)
        out["microprice_dev_bps"] = (out["microprice"] - mid) / mid * 1e4
        for k in range(LEVELS):
            qb, qa = book.bids[k][1], book.asks[k][1]
            out[f"imbalance_l{k}"] = (qb - qa) / (qb + qa)
        return mid

    def depth(self, book: Book, mid: float, out: dict[str, float | int | None]) -> None:
        for count in LEVEL_SETS:
            qb, qa = (sum(q for _, q in side[:count]) for side in (book.bids, book.asks))
            out[f"imbalance_n{count}"] = (qb - qa) / (qb + qa)
            if count == 5:
                out["depth_bid_n5"], out["depth_ask_n5"] = qb, qa
        bands: dict[str, list[float]] = {}
        for side, levels, sign in (("bid", book.bids, -1.0), ("ask", book.asks, 1.0)):
            found = bands[side] = [0.0] * len(BANDS)
            for price, size in levels:
                away = max(0.0, sign * (price - mid) / mid * 1e4) + EDGE_BPS
                for band, edge in enumerate(BANDS):
                    if away < edge:
                        found[band] += size
                        break
        low = 0.0
        for band, edge in enumerate(BANDS):
            qb, qa = bands["bid"][band], bands["ask"][band]
            name = f"b{low:g}_{edge:g}"
            out[f"depth_bid_{name}"], out[f"depth_ask_{name}"] = qb, qa
            out[f"imbalance_{name}"] = (qb - qa) / (qb + qa) if qb + qa > 0.0 else None
            low = edge

    def changes(self, book: Book, mid: float, out: dict[str, float | int | None]) -> tuple[float, float, float]:
        """Write order flow and returns; return what enters the windows of them."""
        before = self.before
        if before is None:
            names = [f"mlofi_l{m}" for m in range(OFI_LEVELS)]
            names += ["ofi", "mlofi_decay", "log_return", "mid_velocity_bps_s", "mid_accel_bps_s2"]
            out.update(dict.fromkeys(names))
            return 0.0, 0.0, 0.0
        decayed = 0.0
        for m in range(OFI_LEVELS):
            (pb, qb), (pb0, qb0), (pa, qa), (pa0, qa0) = book.bids[m], before.bids[m], book.asks[m], before.asks[m]
            gained = (qb if pb >= pb0 else 0.0) - (qb0 if pb <= pb0 else 0.0)
            offered = (qa if pa <= pa0 else 0.0) - (qa0 if pa >= pa0 else 0.0)
            out[f"mlofi_l{m}"] = gained - offered
            decayed += math.exp(-DECAY * m) * (gained - offered)
        out["ofi"], out["mlofi_decay"] = out["mlofi_l0"], decayed
        r, dt = math.log(mid / self.mid), (book.ts - before.ts) / 1e9
        velocity = 1e4 * r / dt if dt > 0.0 else math.nan
        acceleration = (velocity - self.velocity) / dt if dt > 0.0 else math.nan
        self.velocity = velocity
        out["log_return"] = r
        out["mid_velocity_bps_s"] = None if math.isnan(velocity) else velocity
        out["mid_accel_bps_s2"] = None if math.isnan(acceleration) else acceleration
        return out["ofi"], decayed, r

    def regime(self, spread: float) -> int | None:
        """Compare the spread with quantiles of the rows before."""
        regime, known = None, self.ordered
        if len(known) >= ROWS_MIN:
            regime = -1 if spread <= _quantile(known, TIGHT) else int(spread >= _quantile(known, WIDE))
        if len(self.recent) == REFERENCE_ROWS:
            del known[bisect_left(known, self.recent.popleft())]
        self.recent.append(spread)
        insort(known, spread)
        return regime

    def rolling(
        self,
        ts: int,
        flow: float,
        decayed: float,
        r: float,
        regime: int | None,
        size: float,
        out: dict[str, float | int | None],
    ) -> None:
        values = (
            *(flow, decayed, r * r, 1.0, size, size * size),
            *(float(regime == -1), float(regime == 1), float(regime is not None)),
        )
        for w, window, trades in zip(HORIZONS, self.windows, self.trades, strict=True):
            window.add(ts, values)
            window.evict(ts)
            trades.evict(ts)
            ofi, mlofi, squares, n, total, total2, tight, wide, known = window.sums()
            out[f"ofi_sum_{w}s"], out[f"mlofi_decay_sum_{w}s"] = ofi, mlofi
            out[f"rvol_{w}s"] = math.sqrt(max(0.0, squares))
            out[f"spread_regime_tight_frac_{w}s"] = tight / known if known > 0.5 else None
            out[f"spread_regime_wide_frac_{w}s"] = wide / known if known > 0.5 else None
            out[f"depth_var_n5_{w}s"] = max(0.0, total2 - total * total / n) / (n - 1.0) if n > 1.5 else None
            out[f"tfi_{w}s"] = trades.sums()[0] if trades.rows else 0.0


def _quantile(ordered: list[float], q: float) -> float:
    """Return the type 7 quantile."""
    place = (len(ordered) - 1) * q
    low = min(math.floor(place), len(ordered) - 2)
    return ordered[low] + (ordered[low + 1] - ordered[low]) * (place - low)
