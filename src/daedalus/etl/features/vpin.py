"""VPIN with true sides (feature catalogue, section 8; Easley, Lopez de Prado and O'Hara 2012), over `buckets`.

The side of a trade is the resolved one of `trade_rows`; an unknown one counts half and half. Trades enter one by one.
"""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, INT, AnyArray, Arrays, Block, Family, Field, Frame
from daedalus.etl.features.buckets import begin, bucket_fields, choose_size, close, fill, fixed_size, mean_imbalance
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio
from daedalus.etl.features.trade_rows import PLACE
from daedalus.shared.schemas import Column

#: Values of VPIN, at closes of buckets before, that the current one is ranked among.
RANKED = 250
_COLUMNS = (
    Column(
        "vpin", "float64", "", "mean of |buys - sells| / V over the last closed buckets; null until there are enough"
    ),
    Column("vpin_bucket_fill", "float64", "", "filled share of the open bucket"),
    Column(
        "vpin_bucket_dur_s", "float64", "s", "from the first trade in the last closed bucket to the one that closed it"
    ),
    Column(
        "vpin_cdf",
        "float64",
        "",
        f"share of the {RANKED} values of vpin at the closes of buckets before that are <= it",
    ),
)


def vpin(config: FeatureConfig) -> Family | None:
    """Declare the family; None when it or stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful and config.enable_vpin):
        return None
    fixed = fixed_size(config)
    fields = (
        *bucket_fields("true", config.vpin_window_buckets),
        Field("values", FLOAT, (RANKED + 1,)),
        Field("known", INT, (1,)),
        Field("rank", FLOAT, (1,)),
    )

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.amount, frame.deals[PLACE["side"]], frame.visible)
        frame.call(_vpin, frame.ts, *trades, fixed, *(state[field.name] for field in fields), out.f64)

    params = {"vpin_bucket_volume": config.vpin_bucket_volume}
    doc = "volume-synchronised toxicity"
    needs, core, standard = ("trade_rows",), ("vpin",), ("*",)
    return Family("vpin", 2, doc, _COLUMNS, run, needs, fields, params, core, standard, replays=True)


@kernel
def _vpin(
    ts: I64,
    trade_ts: I64,
    amount: F64,
    side: F64,
    visible: I64,
    fixed: float,
    imbalances: F64,
    total: F64,
    state: AnyArray,
    values: F64,
    known: I64,
    rank: F64,
    out: F64,
) -> None:
    bucket, most = state[0], len(imbalances) + RANKED + 2
    done = 0
    for i in range(len(ts)):
        before = known[0]
        while done < visible[i]:
            choose_size(trade_ts[done], amount[done], fixed, bucket)
            left = begin(amount[done], most, bucket)
            while left > 0.0:
                left = fill(trade_ts[done], left, side[done], bucket)
                if left >= 0.0:
                    close(abs(bucket.signed) / bucket.size, imbalances, total, bucket)
                    if bucket.closed >= len(imbalances):
                        values[known[0] % len(values)] = mean_imbalance(imbalances, total, bucket)
                        known[0] += 1
            done += 1
        choose_size(ts[i], 0.0, fixed, bucket)
        if known[0] > before:
            rank[0] = _rank(known[0], values)
        out[0, i] = mean_imbalance(imbalances, total, bucket)
        out[1, i] = ratio(bucket.fill, bucket.size if bucket.fill > 0.0 else bucket.next_size)
        out[2, i] = bucket.took_ns / 1e9 if bucket.closed > 0 else math.nan
        out[3, i] = rank[0] if known[0] > 1 else math.nan


@kernel
def _rank(known: int, values: F64) -> float:
    """Return the share of the values before the last one that are not above it; of none: NaN."""
    last, count, below = values[(known - 1) % len(values)], min(known - 1, len(values) - 1), 0
    for k in range(count):
        below += values[(known - 2 - k) % len(values)] <= last
    return ratio(float(below), float(count))
