"""Identity and quality of a row (feature catalogue, section 1)."""

import numpy as np

from daedalus.etl.features.base import (
    F64,
    FLOAT,
    I8,
    I64,
    INT,
    NULL_INT,
    AnyArray,
    Arrays,
    Block,
    Family,
    Frame,
    record,
)
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.shared.schemas import Column

COLUMNS = (
    Column("ts", "int64", "ns", "effective time: running maximum of event time (else receive time), UTC"),
    Column("seq", "int64", "", "the exchange's sequence number; null if it gives none"),
    Column("n_levels_bid", "int64", "count", "valid bid levels, at most max_levels"),
    Column("n_levels_ask", "int64", "count", "valid ask levels, at most max_levels"),
    Column("dt_s", "float64", "s", "time since the previous row, 0 for ties; null on a first row or reset"),
    Column(
        "book_age_s", "float64", "s", "time since a price or size at the touch changed; 0 on the row that changes it"
    ),
    Column("is_crossed", "int8", "0/1", "best bid above best ask"),
    Column("is_locked", "int8", "0/1", "best bid equal to best ask"),
    Column("is_one_sided", "int8", "0/1", "exactly one side is empty"),
    Column("is_empty", "int8", "0/1", "both sides are empty"),
    Column("is_reset", "int8", "0/1", "the previous state was discarded: first row, gap or staleness (S1, S2)"),
    Column("is_late", "int8", "0/1", "event time before the newest one seen (T2)"),
)
_CROSSED, _LOCKED, _ONE_SIDED, _EMPTY, _RESET, _LATE = range(6)


def identity(config: FeatureConfig) -> Family:
    """Declare the family. It is always there."""
    touch = record("touch", changed_at=INT, bid=FLOAT, bid_size=FLOAT, ask=FLOAT, ask_size=FLOAT)
    return Family(
        "identity", 1, "identity and quality of a row", COLUMNS, _run, fields=(touch,), core=("*",), replays=True
    )


def _run(frame: Frame, state: Arrays, out: Block) -> None:
    frame.call(
        _passed_on, frame.ts, frame.seq, frame.bid_levels, frame.ask_levels, frame.reset, frame.late, out.i64, out.i8
    )
    sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
    frame.call(_identity, frame.ts, frame.dt_ns, *sides, state["touch"], out.f64, out.i8)


@kernel
def _passed_on(ts: I64, seq: I64, bid_levels: I64, ask_levels: I64, reset: I8, late: I8, whole: I64, flags: I8) -> None:
    rows = len(ts)
    whole[0, :rows] = ts
    whole[1, :rows] = seq
    whole[2, :rows] = bid_levels
    whole[3, :rows] = ask_levels
    flags[_RESET, :rows] = reset
    flags[_LATE, :rows] = late


@kernel
def _identity(
    ts: I64, dt_ns: I64, bid: F64, bid_size: F64, ask: F64, ask_size: F64, state: AnyArray, out: F64, flags: I8
) -> None:
    touch = state[0]
    for i in range(len(ts)):
        b, qb, a, qa = bid[i, 0], bid_size[i, 0], ask[i, 0], ask_size[i, 0]
        reset = dt_ns[i] == NULL_INT
        same = _equal(b, touch.bid) and _equal(a, touch.ask) and qb == touch.bid_size and qa == touch.ask_size
        if reset or not same:
            touch.changed_at = ts[i]
            touch.bid, touch.bid_size, touch.ask, touch.ask_size = b, qb, a, qa
        out[0, i] = np.nan if reset else dt_ns[i] / 1e9
        out[1, i] = (ts[i] - touch.changed_at) / 1e9
        no_bid, no_ask = np.isnan(b), np.isnan(a)
        flags[_CROSSED, i] = b > a
        flags[_LOCKED, i] = b == a
        flags[_ONE_SIDED, i] = no_bid != no_ask
        flags[_EMPTY, i] = no_bid and no_ask


@kernel
def _equal(left: float, right: float) -> bool:
    """Compare prices; two missing ones are equal."""
    return left == right or (np.isnan(left) and np.isnan(right))
