"""Tickers over time windows: open interest, basis, returns of the book's mid, share of volume (section 10)."""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I8, I64, INT, NULL_INT8, Arrays, Block, Family, Field, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.pairs import add_product, variance, window_pair
from daedalus.etl.features.streaming import add, enter, ratio, room, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.tickers import PLACE
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

_LONG = (300, 3600)
_VOLUME = (60, 3600)
_DAY_S = 86_400.0


def ticker_returns(config: FeatureConfig) -> Family | None:
    """Declare the return of the book's mid up to a ticker; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    doc = "ln(mid of the book before / mid as of the window's start); null if that is older than the staleness limit"
    columns = tuple(Column(f"ret_{w}s", "float64", "", f"{doc}; last {w} s") for w in _LONG)
    fields = (
        # Of every book with a mid: its time, and the last mid before it with its time. Time 0: none yet.
        Field("ring_ts", INT, (), "ring"),
        Field("ring_mid", FLOAT, (), "ring"),
        Field("ring_mid_ts", INT, (), "ring"),
        Field("head", INT, (1,)),
        Field("tails", INT, (len(_LONG),)),
        Field("known_mid", FLOAT, (1,)),
        Field("known_ts", INT, (1,)),
    )
    lengths, stale_ns = window_lengths_ns(_LONG), config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        mids, done = (frame.quotes.bid + frame.quotes.ask) / 2.0, np.zeros(1, np.int64)
        quotes = (frame.quotes.ts, mids, frame.quotes_visible)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _returns(start, done, frame.ts, frame.floats("mid"), *quotes, lengths, stale_ns, *arrays, out.f64)

        drive("ticker_returns", state, fields, frame.rows, walk)

    params = {"staleness_ns": stale_ns}
    return Family("ticker_returns", 1, "returns of mid at tickers", columns, run, ("mid",), fields, params)


@kernel
def _returns(
    start: int,
    done: I64,
    ts: I64,
    mid: F64,
    quote_ts: I64,
    quote_mid: F64,
    visible: I64,
    lengths: I64,
    stale_ns: int,
    ring_ts: I64,
    ring_mid: F64,
    ring_mid_ts: I64,
    head: I64,
    tails: I64,
    known_mid: F64,
    known_ts: I64,
    out: F64,
) -> int:
    mask = len(ring_ts) - 1
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            if not math.isnan(quote_mid[j]):
                if not room(quote_ts[j], lengths, ring_ts, head, tails):
                    return i
                slot = head[0] & mask
                ring_ts[slot], ring_mid[slot], ring_mid_ts[slot] = quote_ts[j], known_mid[0], known_ts[0]
                head[0] += 1
                known_mid[0], known_ts[0] = quote_mid[j], quote_ts[j]
            done[0] += 1
        room(ts[i], lengths, ring_ts, head, tails)
        for w in range(len(lengths)):
            before, before_ts = known_mid[0], known_ts[0]
            if tails[w] < head[0]:
                before, before_ts = ring_mid[tails[w] & mask], ring_mid_ts[tails[w] & mask]
            alive = before_ts != 0 and ts[i] - lengths[w] - before_ts <= stale_ns
            out[w, i] = math.log(mid[i] / before) if alive else math.nan
    return len(ts)


def ticker_interest(config: FeatureConfig) -> Family | None:
    """Declare changes of open interest and scores of the basis; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    windows = (*config.horizons, *_LONG)
    fields = (
        *window_fields(len(windows), 3),  # summed: basis, its square, whether it is known
        # The last known open interest and its time: before each row in the ring, and now. Time 0: none yet.
        Field("ring_oi", FLOAT, (), "ring"),
        Field("ring_oi_ts", INT, (), "ring"),
        Field("known_oi", FLOAT, (1,)),
        Field("known_ts", INT, (1,)),
    )
    lengths, stale_ns = window_lengths_ns(windows), config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        interest = np.ascontiguousarray(frame.ticker.values[:, PLACE["open_interest"]])
        returns, basis = np.stack([frame.floats(f"ret_{w}s") for w in _LONG]), frame.floats("basis_bps")

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            given = (frame.ts, interest, basis, returns)
            return _interest(start, *given, lengths, stale_ns, *arrays, out.f64, out.i8)

        drive("ticker_interest", state, fields, frame.rows, walk)

    doc, params = "open interest and basis over time windows", {"staleness_ns": stale_ns}
    needs, core = ("basis_bps", "ret_300s", "ret_3600s"), ("*",)
    return Family("ticker_interest", 1, doc, _interest_columns(config), run, needs, fields, params, core)


