"""Kyle's lambda: what a unit of signed volume moves the mid by, over time bars (feature catalogue, section 8).

Bars are [k * 5 s, (k + 1) * 5 s) on the epoch. A bar closes with the first event, trade or book row, at or after its
end; a trade that becomes visible after its bar has closed counts in the open one. The close of a bar is the last known
mid (W7); a bar without trades is an observation with x = 0; the change of the first bar, and of a bar with a reset, is
null.
"""

import math

from daedalus.etl.features.base import (
    F64,
    FLOAT,
    I8,
    I64,
    INT,
    AnyArray,
    Arrays,
    Block,
    Family,
    Field,
    Frame,
    Record,
    record,
)
from daedalus.etl.features.config import KYLE_BAR_SECONDS, FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import least_squares
from daedalus.shared.schemas import Column

_COLUMNS = (
    Column(
        "kyle_lambda", "float64", "quote/base", "slope of the change of mid on signed volume over 5 s bars (Kyle 1985)"
    ),
    Column("kyle_lambda_r2", "float64", "", "R2 of that regression"),
    Column("kyle_lambda_t", "float64", "", "t of the slope, homoskedastic"),
)


def kyle(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    bars = config.kyle_lambda_window // KYLE_BAR_SECONDS
    bar_ns, stale_ns = KYLE_BAR_SECONDS * 1_000_000_000, config.staleness_ns
    fields = (
        Field("x", FLOAT, (bars,)),
        Field("y", FLOAT, (bars,)),
        Field("fit", FLOAT, (3,)),
        record("open", seen=INT, bar=INT, closed=INT, mid=FLOAT, mid_ts=INT, close=FLOAT, volume=FLOAT),
    )

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.amount, frame.trades.side, frame.visible)
        arrays = [state[field.name] for field in fields]
        frame.call(_kyle, frame.ts, frame.reset, frame.floats("mid"), *trades, bar_ns, stale_ns, *arrays, out.f64)

    params = {"bar_ns": bar_ns, "staleness_ns": stale_ns}
    return Family("kyle", 1, "Kyle's lambda", _COLUMNS, run, ("mid",), fields, params, ("*",), replays=True)


@kernel
def _kyle(
    ts: I64,
    reset: I8,
    mid: F64,
    trade_ts: I64,
    amount: F64,
    side: I8,
    visible: I64,
    bar_ns: int,
    stale_ns: int,
    x: F64,
    y: F64,
    fit: F64,
    state: AnyArray,
    out: F64,
) -> None:
    bar = state[0]
    done = 0
    for i in range(len(ts)):
        fresh = False
        while done < visible[i]:
            fresh |= _close_until(trade_ts[done], bar_ns, stale_ns, x, y, bar)
            bar.volume += side[done] * amount[done]
            done += 1
        fresh |= _close_until(ts[i], bar_ns, stale_ns, x, y, bar)
        if fresh:
            least_squares(x, y, min(bar.closed, len(x)), fit)
        if reset[i]:
            bar.mid = bar.close = 0.0
        if not math.isnan(mid[i]):
            bar.mid, bar.mid_ts = mid[i], ts[i]
        for c in range(3):
            out[c, i] = fit[c] if bar.closed > 0 else math.nan


@kernel
def _close_until(now: int, bar_ns: int, stale_ns: int, x: F64, y: F64, bar: Record) -> bool:
    """Close every bar that ends at or before `now`; return whether there was one. A mid of 0 means: none."""
    current = now // bar_ns
    if bar.seen == 0:
        bar.seen, bar.bar = 1, current
    ended = current - bar.bar
    if ended <= 0:
        return False
    # Once mid is stale and x and y hold nothing else, further empty bars change nothing.
    for k in range(min(ended, stale_ns // bar_ns + len(x) + 2)):
        end = (bar.bar + k + 1) * bar_ns
        close = bar.mid if bar.mid > 0.0 and end - bar.mid_ts <= stale_ns else 0.0
        slot = bar.closed % len(x)
        x[slot] = bar.volume
        y[slot] = close - bar.close if close > 0.0 and bar.close > 0.0 else math.nan
        bar.close, bar.volume = close, 0.0
        bar.closed += 1
    bar.bar = current
    return True
