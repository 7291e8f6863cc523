"""Trades and tickers to silver through the command line, on real recordings, against formulas in NumPy."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from daedalus.shared.schemas import arrow_schema
from tests.end_to_end.commands import run, script
from tests.unit.etl.core.bronze import S, write_bronze

TRADES = 3000


def silver(base: Path, source: str, table: str) -> pl.DataFrame:
    root = base / "processed" / source / table / "silver"
    return pl.read_parquet(root / "**/*.parquet", hive_partitioning=False).sort("collected_at", maintain_order=True)


def csv(path: Path) -> pl.DataFrame:
    with gzip.open(path) as file:
        return pl.read_csv(file.read())


def gemini(recordings: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the first trades of the recorded day, and the best bid and ask of every second until the last of them."""
    name = "trades/gemini__eth-usd__2021-07-01__{}.csv.gz"
    trades = csv(recordings / name.format("trade")).head(TRADES)
    ns = (pl.col("time_seconds") * 1000).round().cast(pl.Int64) * 1_000_000
    trades = trades.with_columns(ts=ns)
    books = csv(recordings / name.format("market-depth"))
    sides = [
        pl.col(f"{side}_price_{side}_size").str.split_exact("_", 1).struct.rename_fields([side, f"{side}_size"])
        for side in ("bid", "ask")
    ]
    books = books.with_columns(ts=pl.col("time_seconds").cast(pl.Int64) * S).with_columns(sides)
    books = books.unnest("bid_price_bid_size", "ask_price_ask_size").with_columns(
        pl.col("bid", "ask", "bid_size", "ask_size").cast(pl.Float64)
    )
    return trades, books.filter(pl.col("ts") <= trades["ts"].max())