def _interest_columns(config: FeatureConfig) -> tuple[Column, ...]:
    templates = (
        ("oi_change_", "base", "open interest less that as of the window's start (W7)"),
        ("oi_change_pct_", "", "oi_change over open interest as of the window's start"),
    )
    quadrant = "2 sign(oi_change) + sign(ret)"
    return (
        *(Column(f"{n}{w}s", "float64", u, f"{doc}; last {w} s") for n, u, doc in templates for w in config.horizons),
        *(Column(f"basis_z_{w}s", "float64", "", f"basis_bps against the rows before, last {w} s") for w in _LONG),
        *(Column(f"oi_price_quadrant_{w}s", "int8", "code", f"{quadrant}, -3 to 3; last {w} s") for w in _LONG),
    )


@kernel
def _interest(
    start: int,
    ts: I64,
    interest: F64,
    basis: F64,
    returns: F64,
    lengths: I64,
    stale_ns: int,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    ring_oi: F64,
    ring_oi_ts: I64,
    known_oi: F64,
    known_ts: I64,
    out: F64,
    codes: I8,
) -> int:
    scores = len(returns)
    horizons, mask = len(lengths) - scores, len(ring_ts) - 1
    for i in range(start, len(ts)):
        slot = enter(ts[i], lengths, ring_ts, ring, head, tails, totals)
        if slot < 0:
            return i
        ring_oi[slot], ring_oi_ts[slot] = known_oi[0], known_ts[0]
        if not math.isnan(interest[i]):
            known_oi[0], known_ts[0] = interest[i], ts[i]
        for w in range(len(lengths)):
            oldest = tails[w] & mask
            alive = ring_oi_ts[oldest] != 0 and ts[i] - lengths[w] - ring_oi_ts[oldest] <= stale_ns
            before = ring_oi[oldest] if alive else math.nan
            change, k = interest[i] - before, w - horizons
            if k < 0:
                out[w, i], out[horizons + w, i] = change, ratio(change, before)
            else:
                out[2 * horizons + k, i] = _score(basis[i], ring, totals, oldest)
                codes[k, i] = _quadrant(change, returns[k, i])
        add(totals, 0, basis[i])
        add_product(totals, 1, basis[i], basis[i])
        add(totals, 2, float(int(not math.isnan(basis[i]))))
    return len(ts)


@kernel
def _score(x: float, ring: F64, totals: F64, slot: int) -> float:
    """Return the z-score of x among the rows of a window, of which x is none yet."""
    n, (total, total_low) = window_sum(totals, ring, slot, 2), window_pair(totals, ring, slot, 0)
    squares, squares_low = window_pair(totals, ring, slot, 1)
    var = variance(n, squares, squares_low, total, total_low, totals[0, 1])
    return ratio(x - ratio(total + total_low, n), math.sqrt(var))


@kernel
def _quadrant(change: float, moved: float) -> int:
    if math.isnan(change) or math.isnan(moved):
        return NULL_INT8
    return 2 * (int(change > 0.0) - int(change < 0.0)) + int(moved > 0.0) - int(moved < 0.0)


def ticker_volume(config: FeatureConfig) -> Family | None:
    """Declare the share of the day's turnover; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    doc = "turnover of trades over what the published 24 h turnover gives for that time"
    columns = tuple(Column(f"volume_24h_share_{w}s", "float64", "", f"{doc}; last {w} s") for w in _VOLUME)
    fields, lengths = window_fields(len(_VOLUME), 1), window_lengths_ns(_VOLUME)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        turnover = np.ascontiguousarray(frame.ticker.values[:, PLACE["quote_volume"]])
        trades = (frame.trades.ts, frame.trades.price, frame.trades.amount, frame.visible)
        done = np.zeros(1, np.int64)

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            return _volume(start, done, frame.ts, turnover, *trades, lengths, *arrays, out.f64)

        drive("ticker_volume", state, fields, frame.rows, walk)

    return Family("ticker_volume", 1, "trades against the day's volume", columns, run, fields=fields, core=("*",))


@kernel
def _volume(
    start: int,
    done: I64,
    ts: I64,
    turnover: F64,
    trade_ts: I64,
    price: F64,
    amount: F64,
    visible: I64,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    out: F64,
) -> int:
    mask = len(ring_ts) - 1
    for i in range(start, len(ts)):
        while done[0] < visible[i]:
            j = done[0]
            if enter(trade_ts[j], lengths, ring_ts, ring, head, tails, totals) < 0:
                return i
            add(totals, 0, price[j] * amount[j])
            done[0] += 1
        room(ts[i], lengths, ring_ts, head, tails)
        for w in range(len(lengths)):
            inside = window_sum(totals, ring, tails[w] & mask, 0) if tails[w] < head[0] else 0.0
            out[w, i] = ratio(inside, turnover[i] * (lengths[w] / 1e9) / _DAY_S)
    return len(ts)
