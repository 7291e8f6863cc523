"""The table of feature families: one line each. Being listed is what gets a family computed, documented and tested."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from daedalus.etl.features.activity import activity
from daedalus.etl.features.base import Family
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.cost import cost
from daedalus.etl.features.decayed import decayed_rows, decayed_trades
from daedalus.etl.features.depth import depth
from daedalus.etl.features.dynamic import changes, order_flow
from daedalus.etl.features.flow_price import flow_price
from daedalus.etl.features.grid_levels import lee_mykland, resilience
from daedalus.etl.features.grid_memory import grid_memory
from daedalus.etl.features.grid_returns import grid_returns
from daedalus.etl.features.hawkes import hawkes
from daedalus.etl.features.identity import identity
from daedalus.etl.features.impact import amihud, impact, kyle
from daedalus.etl.features.levels import levels
from daedalus.etl.features.lob_inputs import lob_norm, lob_rel
from daedalus.etl.features.microprice_stoikov import microprice_stoikov
from daedalus.etl.features.normalised import check_templates, normalised
from daedalus.etl.features.ofi_integrated import ofi_integrated
from daedalus.etl.features.realised import realised
from daedalus.etl.features.recovery import recovery
from daedalus.etl.features.roll import roll
from daedalus.etl.features.rolling_flow import rolling_flow
from daedalus.etl.features.rolling_levels import rolling_levels
from daedalus.etl.features.rolling_moments import (
    depth_moments,
    depth_variance,
    flow_moments,
    imbalance_moments,
    spread_moments,
)
from daedalus.etl.features.rolling_moves import rolling_moves
from daedalus.etl.features.rolling_range import rolling_range
from daedalus.etl.features.rolling_returns import rolling_returns
from daedalus.etl.features.rolling_spread import rolling_spread
from daedalus.etl.features.row_identity import row_identity
from daedalus.etl.features.selection import selected
from daedalus.etl.features.shape import shape
from daedalus.etl.features.spread_regime import spread_regime
from daedalus.etl.features.ticker_rows import funding, ticker_quote, ticker_rows
from daedalus.etl.features.ticker_windows import ticker_interest, ticker_returns, ticker_volume
from daedalus.etl.features.touch import quote, touch
from daedalus.etl.features.trade_bars import trade_bars
from daedalus.etl.features.trade_columns import trade_columns
from daedalus.etl.features.trade_flow import trade_flow
from daedalus.etl.features.trade_median import trade_median
from daedalus.etl.features.trade_range import trade_range
from daedalus.etl.features.trade_rows import trade_rows
from daedalus.etl.features.trade_stats import trade_stats
from daedalus.etl.features.vpin import vpin
from daedalus.etl.features.vpin_bulk import vpin_bulk

Table = Literal["orderbook", "trades", "ticker"]
Families = tuple[Callable[[FeatureConfig], Family | None], ...]

#: What looks at trades alone, after `trade_rows`: the same at rows of books and of trades.
_OVER_TRADES: Families = (trade_flow, trade_stats, trade_range, trade_median, decayed_trades, hawkes)
#: Of book rows, in the order of the output columns; a family stands after those whose columns it needs.
FAMILIES: Families = (
    identity,
    levels,
    touch,
    depth,
    cost,
    shape,
    order_flow,
    changes,
    rolling_flow,
    rolling_levels,
    rolling_returns,
    rolling_moves,
    spread_regime,
    rolling_spread,
    spread_moments,
    imbalance_moments,
    depth_variance,
    depth_moments,
    flow_moments,
    flow_price,
    rolling_range,
    grid_returns,
    grid_memory,
    lee_mykland,
    resilience,
    recovery,
    trade_rows,
    *_OVER_TRADES,
    decayed_rows,
    kyle,
    impact,
    amihud,
    roll,
    trade_bars,
    realised,
    vpin,
    vpin_bulk,
    activity,
    ticker_quote,
    ofi_integrated,
    microprice_stoikov,
    lob_rel,
    lob_norm,
)

#: Families over the columns of those above: each is a function of the configuration and of those of one table.
OVER_OTHERS: tuple[Callable[[FeatureConfig, Sequence[Family]], tuple[Family, ...]], ...] = (normalised,)


#: Of trades, and of tickers.
TRADE_FAMILIES: Families = (row_identity, quote, trade_columns, *_OVER_TRADES)
TICKER_FAMILIES: Families = (
    row_identity,
    quote,
    ticker_rows,
    funding,
    ticker_returns,
    ticker_interest,
    ticker_volume,
)
TABLES: Mapping[Table, Families] = MappingProxyType(
    {"orderbook": FAMILIES, "trades": TRADE_FAMILIES, "ticker": TICKER_FAMILIES}
)


def families(config: FeatureConfig, table: Table = "orderbook") -> tuple[Family, ...]:
    """Return the families of a table that a configuration switches on, in the table's order.

    Beside trades and tickers, of the book only the touch is there; what is said of trades belongs to `standard` there.
    """
    if table != "orderbook":
        config = replace(config, max_levels=1)
    declared = [family for declare in TABLES[table] if (family := declare(config)) is not None]
    if table == "trades":
        declared = [family if family.name == "quote" else replace(family, standard=("*",)) for family in declared]
    return (*declared, *(family for declare in OVER_OTHERS for family in declare(config, declared)))


def shown(config: FeatureConfig, table: Table = "orderbook") -> frozenset[str]:
    """Return the names of the columns of a table that a configuration asks for; raises as `selection.selected`."""
    anywhere = [family for name in TABLES for family in families(config, name)]
    check_templates(config, anywhere)
    return selected(families(config, table), config, anywhere)
