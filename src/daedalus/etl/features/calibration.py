"""What `microprice_stoikov` is calibrated with: a table, made from past books, kept as a small JSON file."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from daedalus.shared.errors import ConfigError


@dataclass(frozen=True)
class MicropriceCalibration:
    """G* of Stoikov (2018) by spread and imbalance, of one market.

    Parameters
    ----------
    tick_size
        Price step of the market.
    edges
        What parts the buckets of bid size / (bid size + ask size), ascending; a value on an edge is below it.
    adjustments
        Row: spread in ticks, from 1 on. Column: bucket. What is added to the mid, in quote units; None where the state
        was not seen.
    exchange, symbol
        Of which market, as in the path; empty if it is not said.

    Raises
    ------
    ConfigError
        If the table is not one.
    """

    tick_size: float
    edges: tuple[float, ...]
    adjustments: tuple[tuple[float | None, ...], ...]
    exchange: str = ""
    symbol: str = ""

    def __post_init__(self) -> None:
        known = [value for row in self.adjustments for value in row if value is not None]
        numbers = (self.tick_size, *self.edges, *known)
        if not (all(map(math.isfinite, numbers)) and self.tick_size > 0 and list(self.edges) == sorted(self.edges)):
            raise ConfigError("microprice calibration: tick_size must be above 0, edges ascend, all numbers be finite")
        if not self.adjustments or any(len(row) != len(self.edges) + 1 for row in self.adjustments):
            raise ConfigError("microprice calibration: every row of adjustments needs one entry more than edges has")

    def save(self, path: Path) -> None:
        """Write the table as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def load_calibration(path: Path) -> MicropriceCalibration:
    """Read a table that `MicropriceCalibration.save` wrote.

    Raises
    ------
    ConfigError
        If there is none at the path.
    """
    try:
        given = json.loads(path.read_text())
        rows = tuple(tuple(None if x is None else float(x) for x in row) for row in given.pop("adjustments"))
        edges, tick = tuple(map(float, given.pop("edges"))), float(given.pop("tick_size"))
        return MicropriceCalibration(tick, edges, rows, **given)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        made = "`daedalus features calibrate-microprice` writes one"
        raise ConfigError(f"{path} holds no microprice calibration ({error}): {made}") from error
