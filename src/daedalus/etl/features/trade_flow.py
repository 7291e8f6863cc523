"""Trade imbalance and volume over time windows, at every book row (feature catalogue, section 7).

A window (ts - w, ts] holds the trades that the row may see (T5), by their own time.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, I64, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, ratio, room, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.trade_rows import PLACE
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

_TEMPLATES = (
    ("tfi_", "base", "bought - sold (trade imbalance of Cont et al. 2014)"),
    ("tfi_ratio_", "", "tfi over bought + sold"),
    ("volume_", "base", "size traded"),
    ("vwap_dev_bps_", "bps", "mid against the size-weighted price of trades"),
)
_SUMS = 5


def trade_flow(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    windows = config.horizons
    fields = window_fields(len(windows), _SUMS)
    columns = (
        *(Column(f"{n}{w}s", "float64", unit, f"{doc}; last {w} s") for n, unit, doc in _TEMPLATES for w in windows),
        *(Column(f"n_trades_{w}s", "int64", "count", f"trades; last {w} s") for w in windows),
    )
    run = _runner(window_lengths_ns(windows), fields)
    core, standard = ("tfi_[0-9]*",), ("*",)
    doc, needs = "trade imbalance and volume over time windows", ("mid", "trade_rows")
    return Family("trade_flow", 2, doc, columns, run, needs, fields, {}, core, standard, replays=True)


def _runner(lengths: I64, fields: tuple[Field, ...]) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.amount, frame.visible, frame.deals)
        done, mid = np.zeros(1, np.int64), frame.floats("mid")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return frame.call(_trade_flow, start, done, frame.ts, mid, *trades, lengths, *arrays, out.f64, out.i64)

        drive("trade_flow", state, fields, frame.rows, walk)

    return run


_SIDE, _NOTIONAL = PLACE["side"], PLACE["notional"]


@kernel
def _trade_flow(
    start: int,
    done: I64,
    ts: I64,
    mid: F64,
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
    # What each window holds is worked out when that changes: sold and bought, their ratio, volume, average, number.
    held, shown, entered = np.empty((windows, 5)), np.full(windows, -1), -1
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            if enter(trade_ts[j], lengths, ring_ts, ring, head, tails, totals) < 0:
                return i
            _enter_trade(amount[j], deals[_SIDE, j], deals[_NOTIONAL, j], totals)
            done[0] += 1
        room(ts[i], lengths, ring_ts, head, tails)
        for w in range(windows):
            if tails[w] != shown[w] or head[0] != entered:
                _hold(tails[w], head[0], mask, ring, totals, held[w])
                shown[w] = tails[w]
            out[w, i] = held[w, 0]
            out[windows + w, i] = held[w, 1]
            out[2 * windows + w, i] = held[w, 2]
            out[3 * windows + w, i] = (mid[i] - held[w, 3]) / mid[i] * 1e4
            counts[w, i] = int(held[w, 4])
        entered = head[0]
    return len(ts)


@kernel
def _enter_trade(amount: float, side: float, notional: float, totals: F64) -> None:
    add(totals, 0, 1.0)
    add(totals, 1, amount)
    add(totals, 2, notional)
    if side > 0.0:
        add(totals, 3, amount)
    elif side < 0.0:
        add(totals, 4, amount)


@kernel
def _hold(tail: int, head: int, mask: int, ring: F64, totals: F64, held: F64) -> None:
    """Work out one window; an empty one sums to 0 (N2)."""
    held[:] = 0.0
    held[1] = held[3] = math.nan
    if tail == head:
        return
    slot = tail & mask
    volume = window_sum(totals, ring, slot, 1)
    buys, sells = window_sum(totals, ring, slot, 3), window_sum(totals, ring, slot, 4)
    held[0] = buys - sells
    held[1] = ratio(buys - sells, buys + sells)
    held[2] = volume
    held[3] = ratio(window_sum(totals, ring, slot, 2), volume)
    held[4] = window_sum(totals, ring, slot, 0)
