"""Roll's spread from the changes of trade prices (feature catalogue, section 8; Roll 1984).

A change across a pause longer than the staleness limit is null, as `trade_log_return` is, and so has no part in a pair.
"""

import math

from daedalus.etl.features.base import F64, FLOAT, I64, INT, AnyArray, Arrays, Block, Family, Field, Frame, record
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.shared.schemas import Column

#: Changes of price that the covariance is taken over.
CHANGES = 200
_CHANGES_MIN = 3
_COLUMNS = (
    Column("roll_spread", "float64", "quote", f"2 sqrt(-cov) of neighbouring changes of price, last {CHANGES}"),
    Column("roll_spread_bps", "float64", "bps", "roll_spread against mid"),
)


def roll(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    stale_ns = config.staleness_ns
    fields = (
        Field("pairs", FLOAT, (2, CHANGES - 1)),
        record("last", seen=INT, ts=INT, price=FLOAT, known=INT, change=FLOAT, changes=INT, spread=FLOAT),
    )

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.price, frame.visible)
        frame.call(_roll, frame.floats("mid"), *trades, stale_ns, state["pairs"], state["last"], out.f64)

    params = {"staleness_ns": stale_ns}
    return Family("roll", 1, "Roll's spread", _COLUMNS, run, ("mid",), fields, params, replays=True)


@kernel
def _roll(
    mid: F64, trade_ts: I64, price: F64, visible: I64, stale_ns: int, pairs: F64, state: AnyArray, out: F64
) -> None:
    last = state[0]
    done = 0
    for i in range(len(mid)):
        before = last.changes
        while done < visible[i]:
            is_next = last.seen == 1 and trade_ts[done] - last.ts <= stale_ns
            if is_next:
                change = price[done] - last.price
                slot = last.changes % pairs.shape[1]
                pairs[0, slot], pairs[1, slot] = change, last.change if last.known == 1 else math.nan
                last.change = change
                last.changes += 1
            last.seen, last.known, last.ts, last.price = 1, int(is_next), trade_ts[done], price[done]
            done += 1
        enough = last.changes >= _CHANGES_MIN
        if enough and last.changes > before:
            cov = covariance(pairs, min(last.changes, pairs.shape[1]))
            last.spread = 2.0 * math.sqrt(-cov) if cov < 0.0 else cov * 0.0
        out[0, i] = last.spread if enough else math.nan
        out[1, i] = out[0, i] / mid[i] * 1e4


@kernel
def covariance(pairs: F64, count: int) -> float:
    """Return the sample covariance of the first `count` pairs that are whole; of fewer than two: NaN."""
    n, sum_x, sum_y = 0, 0.0, 0.0
    for k in range(count):
        if not math.isnan(pairs[0, k] + pairs[1, k]):
            n += 1
            sum_x += pairs[0, k]
            sum_y += pairs[1, k]
    if n < 2:
        return math.nan
    total = 0.0
    for k in range(count):
        if not math.isnan(pairs[0, k] + pairs[1, k]):
            total += (pairs[0, k] - sum_x / n) * (pairs[1, k] - sum_y / n)
    return total / (n - 1)
