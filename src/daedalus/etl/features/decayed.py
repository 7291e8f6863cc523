"""Sums that fade with a half-life, and intensities (feature catalogue, section 9).

S = S before * 2^(-elapsed / half-life) + x, at every event; at a book row, sums over trades have faded until then.
An intensity is ln 2 / half-life * S, so that a stream of constant rate shows its rate. Time is that of each stream.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Flags, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import ratio
from daedalus.etl.features.trade_rows import PLACE
from daedalus.shared.schemas import Column

#: Half-lives of `intensity_ratio`, kept after those of the columns.
_RATIO_LIVES = (1, 60)
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
_NEEDS = ("ofi", "mlofi_decay", "ofi_bid", "ofi_ask", "log_return")
_Sums = tuple[tuple[str, str, str, bool], ...]


def decayed_trades(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    columns = (
        *_columns(_TRADES, config),
        *(
            Column(
                f"intensity_imbalance_hl{h}s", "float64", "", f"imbalance of buy and sell intensity; half-life {h} s"
            )
            for h in config.half_lives_s
        ),
        Column("intensity_ratio", "float64", "", "trade_intensity_hl1s over trade_intensity_hl60s"),
    )
    lives, rates = np.array((*config.half_lives_s, *_RATIO_LIVES), np.float64), _rates(_TRADES)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        trades = (frame.trades.ts, frame.trades.amount, frame.visible, frame.deals)
        _decayed_trades(frame.ts, *trades, lives, rates, state["sums"], state["times"], out.f64)

    doc = "fading sums and intensities of trades"
    return Family("decayed_trades", 2, doc, columns, run, ("trade_rows",), _fields(_TRADES, lives))


def decayed_rows(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    lives, rates = np.array(config.half_lives_s, np.float64), _rates(_ROWS)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        rows = [frame.floats(name) for name in _NEEDS]
        _decayed_rows(frame.ts, *rows, lives, rates, state["sums"], state["times"], out.f64)

    doc = "fading sums and intensities of book rows"
    return Family("decayed_rows", 1, doc, _columns(_ROWS, config), run, _NEEDS, _fields(_ROWS, lives))


def _columns(sums: _Sums, config: FeatureConfig) -> tuple[Column, ...]:
    return tuple(
        Column(f"{n}_hl{h}s", "float64", u, f"{d}; half-life {h} s") for n, u, d, _ in sums for h in config.half_lives_s
    )


def _fields(sums: _Sums, lives: F64) -> tuple[Field, ...]:
    return Field("sums", FLOAT, (len(sums), len(lives))), Field("times", INT, (1,))


def _rates(sums: _Sums) -> Flags:
    return np.array([is_rate for *_, is_rate in sums])


_LARGE = PLACE["large_trade"]


@kernel
def _decayed_trades(
    ts: I64,
    trade_ts: I64,
    amount: F64,
    visible: I64,
    deals: F64,
    lives: F64,
    rates: Flags,
    sums: F64,
    times: I64,
    out: F64,
) -> None:
    count, done = len(lives) - 2, 0
    for i in range(len(ts)):
        while done < visible[i]:
            _fade(sums, trade_ts[done] - times[0], lives)
            times[0] = trade_ts[done]
            side = deals[0, done]
            _add(sums, 0, 1.0)
            _add(sums, 1, float(int(side > 0.0)))
            _add(sums, 2, float(int(side < 0.0)))
            _add(sums, 3, amount[done])
            _add(sums, 4, side * amount[done])
            _add(sums, 5, float(int(deals[_LARGE, done] == 1.0)))
            done += 1
        since = ts[i] - times[0]
        _write(i, since, lives, count, rates, sums, out)
        for h in range(count):
            buys, sells = out[count + h, i], out[2 * count + h, i]
            out[6 * count + h, i] = ratio(buys - sells, buys + sells)
        out[7 * count, i] = ratio(_rate(sums, since, count, lives), _rate(sums, since, count + 1, lives))


@kernel
def _decayed_rows(
    ts: I64,
    ofi: F64,
    mlofi: F64,
    ofi_bid: F64,
    ofi_ask: F64,
    log_return: F64,
    lives: F64,
    rates: Flags,
    sums: F64,
    times: I64,
    out: F64,
) -> None:
    for i in range(len(ts)):
        _fade(sums, ts[i] - times[0], lives)
        times[0] = ts[i]
        _add(sums, 0, ofi[i])
        _add(sums, 1, mlofi[i])
        _add(sums, 2, 1.0)
        _add(sums, 3, float(int(abs(ofi_bid[i]) > 0.0)))
        _add(sums, 4, float(int(abs(ofi_ask[i]) > 0.0)))
        _add(sums, 5, log_return[i] * log_return[i])
        _write(i, 0, lives, len(lives), rates, sums, out)


@kernel
def _write(i: int, since_ns: int, lives: F64, count: int, rates: Flags, sums: F64, out: F64) -> None:
    """Write the sums of the first `count` half-lives as they are `since_ns` after the last event."""
    for h in range(count):
        since = 2.0 ** (-since_ns / 1e9 / lives[h])
        for c in range(len(sums)):
            value = sums[c, h] * since
            out[c * count + h, i] = value * math.log(2.0) / lives[h] if rates[c] else value


@kernel
def _rate(sums: F64, since_ns: int, h: int, lives: F64) -> float:
    """Return the intensity of trades by one half-life."""
    rate: float = sums[0, h] * 2.0 ** (-since_ns / 1e9 / lives[h]) * math.log(2.0) / lives[h]
    return rate


@kernel
def _fade(sums: F64, elapsed_ns: int, lives: F64) -> None:
    for h in range(len(lives)):
        factor = 2.0 ** (-elapsed_ns / 1e9 / lives[h])
        for c in range(len(sums)):
            sums[c, h] *= factor


@kernel
def _add(sums: F64, c: int, value: float) -> None:
    if abs(value) < math.inf:
        sums[c, :] += value