@pytest.fixture(scope="module")
def day(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Trades and books of the Gemini recording, and silver of the trades."""
    trades, books = gemini(recordings)
    base = tmp_path_factory.mktemp("gemini")
    made = [
        {"collected_at": ts, "timestamp": ts // 1000, "price": p, "amount": q, "side": "sell" if maker else "buy"}
        for ts, p, q, maker in trades.select("ts", "price", "size", "is_buyer_maker").rows()
    ]
    write_bronze(base, "trades", made, exchange="gemini", symbol="ETH-USD")
    snapshots = [
        {"collected_at": ts, "timestamp": ts // 1000, "bids": [_level(b, bq)], "asks": [_level(a, aq)]}
        for ts, b, bq, a, aq in books.select("ts", "bid", "bid_size", "ask", "ask_size").rows()
    ]
    write_bronze(base, "orderbook", snapshots, exchange="gemini", symbol="ETH-USD")
    out = run("features", "trades", "--base-dir", base, "--symbol", "ETH/USD", "--feature-set", "full", cwd=base)
    assert f"{TRADES:,}" in out.stdout
    return trades, books, silver(base, "coinbase", "trades")


def _level(price: float, size: float) -> dict[str, float]:
    return {"price": price, "size": size}


def test_trades_of_a_real_day_against_the_book_before(
    day: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
) -> None:
    trades, books, got = day
    ts, price, size = (trades[name].to_numpy() for name in ("ts", "price", "size"))
    side = np.where(trades["is_buyer_maker"].to_numpy() == 1, -1.0, 1.0)
    before = np.searchsorted(books["ts"].to_numpy(), ts, side="left") - 1
    assert (before >= 0).all() and (ts - books["ts"].to_numpy()[before] <= 300 * S).all()
    bid, ask, bid_size, ask_size = (books[n].to_numpy()[before] for n in ("bid", "ask", "bid_size", "ask_size"))
    mid, micro = (bid + ask) / 2, (bid_size * ask + ask_size * bid) / (bid_size + ask_size)
    through = np.where(side > 0, price - ask, bid - price)
    wanted = {
        "ts": ts,
        "side": side,
        "signed_size": side * size,
        "signed_notional": side * price * size,
        "price_vs_mid_bps": (price - mid) / mid * 1e4,
        "price_vs_micro_bps": (price - micro) / micro * 1e4,
        "effective_spread_bps": 2 * side * (price - mid) / mid * 1e4,
        "trade_through_bps": np.maximum(0.0, through / mid * 1e4),
        "size_vs_touch": size / np.where(side > 0, ask_size, bid_size),
    }
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name].to_numpy(), values, rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(got["trade_dt_s"].to_numpy()[1:], np.diff(ts) / 1e9, rtol=1e-12)
    notional = price * size
    large = [notional[j] >= np.quantile(notional[max(0, j - 1000) : j], 0.95) for j in range(100, TRADES)]
    assert got["large_trade"].to_list() == [None] * 100 + [int(is_large) for is_large in large]


def test_windows_at_trades_of_a_real_day_hold_no_later_trade(
    day: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
) -> None:
    trades, _, got = day
    ts, size = trades["ts"].to_numpy(), trades["size"].to_numpy()
    signed = size * np.where(trades["is_buyer_maker"].to_numpy() == 1, -1.0, 1.0)
    assert (np.diff(ts) == 0).any()
    for w in (1, 60, 900):
        first = np.searchsorted(ts, ts - w * S, side="right")
        spans = [slice(a, j + 1) for j, a in enumerate(first)]
        assert got[f"n_trades_{w}s"].to_list() == [span.stop - span.start for span in spans]
        for name, values in (("volume", size), ("tfi", signed)):
            sums = [values[span].sum() for span in spans]
            np.testing.assert_allclose(got[f"{name}_{w}s"].to_numpy(), sums, rtol=1e-9, atol=1e-9, err_msg=name)
        medians = [np.median(size[span]) for span in spans]
        np.testing.assert_allclose(got[f"trade_size_median_{w}s"].to_numpy(), medians, rtol=1e-12)
    ages = [np.exp2(-(ts[j] - ts[: j + 1]) / 1e9 / 60) for j in range(TRADES)]
    rates = [np.log(2) / 60 * age.sum() for age in ages]
    np.testing.assert_allclose(got["trade_intensity_hl60s"].to_numpy(), rates, rtol=1e-9)


def test_an_imported_futures_session(recordings: Path, tmp_path: Path) -> None:
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/binance_usdm_btcusdt_20240808"]
    files = [recordings / "binance_raw" / name for name in golden["files"]]
    common = ("--base-dir", "lake", "--source", "binance-raw")
    run("import", "--format", "binance-raw", "--base-dir", "lake", *files, cwd=tmp_path)
    script("run_trades_features.py", *common, "--feature-set", "core", cwd=tmp_path)
    run("features", "ticker", *common, cwd=tmp_path)
    trades = silver(tmp_path / "lake", "binance-raw", "trades")
    assert trades.height == golden["n_trades"]
    assert trades["signed_size"].sum() == pytest.approx(
        float(golden["taker_buy_qty"]) - float(golden["taker_sell_qty"]), rel=1e-9
    )
    assert trades["notional"].sum() == pytest.approx(float(golden["sum_price_x_qty"]), rel=1e-12)
    assert set(trades["side_source"]) == {0}
    assert trades["effective_spread_bps"].null_count() < trades.height / 10
    run("features", "ticker", *common, "--output", "try", "--limit", 10, "--feature-set", "full", cwd=tmp_path)
    assert silver(tmp_path / "try", "binance-raw", "ticker").height == 10
    tickers = silver(tmp_path / "lake", "binance-raw", "ticker")
    assert tickers.height == golden["by_type"]["bookTicker"]
    # A bookTicker has quotes and nothing else.
    assert tickers["last_price"].null_count() == tickers["mark_price"].null_count() == tickers.height
    assert tickers["mid"].null_count() < tickers.height / 10
    root = tmp_path / "lake/raw/ready/binance-raw/ticker"
    bronze = pl.read_parquet(root / "**/*.parquet", hive_partitioning=False)
    assert bronze.columns[: len(arrow_schema("ticker").names)] == arrow_schema("ticker").names
    assert sorted(bronze["collected_at"]) == tickers["collected_at"].to_list()
