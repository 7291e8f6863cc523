"""The table of trades: what one trade says, as columns (feature catalogue, section 6).

The same kernels as for trades beside books, in `trade_rows`; but here a trade is worked out when it arrives, against
the last book that had arrived by then and is strictly before it (T5). A book that arrives later with an earlier time
is not waited for.
"""

from dataclasses import replace

import numpy as np

from daedalus.etl.features.base import (
    F64,
    I8,
    I64,
    NULL_INT,
    NULL_INT8,
    AnyArray,
    Arrays,
    Block,
    Family,
    Frame,
)
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.trade_rows import COLUMNS as DEALS
from daedalus.etl.features.trade_rows import PLACE, trade_against, trade_fields, trade_size_class
from daedalus.shared.schemas import DType

#: What of it are whole numbers; the rest is float64.
_WHOLE: dict[str, DType] = {
    "side": "int8",
    "side_source": "int8",
    "run_length": "int64",
    "large_trade": "int8",
    "large_trade_fixed": "int8",
    "sweep_levels": "int64",
}
COLUMNS = tuple(replace(column, dtype=_WHOLE.get(column.name, column.dtype)) for column in DEALS)
_FLAGS, _COUNTS, _REALS = (
    [PLACE[column.name] for column in COLUMNS if column.dtype == dtype] for dtype in ("int8", "int64", "float64")
)


def trade_columns(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fields, stale_ns = trade_fields(), config.staleness_ns

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = frame.trades
        frame.deals = np.full((len(DEALS), frame.rows), np.nan)
        touch = [side[:, 0] for side in (frame.bid_price, frame.ask_price, frame.bid_size, frame.ask_size)]
        quotes = np.stack([frame.floats("mid"), frame.floats("microprice"), *touch], axis=1)
        arrays = [state[field.name] for field in fields]
        _trades(trades.ts, trades.price, trades.amount, trades.side, quotes, stale_ns, *arrays, frame.deals)
        _write(frame.deals, frame.rows, out)

    params = {"staleness_ns": stale_ns}
    doc = "single trades against the book before"
    return Family("trade_rows", 1, doc, COLUMNS, run, ("mid", "microprice"), fields, params, core=("*",))


def _write(deals: F64, rows: int, out: Block) -> None:
    """Put the columns into the matrix of their type."""
    out.f64[:, :rows] = deals[_REALS]
    for whole, places, null in ((out.i8, _FLAGS, NULL_INT8), (out.i64, _COUNTS, NULL_INT)):
        values = deals[places]
        whole[:, :rows] = np.where(np.isnan(values), null, np.nan_to_num(values))


@kernel
def _trades(
    ts: I64,
    price: F64,
    amount: F64,
    side: I8,
    quotes: F64,
    stale_ns: int,
    recent: F64,
    ordered: F64,
    state: AnyArray,
    deals: F64,
) -> None:
    last = state[0]
    for j in range(len(ts)):
        trade_against(ts[j], price[j], amount[j], side[j], stale_ns, quotes[j], last, deals[:, j])
        trade_size_class(deals[:, j], recent, ordered, last)
