"""Price impact over time bars (feature catalogue, section 8): Kyle's lambda and its kin by regression, Amihud's ratio.

Bars are [k * d, (k + 1) * d) on the epoch. A bar closes with the first event, trade or book row, at or after its
end; a trade that becomes visible after its bar has closed counts in the open one. The close of a bar is the last known
mid (W7); a bar without trades is an observation with x = 0; the change of the first bar, and of a bar with a reset, is
null. Columns change when a bar closes and are held between. Signs of trades are the resolved ones of `trade_rows`.
"""

import math
from typing import NamedTuple

import numpy as np

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
from daedalus.etl.features.streaming import least_squares, ratio
from daedalus.etl.features.trade_rows import PLACE
from daedalus.shared.schemas import Column

_AMIHUD_BARS = 60


class _Fit(NamedTuple):
    """One measure: y is the change of mid, or 1e4 times that of its log; x is the bar's sum of `x`."""

    name: str
    unit: str
    bar_s: int
    bars: int
    x: str
    in_bps: bool
    is_mean_ratio: bool = False

    @property
    def outputs(self) -> int:
        return 1 if self.is_mean_ratio else 3


def kyle(config: FeatureConfig) -> Family | None:
    """Declare Kyle's lambda over 5 s bars; None when stateful features are switched off."""
    short = config.kyle_lambda_window // KYLE_BAR_SECONDS
    fits = (_Fit("kyle_lambda", "quote/base", KYLE_BAR_SECONDS, short, "signed_size", False),)
    return _declare(config, "kyle", 2, "Kyle's lambda (Kyle 1985)", fits, core=("*",))


def impact(config: FeatureConfig) -> Family | None:
    """Declare the other regressions; None when stateful features are switched off."""
    short = config.kyle_lambda_window // KYLE_BAR_SECONDS
    fits = (
        _Fit("kyle_lambda_60s", "quote/base", 60, 60, "signed_size", False),
        _Fit("kyle_lambda_bps", "bps/1e6 quote", KYLE_BAR_SECONDS, short, "signed_notional", True),
        _Fit("kyle_lambda_bps_60s", "bps/1e6 quote", 60, 60, "signed_notional", True),
        _Fit("hasbrouck_lambda", "bps/sqrt(quote)", 60, 60, "signed_root", True),
        _Fit("ofi_lambda", "quote/base", 10, 180, "ofi", False),
    )
    return _declare(config, "impact", 2, "price impact over bars", fits)


def amihud(config: FeatureConfig) -> Family | None:
    """Declare Amihud's ratio; None when stateful features are switched off."""
    fits = (_Fit(f"amihud_{_AMIHUD_BARS}", "1/1e6 quote", 60, _AMIHUD_BARS, "notional", True, is_mean_ratio=True),)
    return _declare(config, "amihud", 1, "illiquidity (Amihud 2002)", fits, standard=("*",))


def _declare(
    config: FeatureConfig,
    name: str,
    version: int,
    doc: str,
    fits: tuple[_Fit, ...],
    core: tuple[str, ...] = (),
    standard: tuple[str, ...] = (),
) -> Family | None:
    if not (config.compute_features and config.enable_stateful):
        return None
    columns = tuple(column for fit in fits for column in _columns(fit))
    fields = tuple(field for fit in fits for field in _fields(fit))
    stale_ns = config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        market = (frame.ts, frame.reset, frame.floats("mid"), frame.trades.ts, frame.visible)
        first = 0
        for fit in fits:
            arrays = [state[field.name] for field in _fields(fit)]
            given = (fit.in_bps, fit.is_mean_ratio, fit.bar_s * 1_000_000_000, stale_ns)
            own = (*arrays, out.f64[first : first + fit.outputs])
            frame.call(_impact, *market, *_inputs(frame, fit.x), *given, *own)
            first += fit.outputs

    params = {"fits": [list(fit) for fit in fits], "staleness_ns": stale_ns}
    flows = ("ofi",) if any(fit.x == "ofi" for fit in fits) else ()
    needs = ("mid", *flows, "trade_rows")
    return Family(name, version, doc, columns, run, needs, fields, params, core, standard, replays=True)


def _columns(fit: _Fit) -> tuple[Column, ...]:
    where = f"{fit.bar_s} s bars, last {fit.bars}"
    if fit.is_mean_ratio:
        doc = f"mean of |log return of mid| / notional where that is above 0; {where} (Amihud 2002)"
        return (Column(fit.name, "float64", fit.unit, doc),)
    parts = (("", fit.unit, "slope"), ("_r2", "", "R2"), ("_t", "", "t of the slope"))
    what = f"of the change of mid{', bps,' if fit.in_bps else ''} on {fit.x}; {where}"
    return tuple(Column(f"{fit.name}{part}", "float64", unit, f"{doc} {what}") for part, unit, doc in parts)


def _fields(fit: _Fit) -> tuple[Field, ...]:
    return (
        Field(f"{fit.name}_x", FLOAT, (fit.bars,)),
        Field(f"{fit.name}_y", FLOAT, (fit.bars,)),
        Field(f"{fit.name}_fit", FLOAT, (3,)),
        record(f"{fit.name}_open", seen=INT, bar=INT, closed=INT, mid=FLOAT, mid_ts=INT, close=FLOAT, x=FLOAT),
    )


def _inputs(frame: Frame, x: str) -> tuple[F64, F64]:
    """Return what each trade, and what each row, adds to x; the other of the two is empty."""
    none = np.empty(0)
    if x == "ofi":
        return none, frame.floats("ofi")
    if x == "signed_root":
        return frame.deals[PLACE["side"]] * np.sqrt(frame.deals[PLACE["notional"]]), none
    trades: F64 = frame.deals[PLACE[x]]
    return (trades / 1e6 if x == "signed_notional" else trades), none


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
    is_mean_ratio: bool,
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
            if len(trade_x) > 0:
                bar.x += trade_x[done]
            done += 1
        fresh |= _close_until(ts[i], in_bps, bar_ns, stale_ns, x, y, bar)
        if fresh and is_mean_ratio:
            # y is in bps, the ratio per 1e6 quote.
            fit[0] = 100.0 * _mean_ratio(x, y, min(bar.closed, len(x)))
        elif fresh:
            least_squares(x, y, min(bar.closed, len(x)), fit)
        if reset[i]:
            bar.mid = bar.close = 0.0
        if len(row_x) > 0 and not math.isnan(row_x[i]):
            bar.x += row_x[i]
        if not math.isnan(mid[i]):
            bar.mid, bar.mid_ts = mid[i], ts[i]
        for c in range(len(out)):
            out[c, i] = fit[c] if bar.closed > 0 else math.nan


@kernel
def _close_until(now: int, in_bps: bool, bar_ns: int, stale_ns: int, x: F64, y: F64, bar: Record) -> bool:
    """Close every bar that ends at or before `now`; return whether there was one. A mid of 0 means: none."""
    if bar.seen == 0:
        bar.seen, bar.bar = 1, now // bar_ns
    if now < (bar.bar + 1) * bar_ns:
        return False
    current = now // bar_ns
    ended = current - bar.bar
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


@kernel
def _mean_ratio(x: F64, y: F64, count: int) -> float:
    """Return the mean of |y| / x over the first `count` pairs with x above 0 and a known y; of none: NaN."""
    total, n = 0.0, 0
    for k in range(count):
        if x[k] > 0.0 and not math.isnan(y[k]):
            total += abs(y[k]) / x[k]
            n += 1
    return ratio(total, float(n))
