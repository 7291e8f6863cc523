"""Wider time bars from narrower ones, for the columns where that is exact (feature catalogue, section 11)."""

import polars as pl

from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.errors import ConfigError

_SUMS = (
    "volume", "notional", "buy_volume", "sell_volume", "n_trades", "n_buys", "n_sells", "n_updates", "ofi_sum",
    "mlofi_decay_sum", "tfi", "rv", "rs_pos", "rs_neg", "sjv",
)  # fmt: skip
_LAST = ("imbalance_last", "microprice_dev_last_bps")
_HELD = ("vpin_last", "kyle_lambda_last")


def merge_bars(bars: pl.DataFrame, duration: int) -> pl.DataFrame:
    """Merge the bars of one market and width into bars of a multiple of that width.

    Parameters
    ----------
    bars
        Gold rows of one market, in order, without a bar missing inside the span.
    duration
        Width of the result, seconds: a multiple of the width of `bars`.

    Returns
    -------
    polars.DataFrame
        Bounds and flags, prices, sums, counts, smallest and largest values, returns and last values, equal to those
        of bars made from the events (sums up to rounding). Columns that do not merge exactly (bipower and median
        variations, skewness, means, time-weighted means) are not there. A bar whose first or last part is missing at
        an end of `bars` is left out.

    Raises
    ------
    ConfigError
        If `duration` is not a multiple of the width.

    Examples
    --------
    >>> merge_bars(pl.DataFrame({"duration": [2], "bar_start": [0]}), 3)
    Traceback (most recent call last):
        ...
    daedalus.shared.errors.ConfigError: bars of 2 s do not merge into bars of 3 s: give a multiple
    """
    width = int(bars["duration"][0]) if bars.height else 1
    if duration % width:
        raise ConfigError(f"bars of {width} s do not merge into bars of {duration} s: give a multiple")
    span = duration * NS_PER_SECOND
    start = (pl.col("bar_start") - pl.col("bar_start") % span).alias("bar_start")
    sums = [name for name in bars.columns if name in _SUMS or name.startswith("mlofi_l")]
    merged = bars.group_by(start, maintain_order=True).agg(
        pl.len().alias("parts"),
        *(pl.col(name).first() for name in ("exchange", "symbol")),
        pl.col("is_empty").min(),
        *(pl.col(name).max() for name in ("is_partial", "has_gap")),
        *_prices(),
        *_mids(),
        *(pl.col(name).sum() for name in sums),
        pl.col("spread_min_bps").min(),
        *(pl.col(name).max() for name in ("spread_max_bps", "trade_size_max", "max_run")),
        *(pl.col(name).drop_nulls().last() for name in _LAST),
        *(pl.col(name).last() for name in _HELD),
    )
    return (
        _derived(merged.with_columns(duration=pl.lit(duration, pl.Int32), bar_end=pl.col("bar_start") + span))
        .drop("parts")
        .filter(merged["parts"] == duration // width)
    )


def _prices() -> list[pl.Expr]:
    """Return open, high, low, close: of the parts with trades, or the carried price where there are none."""
    traded = pl.col("n_trades") > 0

    def of(name: str) -> pl.Expr:
        return pl.col(name).filter(traded)

    choose = {
        "open": of("open").first().fill_null(pl.col("open").first()),
        "high": of("high").max().fill_null(pl.col("high").first()),
        "low": of("low").min().fill_null(pl.col("low").first()),
    }
    return [*(expression.alias(name) for name, expression in choose.items()), pl.col("close").last()]


def _mids() -> list[pl.Expr]:
    return [
        pl.col("mid_open").drop_nulls().first(),
        pl.col("mid_high").max(),
        pl.col("mid_low").min(),
        pl.col("mid_close").drop_nulls().last(),
    ]


def _derived(merged: pl.DataFrame) -> pl.DataFrame:
    """Add what follows from the merged columns."""

    def ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
        return pl.when(denominator != 0.0).then(numerator / denominator)

    sided = pl.col("buy_volume") + pl.col("sell_volume")
    return merged.with_columns(
        vwap=ratio(pl.col("notional"), pl.col("volume")),
        tfi_ratio=ratio(pl.col("tfi"), sided),
        trade_size_mean=ratio(pl.col("volume"), pl.col("n_trades")),
        ret=(pl.col("close") / pl.col("close").shift(1)).log(),
        mid_ret=(pl.col("mid_close") / pl.col("mid_close").shift(1)).log(),
        close_pos=ratio(pl.col("mid_close") - pl.col("mid_low"), pl.col("mid_high") - pl.col("mid_low")),
    ).with_columns(amihud=ratio(pl.col("ret").abs() * 1e6, pl.col("notional")))
