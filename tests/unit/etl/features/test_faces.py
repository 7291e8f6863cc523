"""What users call: frames in, frames out; and that importing costs nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from daedalus.etl.features import (
    FeatureConfig,
    FeatureSet,
    book_chunk,
    compute_rolling_features,
    extract_structural_features,
    trade_chunk,
)
from daedalus.shared.errors import SchemaError
from tests.references.markets import book, book_table, random_deals, random_rows, trade_table
from tests.references.quotes import Quote, ticker_table

CONFIG = FeatureConfig(max_levels=3, horizons=(1, 60), vpin_bucket_volume=2.0, vpin_window_buckets=3)


def frames(seed: int, symbol: str = "BTC-USD") -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 50)
    named = pl.lit(symbol).alias("symbol")
    made = (pl.from_arrow(book_table(rows)), pl.from_arrow(trade_table(random_deals(rng, rows, 30))))
    return made[0].with_columns(named), made[1].with_columns(named)  # type: ignore[union-attr]


def test_structural_features_are_the_static_families() -> None:
    df, _ = frames(1)
    got = extract_structural_features(df, CONFIG)
    want = [
        column.name for column in FeatureSet(CONFIG, ["identity", "levels", "touch", "depth", "cost", "shape"]).columns
    ]
    assert got.columns == ["exchange", "symbol", *want]
    assert got["mid"].null_count() > 0
    assert not got.select(pl.selectors.float().is_nan().any()).transpose().to_series().any()


def test_rolling_features_are_the_others_with_identity() -> None:
    df, deals = frames(1)
    got = compute_rolling_features(df, CONFIG, deals)
    assert {"ts", "ofi", "ofi_sum_60s", "rvol_1s", "spread_regime", "kyle_lambda", "vpin"} <= set(got.columns)
    assert not {"mid", "bid_price_l0", "depth_bid_n1"} & set(got.columns)
    assert got["vpin_bucket_fill"].drop_nulls().max() > 0.0  # type: ignore[operator]
    assert compute_rolling_features(df, CONFIG)["vpin"].null_count() == got.height


def test_both_faces_agree_with_the_engine() -> None:
    df, deals = frames(1)
    features = FeatureSet(CONFIG)
    chunk, run = book_chunk(df.to_arrow(), 3), trade_chunk(deals.to_arrow())
    whole = pl.DataFrame(features.to_arrow(features.apply(features.new_state(), chunk, run)[1]))
    structural = extract_structural_features(df, CONFIG).drop("exchange", "symbol")
    rolling = compute_rolling_features(df, CONFIG, deals).drop("exchange", "symbol")
    assert structural.equals(whole.select(structural.columns))
    assert rolling.equals(whole.select(rolling.columns))
    assert {*structural.columns, *rolling.columns} == set(whole.columns)


def test_tickers_reach_the_books() -> None:
    df, _ = frames(1)
    quotes = [Quote(0.0, 900.0, 1100.0)]
    tickers = pl.DataFrame(ticker_table(quotes)).with_columns(exchange=pl.lit("sandbox"))
    config = FeatureConfig(max_levels=3, include=("ticker_quote",))
    ages = compute_rolling_features(df, config, None, tickers)["ticker_age_s"]
    assert ages.null_count() == 0
    assert ages.max() == (df["timestamp"].max() - pl.Series(tickers["timestamp"])[0]).total_seconds()  # type: ignore[operator]
    alone = compute_rolling_features(df, config)["ticker_age_s"]
    assert alone.null_count() == len(alone)


def test_markets_do_not_mix_and_the_order_stays() -> None:
    (a, a_deals), (b, b_deals) = frames(1, "A"), frames(2, "B")
    mixed = pl.concat([a, b]).with_row_index("i").sort(pl.col("i") % 50, "i").drop("i")
    got = compute_rolling_features(mixed, CONFIG, pl.concat([b_deals, a_deals]))
    for name, df, deals in (("A", a, a_deals), ("B", b, b_deals)):
        assert got.filter(pl.col("symbol") == name).equals(compute_rolling_features(df, CONFIG, deals))
    assert got["symbol"].to_list()[:4] == ["A", "B", "A", "B"]


def test_no_rows() -> None:
    got = extract_structural_features(frames(1)[0].head(0), CONFIG)
    assert got.height == 0
    assert "mid" in got.columns


def test_a_frame_without_books_is_refused() -> None:
    with pytest.raises(SchemaError, match="no column 'bids'"):
        extract_structural_features(frames(1)[0].drop("bids"))


def test_options_switch_columns_off_and_defaults_serve() -> None:
    df, _ = frames(1)
    assert "mid" not in extract_structural_features(df, FeatureConfig(compute_features=False)).columns
    assert "ofi" not in compute_rolling_features(df, FeatureConfig(enable_stateful=False)).columns
    assert "bid_price_l19" in extract_structural_features(df).columns


def test_arrow_carries_types_units_and_nulls() -> None:
    features = FeatureSet(CONFIG)
    rows = random_rows(np.random.default_rng(1), 50)
    batch = features.to_arrow(features.apply(features.new_state(), book(rows, 3))[1])
    batch.validate(full=True)
    assert batch.schema.field("ts").type == pa.int64()
    assert batch.schema.field("is_reset").type == pa.int8()
    assert batch.schema.field("ofi").metadata == {
        b"unit": b"base",
        b"doc": b"order-flow imbalance at the touch, + is buying pressure",
    }
    assert batch.schema.metadata[b"daedalus.features"].decode() == features.fingerprint
    assert batch.column("seq").null_count > 0
    assert batch.column("ofi")[0].as_py() is None


def test_importing_the_package_loads_no_compiler() -> None:
    code = "import sys, daedalus.etl.features.config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numba", "polars", "pyarrow"} & set(done.stdout.split())


def test_an_unknown_name_is_an_attribute_error() -> None:
    import daedalus.etl.features as package

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
