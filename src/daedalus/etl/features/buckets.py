"""Volume buckets that VPIN and its kin fill (feature catalogue, section 8; Easley, Lopez de Prado and O'Hara 2012).

What comes in fills buckets of exactly V; what does not fit is split. A bucket keeps the V that it was opened with. With
V "auto" a bucket opens with a fiftieth of the volume of the UTC day before, and not at all after a day without any.
"""

import math

from daedalus.etl.features.base import F64, FLOAT, INT, Field, Record, record
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import plus

BUCKETS_PER_DAY = 50
_DAY_NS = 86_400_000_000_000


def bucket_fields(name: str, buckets: int) -> tuple[Field, ...]:
    """Return the state of one row of buckets: the imbalances of the last closed ones, their sum and the open one."""
    return (
        Field(f"{name}_imbalances", FLOAT, (buckets,)),
        Field(f"{name}_total", FLOAT, (2,)),
        record(
            f"{name}_open",
            size=FLOAT,
            fill=FLOAT,
            signed=FLOAT,
            started=INT,
            closed=INT,
            took_ns=INT,
            day=INT,
            day_volume=FLOAT,
            next_size=FLOAT,
        ),
    )


def fixed_size(config: FeatureConfig) -> float:
    """Return V, or 0 for "auto"."""
    return 0.0 if isinstance(config.vpin_bucket_volume, str) else config.vpin_bucket_volume


@kernel
def choose_size(now: int, amount: float, fixed: float, bucket: Record) -> None:
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
def begin(amount: float, most: int, bucket: Record) -> float:
    """Return how much of an amount is to be worked through: all of it, or what the last `most` buckets can show.

    An amount that fills every bucket that anything looks back on leaves the same behind, however often it does so.
    """
    size = bucket.size if bucket.fill > 0.0 else bucket.next_size
    whole = most * size
    return whole + amount % size if 0.0 < whole < amount else amount


@kernel
def fill(now: int, left: float, side: float, bucket: Record) -> float:
    """Let an amount fill the open bucket; return what is left once that is closed, or -1 where it stays open.

    `side` is the share bought less the share sold, -1 to 1. Without a V to open with, the amount is lost.
    """
    if bucket.fill == 0.0:
        bucket.size, bucket.started, bucket.signed = bucket.next_size, now, 0.0
        if bucket.size == 0.0:
            return -1.0
    room: float = bucket.size - bucket.fill
    if left < room:
        bucket.fill += left
        bucket.signed += side * left
        return -1.0
    bucket.signed += side * room
    bucket.took_ns = now - bucket.started
    bucket.fill = 0.0
    left -= room
    return left


@kernel
def close(imbalance: float, imbalances: F64, total: F64, bucket: Record) -> None:
    """Enter the imbalance of the bucket that has just been filled, 0 to 1."""
    slot = bucket.closed % len(imbalances)
    total[0], total[1] = plus(total[0], total[1], imbalance, 0.0)
    total[0], total[1] = plus(total[0], total[1], -imbalances[slot], 0.0)
    imbalances[slot] = imbalance
    bucket.closed += 1


@kernel
def mean_imbalance(imbalances: F64, total: F64, bucket: Record) -> float:
    """Return the mean over the last buckets; NaN until there are enough."""
    n = len(imbalances)
    return (total[0] + total[1]) / n if bucket.closed >= n else math.nan
