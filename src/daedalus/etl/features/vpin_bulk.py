"""VPIN by bulk volume classification (feature catalogue, section 8; Easley, Lopez de Prado and O'Hara 2012).

The share bought of a volume is Phi(dP / sigma), where dP is the change of the last price and sigma the unbiased
deviation of the last 50 changes, this one included; without a change, or with sigma unknown or 0, it is a half.
`vpin_bvc` classifies 60 s bars, against the bar with trades before, and lets them into the buckets when they end;
`vpin_bvc_bucket` classifies the buckets themselves. Bars are closed by the first event at or after their end; a trade
that becomes visible after its bar has closed counts in the open one.
"""

import math

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
from daedalus.etl.features.buckets import begin, bucket_fields, choose_size, close, fill, fixed_size, mean_imbalance
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio
from daedalus.shared.schemas import Column

CHANGES = 50
BAR_SECONDS = 60
WINDOWS = (300, 3600)
_BAR_NS = BAR_SECONDS * 1_000_000_000
_BARS = max(WINDOWS) // BAR_SECONDS
_SPANS = tuple(w // BAR_SECONDS for w in WINDOWS)


def vpin_bulk(config: FeatureConfig) -> Family | None:
    """Declare the family; None when VPIN or stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful and config.enable_vpin):
        return None
    columns = (
        Column(
            "vpin_bvc", "float64", "", "VPIN by bulk classification of 60 s bars; null until there are enough buckets"
        ),
        Column("vpin_bvc_bucket", "float64", "", "VPIN by bulk classification of the buckets themselves"),
        *(
            Column(
                f"bvc_imbalance_{w}s", "float64", "", f"volume bought - sold by bulk, over volume; bars ended in {w} s"
            )
            for w in WINDOWS
        ),
    )
    fixed, buckets = fixed_size(config), config.vpin_window_buckets
    # Prices: (known, last price, changes seen) and the last changes, of bars and of buckets.
    fields = (
        *bucket_fields("bar", buckets),
        Field("bar_price", FLOAT, (3,)),
        Field("bar_changes", FLOAT, (CHANGES,)),
        *bucket_fields("bucket", buckets),
        Field("bucket_price", FLOAT, (3,)),
        Field("bucket_changes", FLOAT, (CHANGES,)),
        Field("ended", FLOAT, (_BARS, 2)),  # volume, and volume bought - sold
        Field("held", FLOAT, (len(WINDOWS),)),
        record("open", seen=INT, bar=INT, close=FLOAT, volume=FLOAT),
    )

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.price, frame.trades.amount, frame.visible)
        frame.call(_vpin_bulk, frame.ts, *trades, fixed, *(state[field.name] for field in fields), out.f64)

    params = {"vpin_bucket_volume": config.vpin_bucket_volume}
    return Family(
        "vpin_bulk", 1, "toxicity by bulk volume classification", columns, run, (), fields, params, replays=True
    )


@kernel
def _vpin_bulk(
    ts: I64,
    trade_ts: I64,
    price: F64,
    amount: F64,
    visible: I64,
    fixed: float,
    bar_imbalances: F64,
    bar_total: F64,
    bar_state: AnyArray,
    bar_price: F64,
    bar_changes: F64,
    imbalances: F64,
    total: F64,
    state: AnyArray,
    bucket_price: F64,
    changes: F64,
    ended: F64,
    held: F64,
    open_state: AnyArray,
    out: F64,
) -> None:
    bar, bars, bucket = open_state[0], bar_state[0], state[0]
    most = len(imbalances) + CHANGES + 2
    done = 0
    for i in range(len(ts)):
        first = bar.bar if bar.seen == 1 else -1
        while done < visible[i]:
            now = trade_ts[done]
            _end_bars(now, fixed, bar, ended, bar_price, bar_changes, bar_imbalances, bar_total, bars)
            choose_size(now, amount[done], fixed, bars)
            bar.close = price[done]
            bar.volume += amount[done]
            choose_size(now, amount[done], fixed, bucket)
            left = begin(amount[done], most, bucket)
            while left > 0.0:
                left = fill(now, left, 0.0, bucket)
                if left >= 0.0:
                    close(abs(_tilt(price[done], bucket_price, changes)), imbalances, total, bucket)
            done += 1
        _end_bars(ts[i], fixed, bar, ended, bar_price, bar_changes, bar_imbalances, bar_total, bars)
        choose_size(ts[i], 0.0, fixed, bucket)
        if bar.bar != first:
            _imbalances(bar.bar, ended, held)
        out[0, i] = mean_imbalance(bar_imbalances, bar_total, bars)
        out[1, i] = mean_imbalance(imbalances, total, bucket)
        for v in range(len(held)):
            out[2 + v, i] = held[v]


@kernel
def _end_bars(
    now: int,
    fixed: float,
    bar: Record,
    ended: F64,
    price: F64,
    changes: F64,
    imbalances: F64,
    total: F64,
    bucket: Record,
) -> None:
    """End every bar that ends at or before `now`; the open one enters the buckets at its end."""
    if bar.seen == 0:
        bar.seen, bar.bar = 1, now // _BAR_NS
    if now < (bar.bar + 1) * _BAR_NS:
        return
    current, tilt = now // _BAR_NS, 0.0
    if bar.volume > 0.0:
        end = (bar.bar + 1) * _BAR_NS
        choose_size(end, 0.0, fixed, bucket)
        tilt = _tilt(bar.close, price, changes)
        left = begin(bar.volume, len(imbalances) + 2, bucket)
        while left > 0.0:
            left = fill(end, left, tilt, bucket)
            if left >= 0.0:
                close(abs(bucket.signed) / bucket.size, imbalances, total, bucket)
    for k in range(max(bar.bar, current - len(ended)), current):
        volume = bar.volume if k == bar.bar else 0.0
        ended[k % len(ended), 0], ended[k % len(ended), 1] = volume, volume * tilt
    choose_size(now, 0.0, fixed, bucket)
    bar.bar, bar.volume = current, 0.0


@kernel
def _tilt(last: float, price: F64, changes: F64) -> float:
    """Return the share bought less the share sold, 2 Phi(dP / sigma) - 1, of a volume that ended at this price."""
    known, before, count = price[0] > 0.0, price[1], int(price[2])
    price[0], price[1] = 1.0, last
    if not known:
        return 0.0
    change = last - before
    changes[count % len(changes)] = change
    price[2] += 1.0
    sigma = _deviation(changes, min(count + 1, len(changes)))
    return math.erf(change / sigma / math.sqrt(2.0)) if sigma > 0.0 else 0.0


@kernel
def _deviation(values: F64, count: int) -> float:
    """Return the unbiased deviation of the first values, 0 for equal ones; NaN for fewer than two."""
    if count < 2:
        return math.nan
    mean = m2 = 0.0
    for k in range(count):
        mean += (values[k] - values[0]) / count
    for k in range(count):
        m2 += (values[k] - values[0] - mean) ** 2
    return math.sqrt(m2 / (count - 1))


@kernel
def _imbalances(current: int, ended: F64, held: F64) -> None:
    """Work out the imbalances over the bars that ended last."""
    for v in range(len(held)):
        volume = signed = 0.0
        for k in range(_SPANS[v]):
            slot = (current - 1 - k) % len(ended)
            volume += ended[slot, 0]
            signed += ended[slot, 1]
        held[v] = ratio(signed, volume)
