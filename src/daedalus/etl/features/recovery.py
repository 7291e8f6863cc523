"""How long a depleted touch takes to fill again (feature catalogue, section 5, `recovery_s_*`).

A side is depleted where its best price moves away or the side empties (`queue_depleted_*`). It has recovered at the
first row, the same one included, whose size at the touch is at least 0.9 of the mean of the minute before.
"""

import math

from daedalus.etl.features.base import F64, FLOAT, I8, I64, INT, Arrays, Block, Family, Field, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, ratio, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column

_REFERENCE_SECONDS = 60
_RECOVERED = 0.9
_SIDES = ("bid", "ask")
_NOT_RECOVERING = 0.0


def recovery(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    fields = (
        *window_fields(1, 4),  # size and rows with a size, of bid and of ask
        Field("goal", FLOAT, (2,)),
        Field("began", INT, (2,)),
        Field("held", FLOAT, (2,)),
    )
    doc = f"time from the last depletion until the size reached {_RECOVERED:g} of its mean of {_REFERENCE_SECONDS} s"
    columns = tuple(
        Column(f"recovery_s_{side}", "float64", "s", f"{doc}; null while recovering (Biais et al. 1995)")
        for side in _SIDES
    )
    lengths = window_lengths_ns((_REFERENCE_SECONDS,))

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        depleted = [frame.bytes(f"queue_depleted_{side}") for side in _SIDES]

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            sizes = (frame.bid_size, frame.ask_size)
            return _recovery(start, frame.ts, frame.reset, *sizes, *depleted, lengths, *arrays, out.f64)

        drive("recovery", state, fields, frame.rows, walk)

    needs = tuple(f"queue_depleted_{side}" for side in _SIDES)
    return Family("recovery", 1, "how fast a depleted touch fills again", columns, run, needs, fields)


@kernel
def _recovery(
    start: int,
    ts: I64,
    reset: I8,
    bid_size: F64,
    ask_size: F64,
    bid_depleted: I8,
    ask_depleted: I8,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    goal: F64,
    began: I64,
    held: F64,
    out: F64,
) -> int:
    for i in range(start, len(ts)):
        slot = enter(ts[i], lengths, ring_ts, ring, head, tails, totals)
        if slot < 0:
            return i
        oldest = tails[0] & (len(ring_ts) - 1)
        for s in range(2):
            size = bid_size[i, 0] if s == 0 else ask_size[i, 0]
            if head[0] == 1 or reset[i]:
                goal[s], held[s] = _NOT_RECOVERING, math.nan
            if (bid_depleted[i] if s == 0 else ask_depleted[i]) == 1:
                mean = ratio(window_sum(totals, ring, oldest, 2 * s), window_sum(totals, ring, oldest, 2 * s + 1))
                goal[s], began[s], held[s] = _RECOVERED * mean, ts[i], math.nan
            # Without a size in the minute before there is no goal (NaN), and nothing reaches it.
            if goal[s] > _NOT_RECOVERING and size >= goal[s]:
                goal[s], held[s] = _NOT_RECOVERING, (ts[i] - began[s]) / 1e9
            out[s, i] = held[s]
            if size > 0.0:
                add(totals, 2 * s, size)
                add(totals, 2 * s + 1, 1.0)
    return len(ts)
