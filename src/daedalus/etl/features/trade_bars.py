"""Spreads from the prices of 60 s trade bars (feature catalogue, section 8), updated at a bar's end, held between.

Bars are those of gold: [k * 60 s, (k + 1) * 60 s) on the epoch; one without trades repeats the close before it; a trade
that becomes visible after its bar has closed counts in the open one. Before the first trade there is none.
"""

import math

import numpy as np

from daedalus.etl.features.base import (
    F64,
    FLOAT,
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
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.roll import covariance
from daedalus.shared.schemas import Column

#: Seconds of a bar; the pairs of neighbouring bars, and the closes, that a measure looks back on.
BAR_SECONDS, PAIRS, CLOSES = 60, 60, 60
_BAR_NS = BAR_SECONDS * 1_000_000_000
_CLOSES_MIN = 4
_ROOTS = 3.0 - 2.0 * math.sqrt(2.0)
_COLUMNS = (
    Column(
        "roll_measure_abs",
        "float64",
        "quote",
        f"2 sqrt|cov| of neighbouring changes of the last {CLOSES} closes, 60 s trade bars (Easley et al. 2024)",
    ),
    Column(
        f"cs_spread_{BAR_SECONDS}s",
        "float64",
        "fraction",
        f"mean of the spreads by highs and lows, negative ones as 0, last {PAIRS} pairs of trade bars"
        " (Corwin and Schultz 2012)",
    ),
    Column(
        f"ar_spread_{BAR_SECONDS}s",
        "float64",
        "fraction",
        f"mean of the two-bar corrected spreads by close, high and low, last {PAIRS} pairs of trade bars"
        " (Abdi and Ranaldo 2017)",
    ),
)


def trade_bars(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fields = (
        Field("bars", FLOAT, (3, PAIRS + 1)),  # high, low, close
        Field("held", FLOAT, (len(_COLUMNS),)),
        record("open", seen=INT, bar=INT, closed=INT, traded=INT, high=FLOAT, low=FLOAT, close=FLOAT),
    )

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.price, frame.visible)
        frame.call(_trade_bars, frame.ts, *trades, *(state[field.name] for field in fields), out.f64)

    doc = "spreads from 60 s trade bars"
    return Family("trade_bars", 1, doc, _COLUMNS, run, (), fields, {}, (), ("*",), replays=True)


@kernel
def _trade_bars(
    ts: I64, trade_ts: I64, price: F64, visible: I64, bars: F64, held: F64, state: AnyArray, out: F64
) -> None:
    bar = state[0]
    done = 0
    for i in range(len(ts)):
        closed = bar.closed
        while done < visible[i]:
            _close_until(trade_ts[done], bars, bar)
            p = price[done]
            bar.high, bar.low = (max(bar.high, p), min(bar.low, p)) if bar.traded == 1 else (p, p)
            bar.traded, bar.close = 1, p
            done += 1
        _close_until(ts[i], bars, bar)
        if bar.closed > closed:
            _measure(bar.closed, bars, held)
        for c in range(len(held)):
            out[c, i] = held[c] if bar.closed > 0 else math.nan


@kernel
def _close_until(now: int, bars: F64, bar: Record) -> None:
    """Close every bar that ends at or before `now`."""
    if bar.seen == 0:
        bar.seen, bar.bar = 1, now // _BAR_NS
    if now < (bar.bar + 1) * _BAR_NS:
        return
    current = now // _BAR_NS
    # More empty bars than are looked back on change nothing.
    for _ in range(min(current - bar.bar, bars.shape[1] + 1)):
        if bar.traded == 0:
            bar.high = bar.low = bar.close
        if bar.close > 0.0:
            slot = bar.closed % bars.shape[1]
            bars[0, slot], bars[1, slot], bars[2, slot] = bar.high, bar.low, bar.close
            bar.closed += 1
        bar.traded = 0
    bar.bar = current


@kernel
def _measure(closed: int, bars: F64, held: F64) -> None:
    """Work out the columns from the last closed bars."""
    size = bars.shape[1]
    held[:] = math.nan
    if closed >= _CLOSES_MIN:
        changes, pairs = min(closed, CLOSES) - 1, np.empty((2, CLOSES))
        for k in range(changes - 1):
            middle = bars[2, (closed - 2 - k) % size]
            pairs[0, k] = bars[2, (closed - 1 - k) % size] - middle
            pairs[1, k] = middle - bars[2, (closed - 3 - k) % size]
        held[0] = 2.0 * math.sqrt(abs(covariance(pairs, changes - 1)))
    count = min(closed - 1, PAIRS)
    corwin = abdi = 0.0
    for k in range(count):
        newer, older = (closed - 1 - k) % size, (closed - 2 - k) % size
        corwin += max(0.0, corwin_schultz(bars[:, older], bars[:, newer]))
        abdi += abdi_ranaldo(bars[:, older], bars[:, newer])
    if count > 0:
        held[1], held[2] = corwin / count, abdi / count


@kernel
def corwin_schultz(older: F64, newer: F64) -> float:
    """Return the spread of two neighbouring bars, given as high, low and close, as a fraction; it may be negative."""
    beta = math.log(older[0] / older[1]) ** 2 + math.log(newer[0] / newer[1]) ** 2
    gamma = math.log(max(older[0], newer[0]) / min(older[1], newer[1])) ** 2
    alpha = (math.sqrt(2.0 * beta) - math.sqrt(beta)) / _ROOTS - math.sqrt(gamma / _ROOTS)
    # 2 (e^alpha - 1) / (1 + e^alpha)
    return 2.0 * math.tanh(alpha / 2.0)


@kernel
def abdi_ranaldo(older: F64, newer: F64) -> float:
    """Return the corrected spread of two neighbouring bars, given as high, low and close, as a fraction."""
    close = math.log(older[2])
    before = close - (math.log(older[0]) + math.log(older[1])) / 2.0
    after = close - (math.log(newer[0]) + math.log(newer[1])) / 2.0
    return 2.0 * math.sqrt(max(0.0, before * after))
