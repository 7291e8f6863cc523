"""Sums that fade with a half-life, and intensities (feature catalogue, section 9).

S = S before * 2^(-elapsed / half-life) + x, at every event; at a book row, sums over trades have faded until then.
An intensity is ln 2 / half-life * S, so that a stream of constant rate shows its rate. Time is that of each stream.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio
from daedalus.etl.features.trade_rows import PLACE
from daedalus.shared.schemas import Column

HALF_LIVES = (1, 10, 60, 600)
#: Sums over trades, then sums over book rows: name, unit, doc, whether it is a rate.
_TRADES = (
    ("trade_intensity", "1/s", "trades per second", True),
    ("buy_intensity", "1/s", "aggressive buys per second", True),
    ("sell_intensity", "1/s", "aggressive sells per second", True),
    ("volume_intensity", "base/s", "size traded per second", True),
    ("tfi_ew", "base", "bought - sold", False),
    ("large_intensity", "1/s", "large trades per second", True),
)
_ROWS = (
    ("ofi_ew", "base", "sum of ofi", False),
    ("mlofi_decay_ew", "base", "sum of mlofi_decay", False),
    ("book_intensity", "1/s", "book rows per second", True),
    ("bid_event", "1/s", "rows with order flow at the bid per second", True),
    ("ask_event", "1/s", "rows with order flow at the ask per second", True),
    ("rv_ew", "", "sum of squared log returns", False),
)
_SUMS = (*_TRADES, *_ROWS)
_NEEDS = ("ofi", "mlofi_decay", "ofi_bid", "ofi_ask", "log_return")


def decayed(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    lives = len(HALF_LIVES)
    columns = (
        *(Column(f"{n}_hl{h}s", "float64", u, f"{d}; half-life {h} s") for n, u, d, _ in _SUMS for h in HALF_LIVES),
        *(
            Column(
                f"intensity_imbalance_hl{h}s", "float64", "", f"imbalance of buy and sell intensity; half-life {h} s"
            )
            for h in HALF_LIVES
        ),
        Column("intensity_ratio", "float64", "", "trade_intensity_hl1s over trade_intensity_hl60s"),
    )
    fields = (Field("sums", FLOAT, (len(_SUMS), lives)), Field("times", INT, (2,)))
    rates = np.array([is_rate for *_, is_rate in _SUMS])
    hours = np.array(HALF_LIVES, np.float64)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        rows = [frame.floats(name) for name in _NEEDS]
        trades = (frame.trades.ts, frame.trades.amount, frame.visible, frame.deals)
        _decayed(frame.ts, *rows, *trades, hours, rates, state["sums"], state["times"], out.f64)

    needs = (*_NEEDS, "trade_rows")
    return Family("decayed", 1, "fading sums and intensities", columns, run, needs, fields)


_LARGE = PLACE["large_trade"]


@kernel
def _decayed(
    ts: I64,
    ofi: F64,
    mlofi: F64,
    ofi_bid: F64,
    ofi_ask: F64,
    log_return: F64,
    trade_ts: I64,
    amount: F64,
    visible: I64,
    deals: F64,
    lives: F64,
    rates: F64,
    sums: F64,
    times: I64,
    out: F64,
) -> None:
    count, done = len(lives), 0
    for i in range(len(ts)):
        while done < visible[i]:
            _fade(sums, 0, 6, trade_ts[done] - times[0], lives)
            times[0] = trade_ts[done]
            side = deals[0, done]
            _add(sums, 0, 1.0)
            _add(sums, 1, float(int(side > 0.0)))
            _add(sums, 2, float(int(side < 0.0)))
            _add(sums, 3, amount[done])
            _add(sums, 4, side * amount[done])
            _add(sums, 5, float(int(deals[_LARGE, done] == 1.0)))
            done += 1
        _fade(sums, 6, 12, ts[i] - times[1], lives)
        times[1] = ts[i]
        _add(sums, 6, ofi[i])
        _add(sums, 7, mlofi[i])
        _add(sums, 8, 1.0)
        _add(sums, 9, float(int(abs(ofi_bid[i]) > 0.0)))
        _add(sums, 10, float(int(abs(ofi_ask[i]) > 0.0)))
        _add(sums, 11, log_return[i] * log_return[i])
        for h in range(count):
            since = 2.0 ** (-(ts[i] - times[0]) / 1e9 / lives[h])
            for c in range(12):
                value = sums[c, h] * (since if c < 6 else 1.0)
                out[c * count + h, i] = value * math.log(2.0) / lives[h] if rates[c] else value
            buys, sells = out[count + h, i], out[2 * count + h, i]
            out[12 * count + h, i] = ratio(buys - sells, buys + sells)
        out[13 * count, i] = ratio(out[0, i], out[2, i])


@kernel
def _fade(sums: F64, first: int, stop: int, elapsed_ns: int, lives: F64) -> None:
    for h in range(len(lives)):
        factor = 2.0 ** (-elapsed_ns / 1e9 / lives[h])
        for c in range(first, stop):
            sums[c, h] *= factor


@kernel
def _add(sums: F64, c: int, value: float) -> None:
    if abs(value) < math.inf:
        sums[c, :] += value
