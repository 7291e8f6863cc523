"""Several tables and symbols on one grid of time, each as it was known then: an as-of join without look-ahead."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from daedalus.lake.tables import QUALITY, Table
from daedalus.shared.errors import ConfigError

_KNOWN = "_known"
HOUR_NS = 3600 * 10**9
#: Bars stand in the hour of their start: so much earlier one may begin that is known in a range, ns.
BAR_NS_MAX = 86_400 * 10**9


@dataclass(frozen=True)
class Pick:
    """What is aligned: some columns of one table and market.

    Parameters
    ----------
    table, symbol
        Such as ``bars_60s`` and ``BTC-USD``, in either spelling.
    columns
        Which; None means all.
    exchange
        Needed where the symbol is recorded from several.
    """

    table: str
    symbol: str
    columns: Sequence[str] | None = None
    exchange: str | None = None


def known_at(table: Table) -> pl.Expr:
    """Return when a row is known, int64 ns.

    A bar and an hour of `quality` at its end; a row of silver when it was received, or at its `ts` where that is later;
    bronze when received.
    """
    if table.name == QUALITY:
        return pl.col(table.time) + HOUR_NS
    if table.layer == "gold":
        return pl.col("bar_end")
    received = pl.col("collected_at")
    return pl.max_horizontal("ts", received) if table.layer == "silver" else received


def align(
    picks: Mapping[str, Pick],
    rows_of: Callable[[Pick, int, int], tuple[Table, pl.LazyFrame]],
    start: int,
    end: int,
    every: int,
    max_age: int,
) -> pl.LazyFrame:
    """Return one row for each multiple of `every` in [start, end), with the newest known row of every pick.

    Parameters
    ----------
    picks
        By the prefix of their columns: ``btc`` gives ``btc_close``.
    rows_of
        Returns the table of a pick and its rows around [since, until), ns; more of them do no harm.
    start, end, every
        The grid, ns.
    max_age
        ns: an older row is not carried on; its columns are null.
    """
    if not picks:
        raise ConfigError('nothing to align: give picks by name, such as {"btc": Pick("bars_60s", "BTC-USD")}')
    first = -(-start // every) * every
    grid = pl.LazyFrame({"ts": pl.int_range(first, end, every, dtype=pl.Int64, eager=True)})
    for name, pick in picks.items():
        table, rows = rows_of(pick, start - max_age, end)
        known = known_at(table).alias(_KNOWN)
        columns = [pl.col(column).alias(f"{name}_{column}") for column in _columns(pick, rows)]
        picked = rows.select(known, *columns).sort(_KNOWN, maintain_order=True)
        grid = grid.join_asof(
            picked.set_sorted(_KNOWN), left_on="ts", right_on=_KNOWN, strategy="backward", tolerance=max_age
        )
        grid = grid.drop(_KNOWN, strict=False)
    return grid


def _columns(pick: Pick, rows: pl.LazyFrame) -> Sequence[str]:
    return pick.columns if pick.columns is not None else rows.collect_schema().names()
