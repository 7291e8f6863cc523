"""Price impact by regressions over time bars (feature catalogue, section 8): Kyle in bps and by minute, Hasbrouck, OFI.

Bars and their rules are those of `kyle`; signs of trades are the resolved ones of `trade_rows`.
"""

import math
from typing import NamedTuple

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I8, I64, INT, AnyArray, Arrays, Block, Family, Field, Frame, record
from daedalus.etl.features.base import Record as Bar
from daedalus.etl.features.config import KYLE_BAR_SECONDS, FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import least_squares
from daedalus.etl.features.trade_rows import PLACE
from daedalus.shared.schemas import Column


class _Fit(NamedTuple):
    """One regression: y is the change of mid, or 1e4 times its log; x is the bar's sum of `x`."""

    name: str
    unit: str
    bar_s: int
    bars: int
    x: str
    in_bps: bool


def _fits(config: FeatureConfig) -> tuple[_Fit, ...]:
    short = config.kyle_lambda_window // KYLE_BAR_SECONDS
    return (
        _Fit("kyle_lambda_60s", "quote/base", 60, 60, "signed_size", False),
        _Fit("kyle_lambda_bps", "bps/1e6 quote", KYLE_BAR_SECONDS, short, "signed_notional", True),
        _Fit("kyle_lambda_bps_60s", "bps/1e6 quote", 60, 60, "signed_notional", True),
        _Fit("hasbrouck_lambda", "bps/sqrt(quote)", 60, 60, "signed_root", True),
        _Fit("ofi_lambda", "quote/base", 10, 180, "ofi", False),
    )


def impact(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fits = _fits(config)
    columns = tuple(
        Column(
            f"{f.name}{part}", "float64", unit, f"{doc} of the change of mid on {f.x}; {f.bar_s} s bars, last {f.bars}"
        )
        for f in fits
        for part, unit, doc in (("", f.unit, "slope"), ("_r2", "", "R2"), ("_t", "", "t of the slope"))
    )
    fields = tuple(field for f in fits for field in _fields(f))
    stale_ns = config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades, rows = _inputs(frame)
        market = (frame.ts, frame.reset, frame.floats("mid"), frame.trades.ts, frame.visible)
        for k, f in enumerate(fits):
            arrays = [state[field.name] for field in _fields(f)]
            x = (trades.get(f.x, trades["none"]), rows if f.x == "ofi" else np.zeros(frame.rows))
            _impact(*market, *x, f.in_bps, f.bar_s * 1_000_000_000, stale_ns, *arrays, out.f64[3 * k : 3 * k + 3])

    params = {"fits": [list(f) for f in fits], "staleness_ns": stale_ns}
    needs = ("mid", "ofi", "trade_rows")
    return Family("impact", 1, "price impact over bars", columns, run, needs, fields, params)


def _fields(fit: _Fit) -> tuple[Field, ...]:
    return (
        Field(f"{fit.name}_x", FLOAT, (fit.bars,)),
        Field(f"{fit.name}_y", FLOAT, (fit.bars,)),
        Field(f"{fit.name}_fit", FLOAT, (3,)),
        record(f"{fit.name}_open", seen=INT, bar=INT, closed=INT, mid=FLOAT, mid_ts=INT, close=FLOAT, x=FLOAT),
    )


def _inputs(frame: Frame) -> tuple[dict[str, F64], F64]:
    """Return what a trade adds to x, by name, and what a row adds where x is the order flow."""
    side, notional = frame.deals[PLACE["side"]], frame.deals[PLACE["notional"]]
    trades = {
        "signed_size": frame.deals[PLACE["signed_size"]],
        "signed_notional": frame.deals[PLACE["signed_notional"]] / 1e6,
        "signed_root": side * np.sqrt(notional),
        "none": np.zeros(len(side)),
    }
    flow = frame.floats("ofi")
    return trades, np.where(np.isnan(flow), 0.0, flow)


@kernel
def _impact(
    ts: I64,
    reset: I8,
    mid: F64,
    trade_ts: I64,
    visible: I64,
    trade_x: F64,
    row_x: F64,
    in_bps: bool,
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
            fresh |= _close_until(trade_ts[done], in_bps, bar_ns, stale_ns, x, y, bar)
            bar.x += trade_x[done]
            done += 1
        fresh |= _close_until(ts[i], in_bps, bar_ns, stale_ns, x, y, bar)
        if fresh:
            least_squares(x, y, min(bar.closed, len(x)), fit)
        if reset[i]:
            bar.mid = bar.close = 0.0
        bar.x += row_x[i]
        if not math.isnan(mid[i]):
            bar.mid, bar.mid_ts = mid[i], ts[i]
        for c in range(3):
            out[c, i] = fit[c] if bar.closed > 0 else math.nan


@kernel
def _close_until(now: int, in_bps: bool, bar_ns: int, stale_ns: int, x: F64, y: F64, bar: Bar) -> bool:
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
        x[slot], y[slot] = bar.x, math.nan
        if close > 0.0 and bar.close > 0.0:
            y[slot] = 1e4 * math.log(close / bar.close) if in_bps else close - bar.close
        bar.close, bar.x = close, 0.0
        bar.closed += 1
    bar.bar = current
    return True
