"""The table of feature families: one line each. Being listed is what gets a family computed, documented and tested."""

from collections.abc import Callable

from daedalus.etl.features.base import Family
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.cost import cost
from daedalus.etl.features.decayed import decayed
from daedalus.etl.features.depth import depth
from daedalus.etl.features.dynamic import changes, order_flow
from daedalus.etl.features.flow_price import flow_price
from daedalus.etl.features.grid_levels import lee_mykland, resilience
from daedalus.etl.features.grid_returns import grid_returns
from daedalus.etl.features.identity import identity
from daedalus.etl.features.impact import impact
from daedalus.etl.features.kyle import kyle
from daedalus.etl.features.levels import levels
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
from daedalus.etl.features.shape import shape
from daedalus.etl.features.spread_regime import spread_regime
from daedalus.etl.features.touch import touch
from daedalus.etl.features.trade_flow import trade_flow
from daedalus.etl.features.trade_rows import trade_rows
from daedalus.etl.features.trade_stats import trade_stats
from daedalus.etl.features.vpin import vpin

#: In the order of the output columns; a family stands after those whose columns it needs.
FAMILIES: tuple[Callable[[FeatureConfig], Family | None], ...] = (
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
    lee_mykland,
    resilience,
    trade_rows,
    trade_flow,
    trade_stats,
    decayed,
    kyle,
    impact,
    vpin,
)


def families(config: FeatureConfig) -> tuple[Family, ...]:
    """Return the families that a configuration switches on, in the table's order."""
    declared = (declare(config) for declare in FAMILIES)
    return tuple(family for family in declared if family is not None)
