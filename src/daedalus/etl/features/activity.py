"""Trading activity against its own scale (feature catalogue, section 8): volume clock, Kyle and Obizhaeva (2016).

Volatility is that of rows, `rvol_{w}s`; volume and notional are those of trades, all over windows (ts - w, ts].
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

_SCALES = (300, 3600)
_HOUR = 3600


def activity(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    clocks = tuple(w for w in config.horizons if w < _HOUR)
    columns = (
        *(
            Column(f"ko_activity_{w}s", "float64", "quote", f"rvol * notional (Kyle and Obizhaeva 2016); last {w} s")
            for w in _SCALES
        ),
        *(
            Column(f"ko_illiquidity_{w}s", "float64", "", f"cube root of rv / notional (ibid.); last {w} s")
            for w in _SCALES
        ),
        *(
            Column(f"volume_clock_ratio_{w}s", "float64", "", f"volume of the last {w} s against the last hour's pace")
            for w in clocks
        ),
    )
    windows = (*_SCALES, *clocks)
    fields = (*window_fields(len(windows), 2), *window_fields(len(_SCALES), 1, "row_"))
    run = _runner(windows, fields)
    needs = ("log_return", "trade_rows")
    return Family("activity", 1, "trading activity against its own scale", columns, run, needs, fields)


def _runner(windows: tuple[int, ...], fields: tuple[Field, ...]) -> Run:
    lengths, scales = window_lengths_ns(windows), window_lengths_ns(_SCALES)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.amount, frame.deals[PLACE["notional"]], frame.visible)
        done, returns = np.zeros(1, np.int64), frame.floats("log_return")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _activity(start, done, frame.ts, returns, *trades, lengths, scales, *arrays, out.f64)

        drive("activity", state, fields, frame.rows, walk)

    return run


@kernel
def _activity(
    start: int,
    done: I64,
    ts: I64,
    log_return: F64,
    trade_ts: I64,
    amount: F64,
    notional: F64,
    visible: I64,
    lengths: I64,
    scales: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    row_ts: I64,
    row_ring: F64,
    row_head: I64,
    row_tails: I64,
    row_totals: F64,
    out: F64,
) -> int:
    mask, row_mask, hour = len(ring_ts) - 1, len(row_ts) - 1, lengths[1]
    shown = np.full(len(lengths), -1)
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            if enter(trade_ts[j], lengths, ring_ts, ring, head, tails, totals) < 0:
                return i
            add(totals, 0, amount[j])
            add(totals, 1, notional[j])
            done[0] += 1
        if enter(ts[i], scales, row_ts, row_ring, row_head, row_tails, row_totals) < 0:
            return i
        add(row_totals, 0, log_return[i] * log_return[i])
        room(ts[i], lengths, ring_ts, head, tails)
        for k in range(2):
            rv = max(0.0, window_sum(row_totals, row_ring, row_tails[k] & row_mask, 0))
            traded = 0.0 if tails[k] == head[0] else window_sum(totals, ring, tails[k] & mask, 1)
            known = rv > 0.0 and traded > 0.0
            out[k, i] = math.sqrt(rv) * traded if known else math.nan
            out[2 + k, i] = (rv / traded) ** (1.0 / 3.0) if known else math.nan
        # Without another trade in the hour or the window, the ratio is that of a row ago.
        is_new = shown[0] != head[0] or shown[1] != tails[1]
        whole = 0.0 if tails[1] == head[0] else window_sum(totals, ring, tails[1] & mask, 0)
        for k in range(2, len(lengths)):
            if is_new or shown[k] != tails[k]:
                part = 0.0 if tails[k] == head[0] else window_sum(totals, ring, tails[k] & mask, 0)
                out[2 + k, i] = ratio(part, whole * (lengths[k] / hour))
            else:
                out[2 + k, i] = out[2 + k, i - 1]
            shown[k] = tails[k]
        shown[0], shown[1] = head[0], tails[1]
    return len(ts)
