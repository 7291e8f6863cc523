"""When an event bar closes: at so many trades, so much volume or notional, or at an imbalance or a run of them.

A bar is named by its kind and, where it has one, its threshold: ``tick-100``, ``volume-12.5``, ``dollar-1e6``,
``tick_imbalance``, ``volume_run``; ``dollar_imbalance-5e5`` is an imbalance bar with a fixed threshold and
``tick_imbalance_literal`` one by the book's own rule, without clips.

Imbalance and run bars follow Lopez de Prado (2018, chapter 2) as the feature catalogue (section 11) settles it: x is
the side times 1, size or notional; the first bar closes at `EXPECTED_TRADES` trades, a later one when |sum of x|
reaches E_T times the clipped |EWMA of x|, both read when the bar before closed. A run bar closes when the larger of the
sums of buys and of sells reaches E_T max(P E_buy, (1 - P) E_sell).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from daedalus.etl.features.base import F64
from daedalus.etl.features.jit import kernel
from daedalus.shared.errors import ConfigError

EXPECTED_TRADES = 100.0
SPAN_TRADES = 3.0
SPAN_X = 1000.0
TRADES_MIN, TRADES_MAX = 0.25 * EXPECTED_TRADES, 4.0 * EXPECTED_TRADES
SHARE_MIN, SHARE_MAX = 0.2, 0.5

_UNITS = ("tick", "volume", "dollar")
_MODES = ("", "imbalance", "run", "imbalance_literal")
_AMOUNT, _RUN, _LITERAL = 0, 2, 3

RULE = np.dtype(
    [
        # The open bar.
        ("trades", np.int64),
        ("amount", np.float64),
        ("buys", np.float64),
        ("sells", np.float64),
        # Over all trades so far.
        ("seen", np.int64),
        ("price", np.float64),
        ("tick", np.int64),
        ("mean_x", np.float64),
        ("mean_size", np.float64),
        ("buy_share", np.float64),
        ("mean_buy", np.float64),
        ("mean_sell", np.float64),
        ("sided", np.int64),
        ("bought", np.int64),
        ("sold", np.int64),
        # As of the last close.
        ("closed", np.int64),
        ("expected_trades", np.float64),
        ("threshold", np.float64),
    ],
    align=True,
)
"""What a rule carries."""


@dataclass(frozen=True)
class EventBar:
    """A kind of event bar.

    Parameters
    ----------
    name
        As in the module's description; also the directory of its rows, ``bar=volume-12.5``.

    Raises
    ------
    ConfigError
        If there is no such kind, or its threshold is missing or not above 0.

    Examples
    --------
    >>> EventBar("volume-12.5").values().tolist()
    [0.0, 1.0, 12.5]
    """

    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        self.values()

    def values(self) -> F64:
        """Return mode, unit and threshold as the kernel takes them; a threshold of 0 adapts."""
        kind, _, threshold = self.name.partition("-")
        unit, _, mode = kind.partition("_")
        if unit not in _UNITS or mode not in _MODES:
            kinds = ", ".join(f"{u}_{m}" if m else f"{u}-N" for m in _MODES for u in _UNITS)
            raise ConfigError(f"event bar {self.name!r}: give one of {kinds}")
        try:
            value = float(threshold) if threshold else 0.0
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0.0 and (value > 0.0 or (mode and not threshold))):
            raise ConfigError(f"event bar {self.name!r}: the threshold after the dash must be a number above 0")
        return np.array([_MODES.index(mode), _UNITS.index(unit), value])


@kernel
def closes(rule: F64, state: Any, price: float, size: float, given: int) -> bool:
    """Count a trade of the open bar and return whether it closes the bar."""
    side = _side(state, price, given)
    amount = 1.0 if rule[1] == 0.0 else size if rule[1] == 1.0 else size * price
    state.trades += 1
    state.amount += amount
    if side > 0:
        state.buys += amount
    elif side < 0:
        state.sells += amount
    if rule[0] == _AMOUNT:
        return bool(state.amount >= rule[2])
    _learn(state, side, amount)
    reached = max(state.buys, state.sells) if rule[0] == _RUN else abs(state.buys - state.sells)
    if rule[2] > 0.0:
        return bool(reached >= rule[2])
    if state.closed == 0:
        return bool(state.trades >= EXPECTED_TRADES)
    return bool(reached >= state.threshold)


@kernel
def _side(state: Any, price: float, given: int) -> int:
    """Return the given side, or the sign of the last price change where there is none."""
    if state.price > 0.0 and price != state.price:
        state.tick = 1 if price > state.price else -1
    state.price = price
    return given if given != 0 else state.tick


@kernel
def _learn(state: Any, side: int, amount: float) -> None:
    """Move the means over all trades; each starts at the first value."""
    state.mean_x = _moved(state.mean_x, side * amount, state.seen)
    state.mean_size = _moved(state.mean_size, abs(side) * amount, state.seen)
    state.seen += 1
    if side != 0:
        state.buy_share = _moved(state.buy_share, 1.0 if side > 0 else 0.0, state.sided)
        state.sided += 1
    if side > 0:
        state.mean_buy = _moved(state.mean_buy, amount, state.bought)
        state.bought += 1
    elif side < 0:
        state.mean_sell = _moved(state.mean_sell, amount, state.sold)
        state.sold += 1


@kernel
def _moved(mean: float, value: float, seen: int) -> float:
    weight = 2.0 / (SPAN_X + 1.0)
    return value if seen == 0 else weight * value + (1.0 - weight) * mean


@kernel
def restart(rule: F64, state: Any) -> None:
    """After a close: learn from the bar, set the threshold of the next one, and forget the bar."""
    weight, trades = 2.0 / (SPAN_TRADES + 1.0), float(state.trades)
    before = state.expected_trades
    expected = trades if state.closed == 0 else weight * trades + (1.0 - weight) * before
    state.expected_trades = expected if rule[0] == _LITERAL else min(max(expected, TRADES_MIN), TRADES_MAX)
    if rule[0] == _RUN:
        usual = max(state.buy_share * state.mean_buy, (1.0 - state.buy_share) * state.mean_sell)
    else:
        usual = abs(state.mean_x)
        if rule[0] != _LITERAL:
            usual = min(max(usual, SHARE_MIN * state.mean_size), SHARE_MAX * state.mean_size)
    state.threshold = state.expected_trades * usual
    state.closed += 1
    state.trades = 0
    state.amount = state.buys = state.sells = 0.0
