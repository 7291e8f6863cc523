"""Tight, normal or wide: the spread against its own recent past (feature catalogue, section 5, `spread_regime`)."""

import math

from daedalus.etl.features.base import (
    F64,
    FLOAT,
    I8,
    INT,
    NULL_INT8,
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
from daedalus.etl.features.streaming import quantile, replace_ordered
from daedalus.shared.schemas import Column

#: Rows before which there is no regime, unless whole windows are asked for.
ROWS_MIN = 100
_DOC = "-1 tight, +1 wide, 0 between, against quantiles of the rows strictly before; null until 100 rows before"


def spread_regime(config: FeatureConfig) -> Family | None:
    """Declare the family; None when it or stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful and config.use_dynamic_spread_regime):
        return None
    reference = config.spread_regime_window
    low, high = config.spread_tight_percentile, config.spread_wide_percentile
    least = reference if config.require_full_window else ROWS_MIN
    fields = (
        Field("recent", FLOAT, (reference,)),
        Field("ordered", FLOAT, (reference,)),
        record("count", rows=INT, ordered=INT),
    )

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        spread = frame.floats("spread_bps")
        arrays = (state[field.name] for field in fields)
        frame.call(_regime, spread, low, high, least, *arrays, out.i8[0])

    columns = (Column("spread_regime", "int8", "-1/0/1", _DOC),)
    params = {"tight": low, "wide": high, "least": least}
    return Family(
        "spread_regime", 1, "regime of the spread", columns, run, ("spread_bps",), fields, params, ("*",), replays=True
    )


@kernel
def _regime(
    spread: F64, low: float, high: float, least: int, recent: F64, ordered: F64, state: AnyArray, out: I8
) -> None:
    """`recent` is a ring of the reference rows (NaN for null), `ordered` the values among them, ascending."""
    count = state[0]
    for i in range(len(spread)):
        out[i] = NULL_INT8
        if count.rows >= least and count.ordered > 0 and not math.isnan(spread[i]):
            wide = spread[i] >= quantile(ordered, count.ordered, high)
            tight = spread[i] <= quantile(ordered, count.ordered, low)
            out[i] = -1 if tight else int(wide)
        slot = count.rows % len(recent)
        gone = recent[slot] if count.rows >= len(recent) else math.nan
        count.ordered = replace_ordered(ordered, count.ordered, gone, spread[i])
        recent[slot] = spread[i]
        count.rows += 1
