"""Means, deviations, z-scores and persistence over time windows (feature catalogue, section 5)."""

from collections.abc import Callable

import numpy as np

from daedalus.etl.features.base import F64, Family, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.dynamic import DEPTH_LEVELS
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.moments import (
    CV,
    MEAN,
    SAME_SIGN,
    STD,
    TIME_WEIGHTED,
    VAR,
    Moment,
    Z,
    moment_columns,
    moment_fields,
    moment_runner,
)

_SPREAD = (
    Moment("spread_mean_bps_", "bps", "mean of spread_bps per row", 0, MEAN),
    Moment("spread_std_bps_", "bps", "standard deviation of spread_bps per row", 0, STD),
    Moment("spread_tw_bps_", "bps", "time-weighted mean of spread_bps", 0, TIME_WEIGHTED),
    Moment("spread_z_", "", "spread_bps against mean and deviation of the rows before", 0, Z),
)
_IMBALANCE = (
    Moment("imbalance_mean_", "", "mean of imbalance_l0 per row", 0, MEAN),
    Moment("imbalance_std_", "", "standard deviation of imbalance_l0 per row", 0, STD),
    Moment("imbalance_tw_", "", "time-weighted mean of imbalance_l0", 0, TIME_WEIGHTED),
    Moment("imbalance_sign_persist_", "", "share of rows with the current sign of imbalance_l0", 0, SAME_SIGN),
    Moment("microprice_dev_mean_bps_", "bps", "mean of microprice_dev_bps per row", 1, MEAN),
)
_VARIANCE = (Moment("depth_var_n5_", "base2", "variance of the size of the first 5 levels of both sides", 0, VAR),)
_DEPTH = (
    Moment("depth_mean_n5_", "base", "mean size of the first 5 levels of both sides", 0, MEAN),
    Moment("depth_cv_n5_", "", "standard deviation over mean of that size", 0, CV),
)
_OFI = (Moment("ofi_z_", "", "ofi against mean and deviation of the rows before", 0, Z),)


def _declare(
    config: FeatureConfig,
    name: str,
    doc: str,
    moments: tuple[Moment, ...],
    needs: tuple[str, ...],
    core: tuple[str, ...] = (),
    standard: tuple[str, ...] = (),
    series: Callable[[Frame], F64] | None = None,
) -> Family | None:
    if not (config.compute_features and config.enable_stateful):
        return None
    count = 1 + max(moment.series for moment in moments)
    fields = moment_fields(moments, len(config.horizons), count)
    made = series or (lambda frame: np.stack([frame.floats(column) for column in needs]))
    run = moment_runner(name, moments, config.horizons, config.staleness_ns, fields, made)
    columns = moment_columns(moments, config.horizons)
    params = {"staleness_ns": config.staleness_ns}
    replays = series is depth_series
    return Family(name, 3, doc, columns, run, needs, fields, params, core, standard, replays)


def spread_moments(config: FeatureConfig) -> Family | None:
    """Declare the statistics of the spread; None when stateful features are switched off."""
    doc = "spread over time windows"
    return _declare(config, "spread_moments", doc, _SPREAD, ("spread_bps",))


def imbalance_moments(config: FeatureConfig) -> Family | None:
    """Declare the statistics of the touch's imbalance; None when stateful features are switched off."""
    doc = "imbalance over time windows"
    return _declare(config, "imbalance_moments", doc, _IMBALANCE, ("imbalance_l0", "microprice_dev_bps"))


def depth_variance(config: FeatureConfig) -> Family | None:
    """Declare the variance of depth, by itself for the small sets; None when stateful features are switched off."""
    return _declare(config, "depth_variance", "variance of depth", _VARIANCE, (), ("*",), series=depth_series)


def depth_moments(config: FeatureConfig) -> Family | None:
    """Declare the other statistics of depth; None when stateful features are switched off."""
    return _declare(config, "depth_moments", "depth over time windows", _DEPTH, (), series=depth_series)


def flow_moments(config: FeatureConfig) -> Family | None:
    """Declare the z-score of order flow; None when stateful features are switched off."""
    return _declare(config, "flow_moments", "order flow against its windows", _OFI, ("ofi",))


def depth_series(frame: Frame) -> F64:
    """Return the size of the first 5 levels of both sides, [1, rows]; null for an empty book."""
    out = np.empty((1, frame.rows))
    frame.call(_depth, frame.bid_size, frame.ask_size, out)
    return out


@kernel
def _depth(bid_size: F64, ask_size: F64, out: F64) -> None:
    for i in range(len(bid_size)):
        bid = ask = 0.0
        for k in range(min(DEPTH_LEVELS, bid_size.shape[1])):
            bid += bid_size[i, k]
            ask += ask_size[i, k]
        out[0, i] = bid + ask if bid + ask > 0.0 else np.nan
