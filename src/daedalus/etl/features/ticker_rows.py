"""Tickers: what one row says, funding, and the last ticker beside a book (feature catalogue, section 10).

What the venue's own fields say of a derivative is read in `derivatives`; it is null for spot.
"""

import math

import numpy as np

from daedalus.etl.features.base import (
    F64,
    FLOAT,
    I64,
    INT,
    NULL_INT,
    AnyArray,
    Arrays,
    Block,
    Family,
    Field,
    Frame,
    record,
)
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio
from daedalus.etl.features.tickers import PLACE
from daedalus.shared.schemas import Column

FUNDING_PRINTS = 90
_HOURS_PER_YEAR = 365.25 * 24.0

#: Column, its place among `tickers.FIELDS`, unit, doc.
_PASSED = (
    ("last_price", "last", "quote", "price of the last trade, as published"),
    ("mark_price", "mark_price", "quote", "the venue's mark price"),
    ("index_price", "index_price", "quote", "the venue's index of the underlying"),
    ("open_interest", "open_interest", "base", "open interest, as the venue counts it"),
    ("funding_rate", "funding_rate", "", "rate of the current funding interval"),
    ("volume_24h", "base_volume", "base", "volume of 24 h, as published"),
    ("high_24h", "high", "quote", "highest price of 24 h"),
    ("low_24h", "low", "quote", "lowest price of 24 h"),
)
_DERIVED = (
    Column("basis_bps", "float64", "bps", "mark price against index"),
    Column("premium_bps", "float64", "bps", "mid of the book before against index"),
    Column("last_vs_mid_bps", "float64", "bps", "last price against mid of the book before"),
    Column("pos_in_24h_range", "float64", "", "(last - low) / (high - low) of 24 h; null when they are equal"),
)


def ticker_rows(config: FeatureConfig) -> Family | None:
    """Declare the family; None when features are switched off."""
    if not config.compute_features:
        return None
    passed = tuple(Column(name, "float64", unit, doc) for name, _, unit, doc in _PASSED)
    return Family("ticker_rows", 1, "what a ticker says", (*passed, *_DERIVED), _run, ("mid",), core=("*",))


def _run(frame: Frame, state: Arrays, out: Block) -> None:
    given, rows, mid = frame.ticker.values, frame.rows, frame.floats("mid")
    for row, (_, name, _, _) in enumerate(_PASSED):
        out.f64[row, :rows] = given[:, PLACE[name]]
    last, mark, index, high, low = (
        given[:, PLACE[name]] for name in ("last", "mark_price", "index_price", "high", "low")
    )
    with np.errstate(all="ignore"):
        out.f64[8, :rows] = (mark - index) / index * 1e4
        out.f64[9, :rows] = (mid - index) / index * 1e4
        out.f64[10, :rows] = (last - mid) / mid * 1e4
        out.f64[11, :rows] = (last - low) / (high - low)
    derived = out.f64[8:12, :rows]
    derived[~np.isfinite(derived)] = math.nan


def funding(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    columns = (
        Column("funding_annualised", "float64", "", "funding_rate times the funding intervals of a year"),
        Column("time_to_funding_s", "float64", "s", "time until the next funding; 0 when it is past"),
        Column(
            "funding_z",
            "float64",
            "",
            f"funding_rate against the {FUNDING_PRINTS} prints before: a print is a new rate or a new funding time",
        ),
    )
    fields = (
        Field("prints", FLOAT, (FUNDING_PRINTS,)),
        record("last", printed=INT, rate=FLOAT, next_ts=INT, z=FLOAT),
    )

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        rate, hours = (frame.ticker.values[:, PLACE[name]] for name in ("funding_rate", "funding_interval_h"))
        following, rows = frame.ticker.next_funding_ts, frame.rows
        with np.errstate(all="ignore"):
            out.f64[0, :rows] = rate * (_HOURS_PER_YEAR / hours)
            left = np.maximum(following - frame.ts, 0) / 1e9
        out.f64[1, :rows] = np.where(following == NULL_INT, math.nan, left)
        _funding_z(np.ascontiguousarray(rate), following, state["prints"], state["last"], out.f64[2])

    return Family("funding", 1, "funding of perpetuals", columns, run, fields=fields, core=("*",))


@kernel
def _funding_z(rate: F64, following: I64, prints: F64, state: AnyArray, out: F64) -> None:
    """Compare every rate with the prints before its own; `printed` counts the prints so far."""
    last = state[0]
    for i in range(len(rate)):
        out[i] = math.nan
        if math.isnan(rate[i]):
            continue
        is_new_time = following[i] != NULL_INT and following[i] != last.next_ts
        if last.printed == 0 or rate[i] != last.rate or is_new_time:
            if last.printed > 0:
                prints[(last.printed - 1) % len(prints)] = last.rate
            last.z = _standard_score(rate[i], prints, min(last.printed, len(prints)))
            last.printed += 1
            last.rate = rate[i]
        if following[i] != NULL_INT:
            last.next_ts = following[i]
        out[i] = last.z


@kernel
def _standard_score(x: float, values: F64, count: int) -> float:
    """Return (x - mean) / deviation of the first `count` values, centred on one of them; null without variation."""
    if count < 2:
        return math.nan
    shift = squares = 0.0
    for k in range(count):
        shift += (values[k] - values[0]) / count
    for k in range(count):
        squares += ((values[k] - values[0]) - shift) ** 2
    return ratio((x - values[0]) - shift, math.sqrt(squares / (count - 1)))


def ticker_quote(config: FeatureConfig) -> Family | None:
    """Declare the columns that a book row has of the last ticker; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    columns = (
        Column("ticker_age_s", "float64", "s", "time since the last ticker; null before the first"),
        Column(
            "quoted_bid_ask_vs_book_bps",
            "float64",
            "bps",
            "mid of the last ticker's bid and ask against mid; null when older than the staleness limit (W7)",
        ),
    )
    fields = (record("last", seen=INT, ts=INT, quoted=INT, mid_ts=INT, mid=FLOAT),)
    stale_ns = config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        tickers = (frame.tickers.ts, frame.tickers.mid, frame.tickers_visible)
        _beside_books(frame.ts, frame.floats("mid"), *tickers, stale_ns, state["last"], out.f64)

    params = {"staleness_ns": stale_ns}
    return Family("ticker_quote", 1, "the ticker beside the book", columns, run, ("mid",), fields, params)


@kernel
def _beside_books(
    ts: I64, mid: F64, ticker_ts: I64, ticker_mid: F64, visible: I64, stale_ns: int, state: AnyArray, out: F64
) -> None:
    last, done = state[0], 0
    for i in range(len(ts)):
        while done < visible[i]:
            last.seen, last.ts = 1, ticker_ts[done]
            if not math.isnan(ticker_mid[done]):
                last.quoted, last.mid_ts, last.mid = 1, ticker_ts[done], ticker_mid[done]
            done += 1
        out[0, i] = (ts[i] - last.ts) / 1e9 if last.seen == 1 else math.nan
        alive = last.quoted == 1 and ts[i] - last.mid_ts <= stale_ns
        out[1, i] = (last.mid - mid[i]) / mid[i] * 1e4 if alive else math.nan
