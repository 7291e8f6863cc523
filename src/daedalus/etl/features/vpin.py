"""VPIN with true sides (feature catalogue, section 8; Easley, Lopez de Prado and O'Hara 2012).

Trades fill buckets of exactly V, a trade that does not fit is split. A bucket keeps the V that it was opened with. With
V "auto" a bucket opens with a fiftieth of the volume of the UTC day before, and not at all after a day without any.
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
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio
from daedalus.shared.schemas import Column

BUCKETS_PER_DAY = 50
#: Twice what one trade is worked through, at most; more than the largest window.
BUCKETS_PER_TRADE_MAX = 200_000
_DAY_NS = 86_400_000_000_000
_COLUMNS = (
    Column(
        "vpin", "float64", "", "mean of |buys - sells| / V over the last closed buckets; null until there are enough"
    ),
    Column("vpin_bucket_fill", "float64", "", "filled share of the open bucket"),
    Column(
        "vpin_bucket_dur_s", "float64", "s", "from the first trade in the last closed bucket to the one that closed it"
    ),
)


def vpin(config: FeatureConfig) -> Family | None:
    """Declare the family; None when it or stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful and config.enable_vpin):
        return None
    volume = config.vpin_bucket_volume
    fixed = 0.0 if isinstance(volume, str) else volume
    fields = (
        Field("imbalances", FLOAT, (config.vpin_window_buckets,)),
        record(
            "open",
            size=FLOAT,
            fill=FLOAT,
            signed=FLOAT,
            started=INT,
            closed=INT,
            took_ns=INT,
            vpin=FLOAT,
            ts=INT,
            day=INT,
            day_volume=FLOAT,
            next_size=FLOAT,
        ),
    )

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = frame.trades
        inputs = (frame.ts, trades.ts, trades.amount, trades.side, frame.visible, fixed)
        frame.call(_vpin, *inputs, state["imbalances"], state["open"], out.f64)

    params = {"vpin_bucket_volume": volume}
    return Family(
        "vpin", 1, "volume-synchronised toxicity", _COLUMNS, run, (), fields, params, ("vpin",), ("*",), replays=True
    )


@kernel
def _vpin(
    ts: I64,
    trade_ts: I64,
    amount: F64,
    side: I8,
    visible: I64,
    fixed: float,
    imbalances: F64,
    state: AnyArray,
    out: F64,
) -> None:
    bucket = state[0]
    done = 0
    for i in range(len(ts)):
        closed = bucket.closed
        while done < visible[i]:
            _choose_size(trade_ts[done], amount[done], fixed, bucket)
            _fill(trade_ts[done], amount[done], side[done], imbalances, bucket)
            done += 1
        _choose_size(ts[i], 0.0, fixed, bucket)
        if bucket.closed > closed and bucket.closed >= len(imbalances):
            bucket.vpin = imbalances.mean()
        out[0, i] = bucket.vpin if bucket.closed >= len(imbalances) else math.nan
        size = bucket.size if bucket.size > 0.0 else bucket.next_size
        out[1, i] = ratio(bucket.fill, size)
        out[2, i] = bucket.took_ns / 1e9 if bucket.closed > 0 else math.nan


@kernel
def _choose_size(now: int, amount: float, fixed: float, bucket: Record) -> None:
    """Set what the next bucket opens with; with "auto" (`fixed` 0) count the day's volume."""
    if fixed > 0.0:
        bucket.next_size = fixed
        return
    day = now // _DAY_NS
    if day > bucket.day:
        bucket.next_size = bucket.day_volume / BUCKETS_PER_DAY if day == bucket.day + 1 else 0.0
        bucket.day, bucket.day_volume = day, 0.0
    bucket.day_volume += amount


@kernel
def _fill(now: int, amount: float, side: int, imbalances: F64, bucket: Record) -> None:
    """Let one trade fill buckets. An unknown side counts half and half, so nothing in the imbalance."""
    left = amount
    while left > 0.0:
        if bucket.fill == 0.0:
            bucket.size, bucket.started, bucket.signed = bucket.next_size, now, 0.0
            if bucket.size == 0.0:
                return
            # Of a trade that fills the window many times over, only the last buckets can ever be seen.
            most = BUCKETS_PER_TRADE_MAX * bucket.size
            if left > most:
                left = most / 2.0 + left % bucket.size
        room = bucket.size - bucket.fill
        if left < room:
            bucket.fill += left
            bucket.signed += side * left
            return
        bucket.signed += side * room
        left -= room
        _close(now, imbalances, bucket)


@kernel
def _close(now: int, imbalances: F64, bucket: Record) -> None:
    imbalances[bucket.closed % len(imbalances)] = abs(bucket.signed) / bucket.size
    bucket.closed += 1
    bucket.took_ns = now - bucket.started
    bucket.fill = bucket.size = 0.0
