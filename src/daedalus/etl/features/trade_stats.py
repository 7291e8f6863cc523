"""What trades over time windows look like, at every book row (feature catalogue, sections 7 and 8).

A window (ts - w, ts] holds the trades that the row may see (T5), by their own time.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.pairs import add_product, variance, window_pair
from daedalus.etl.features.streaming import add, enter, ratio, room, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.trade_rows import PLACE
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

_STATS = (
    ("tfi_count_ratio_", "", "the same by number of trades"),
    ("buy_volume_", "base", "size bought by aggressors"),
    ("sell_volume_", "base", "size sold by aggressors"),
    ("notional_", "quote", "price * size traded"),
    ("vwap_", "quote", "size-weighted price of trades"),
    ("effective_spread_bps_", "bps", "size-weighted effective spread (Huang and Stoll 1996)"),
    ("trade_size_mean_", "base", "mean size of a trade"),
    ("trade_size_std_", "base", "standard deviation of the size of a trade"),
    ("interarrival_mean_", "s", "mean of trade_dt_s"),
    ("interarrival_std_", "s", "standard deviation of trade_dt_s"),
    ("interarrival_cv_", "", "standard deviation over mean of trade_dt_s"),
    ("burstiness_", "", "(deviation - mean) / (sum) of trade_dt_s (Goh and Barabasi 2008)"),
    ("large_share_", "", "share of volume in large trades"),
    ("large_imbalance_", "", "(bought - sold) / (sum) of large trades"),
    ("side_entropy_", "bits", "entropy of the sides of trades, unknown ones left out"),
    ("trade_rv_", "", "sum of squared trade_log_return"),
)
_COUNTS = (("n_buys_", "aggressive buys"), ("n_sells_", "aggressive sells"))
_SUMS = 17
_FLOATS, _COLUMNS = len(_STATS), len(_STATS) + len(_COUNTS)


def trade_stats(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fields = window_fields(len(config.horizons), _SUMS)
    columns = (
        *(
            Column(f"{n}{w}s", "float64", unit, f"{doc}; last {w} s")
            for n, unit, doc in _STATS
            for w in config.horizons
        ),
        *(Column(f"{n}{w}s", "int64", "count", f"{d}; last {w} s") for n, d in _COUNTS for w in config.horizons),
    )
    run = _runner(window_lengths_ns(config.horizons), fields)
    return Family("trade_stats", 2, "trades over time windows", columns, run, ("trade_rows",), fields)


def _runner(lengths: I64, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.amount, frame.visible, frame.deals)
        done = np.zeros(1, np.int64)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _trade_stats(start, done, frame.ts, *trades, lengths, *arrays, out.f64, out.i64)

        drive("trade_stats", state, fields, frame.rows, walk)

    return run


_DT, _RETURN, _LARGE, _EFFECTIVE = (
    PLACE[name] for name in ("trade_dt_s", "trade_log_return", "large_trade", "effective_spread_bps")
)


@kernel
def _trade_stats(
    start: int,
    done: I64,
    ts: I64,
    trade_ts: I64,
    amount: F64,
    visible: I64,
    deals: F64,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    out: F64,
    counts: I64,
) -> int:
    windows, mask = len(lengths), len(ring_ts) - 1
    # What each window holds is worked out when that changes.
    sums, held, shown, entered = np.empty(_SUMS), np.empty((windows, _COLUMNS)), np.full(windows, -1), -1
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            if enter(trade_ts[j], lengths, ring_ts, ring, head, tails, totals) < 0:
                return i
            _enter_trade(amount[j], deals[:, j], totals)
            done[0] += 1
        room(ts[i], lengths, ring_ts, head, tails)
        for w in range(windows):
            if tails[w] != shown[w] or head[0] != entered:
                if tails[w] == head[0]:
                    _nothing(held[w])
                else:
                    _hold(tails[w] & mask, ring, totals, sums, held[w])
                shown[w] = tails[w]
            for c in range(_FLOATS):
                out[c * windows + w, i] = held[w, c]
            counts[w, i], counts[windows + w, i] = int(held[w, _FLOATS]), int(held[w, _FLOATS + 1])
        entered = head[0]
    return len(ts)


@kernel
def _enter_trade(q: float, deal: F64, totals: F64) -> None:
    side, large = deal[0], deal[_LARGE] == 1.0
    add(totals, 0, 1.0)
    add(totals, 3, q)
    add(totals, 6, deal[3])
    add_product(totals, 7, q, q)
    add(totals, 14, deal[_RETURN] * deal[_RETURN])
    if side > 0.0:
        add(totals, 1, 1.0)
        add(totals, 4, q)
    elif side < 0.0:
        add(totals, 2, 1.0)
        add(totals, 5, q)
    if not math.isnan(deal[_DT]):
        add(totals, 8, deal[_DT])
        add_product(totals, 9, deal[_DT], deal[_DT])
        add(totals, 10, 1.0)
    if large:
        add(totals, 11, q)
        add(totals, 12, q if side > 0.0 else 0.0)
        add(totals, 13, q if side < 0.0 else 0.0)
    if not math.isnan(deal[_EFFECTIVE]):
        add(totals, 15, deal[_EFFECTIVE] * q)
        add(totals, 16, q)


@kernel
def _nothing(held: F64) -> None:
    """Fill in an empty window (N2): sums 0, the rest null."""
    held[:] = math.nan
    held[1] = held[2] = held[3] = held[15] = held[16] = held[17] = 0.0


@kernel
def _hold(slot: int, ring: F64, totals: F64, sums: F64, held: F64) -> None:
    """Work out one window, in the order of the columns."""
    for c in range(_SUMS):
        sums[c] = window_sum(totals, ring, slot, c)
    n, buys, sells = sums[0], sums[1], sums[2]
    held[0] = ratio(buys - sells, buys + sells)
    held[1], held[2], held[3] = sums[4], sums[5], sums[6]
    held[4] = ratio(sums[6], sums[3])
    held[5] = ratio(sums[15], sums[16])
    size, size_low = window_pair(totals, ring, slot, 3)
    squares, squares_low = window_pair(totals, ring, slot, 7)
    held[6] = ratio(sums[3], n)
    held[7] = math.sqrt(variance(n, squares, squares_low, size, size_low, totals[0, 7]))
    gap, gap_low = window_pair(totals, ring, slot, 8)
    squares, squares_low = window_pair(totals, ring, slot, 9)
    mean = ratio(sums[8], sums[10])
    std = math.sqrt(variance(sums[10], squares, squares_low, gap, gap_low, totals[0, 9]))
    held[8], held[9] = mean, std
    held[10] = ratio(std, mean)
    held[11] = ratio(std - mean, std + mean)
    held[12] = ratio(sums[11], sums[3])
    held[13] = ratio(sums[12] - sums[13], sums[12] + sums[13])
    held[14] = _entropy(buys, sells)
    held[15] = max(0.0, sums[14])
    held[16], held[17] = buys, sells


@kernel
def _entropy(buys: float, sells: float) -> float:
    """Return the entropy of two counts in bits; null for none."""
    total = buys + sells
    if total == 0.0:
        return math.nan
    value = 0.0
    for count in (buys, sells):
        if count > 0.0:
            value -= count / total * math.log2(count / total)
    return value
