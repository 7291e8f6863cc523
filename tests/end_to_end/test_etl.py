"""Bronze to silver to gold through the command line, on a lake of three hours and two markets."""

import json
import lzma
import re
import secrets
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import daedalus
from daedalus.lake.lake import Pick
from daedalus.storage.clouds import S3Storage
from daedalus.testing.s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.end_to_end.commands import run, run_alone, script
from tests.unit.etl.core.bronze import HOUR, T0, S, books, gap, trades, write_bronze

SILVER = "processed/coinbase/orderbook/silver"
GOLD = "processed/coinbase/bars/gold"
START = T0 + HOUR // 2


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with silver and gold, made by the commands. Tests write elsewhere."""
    base = tmp_path_factory.mktemp("etl") / "lake"
    for seed, symbol in enumerate(("BTC/USD", "ETH/USD")):
        write_bronze(base, "orderbook", books(START, 2400, 2 * S, seed=seed), symbol=symbol)
        write_bronze(base, "trades", trades(START, 800, 6 * S, seed=seed), symbol=symbol)
    write_bronze(base, "gaps", [gap(START + 898 * S, START + 900 * S)], symbol="BTC/USD")
    features = run_alone("features", "orderbook", "--base-dir", base, cwd=base.parent)
    bars = run_alone("bars", "--base-dir", base, "--durations", "1,60,900", cwd=base.parent)
    assert "rows/s" in features.stdout and "4,800" in features.stdout
    # Of each market: hours, rows in and out, skipped, failed.
    for done, counts in ((features, r"2 +2,400 +2,400 +0 +0"), (bars, r"2 +3,200 +[\d,]+ +0 +0")):
        assert [len(re.findall(rf"coinbase +{symbol}-USD +{counts} ", done.stdout)) for symbol in ("BTC", "ETH")] == [
            1,
            1,
        ]
    return base


def rows(root: Path) -> pl.DataFrame:
    frame = pl.read_parquet(root / "**/*.parquet", hive_partitioning=False)
    return frame.sort("exchange", "symbol", "collected_at" if "collected_at" in frame.columns else "bar_start")


def test_silver_has_a_row_a_book(lake: Path) -> None:
    frame = rows(lake / SILVER)
    assert frame.height == 4800
    assert frame.group_by("symbol").len().sort("symbol").rows() == [("BTC-USD", 2400), ("ETH-USD", 2400)]
    # The first row of each market, and the first after the gap.
    assert frame.filter(pl.col("is_reset") == 1).height == 3
    floats = frame.select(pl.col(pl.Float64))
    assert not any(floats.select(pl.all().is_nan().any()).row(0))
    assert not any(floats.select(pl.all().is_infinite().any()).row(0))


@pytest.mark.parametrize("layer", [SILVER, f"{GOLD}/duration=60"])
def test_readers_prune_and_agree_with_the_path(lake: Path, layer: str) -> None:
    pattern = str(lake / layer / "**/*.parquet")
    frame = pl.scan_parquet(pattern, hive_partitioning=True).filter(symbol="BTC-USD", hour=15).collect()
    assert frame.height > 0
    assert set(frame["hour"]) == {15}
    counted = duckdb.sql(
        f"SELECT count(*), min(symbol) FROM read_parquet('{pattern}', hive_partitioning = true) "
        "WHERE symbol = 'BTC-USD' AND hour = 15"
    ).fetchall()
    assert counted == [(frame.height, "BTC-USD")]


def test_all_widths_are_read_as_one_table(lake: Path) -> None:
    frame = pl.scan_parquet(str(lake / GOLD / "**/*.parquet"), hive_partitioning=True).collect()
    assert sorted(set(frame["duration"])) == [1, 60, 900]


def test_bars_fit_silver_and_trades(lake: Path) -> None:
    bars, silver = rows(lake / GOLD / "duration=60"), rows(lake / SILVER)
    for symbol in ("BTC-USD", "ETH-USD"):
        own, books_of = bars.filter(symbol=symbol), silver.filter(symbol=symbol)
        assert own["bar_start"].diff().drop_nulls().unique().to_list() == [60 * S]
        last = own["bar_end"].max()
        assert own["n_updates"].sum() == books_of.filter(pl.col("ts") < last).height
        assert own["ofi_sum"].sum() == pytest.approx(books_of.filter(pl.col("ts") < last)["ofi"].sum())
        per_second = rows(lake / GOLD / "duration=1").filter(pl.col("symbol") == symbol, pl.col("bar_end") <= last)
        assert per_second["volume"].sum() == pytest.approx(own["volume"].sum())
        assert per_second["n_trades"].sum() == own["n_trades"].sum()


def test_hours_one_by_one_give_the_bars_of_one_go(lake: Path, tmp_path: Path) -> None:
    for hour in (14, 15):
        arguments = ["--input", lake, "--output", tmp_path, "--durations", "1,60,900"]
        run("bars", *arguments, "--symbol", "BTC/USD", "--hour", hour, "--day", 19, cwd=tmp_path)
    for duration in (1, 60, 900):
        whole = rows(lake / GOLD / f"duration={duration}").filter(symbol="BTC-USD")
        assert rows(tmp_path / GOLD / f"duration={duration}").equals(whole)


def test_bars_of_one_channel_alone(lake: Path, tmp_path: Path) -> None:
    whole = rows(lake / GOLD / "duration=60").filter(symbol="BTC-USD")
    for channel, own, others in (("trades", "volume", "n_updates"), ("orderbook", "n_updates", "volume")):
        arguments = ["--input", lake, "--output", tmp_path / channel, "--durations", 60, "--channel", channel]
        run("bars", *arguments, "--symbol", "BTC/USD", cwd=tmp_path)
        alone = rows(tmp_path / channel / GOLD / "duration=60")
        assert alone[others].sum() == 0
        both = whole.join(alone, on="bar_start", suffix="_alone")
        assert both.height > 1
        assert both[own].equals(both[f"{own}_alone"], check_names=False)
    assert "--channel one of them" in run("bars", "--base-dir", lake, "--channel", "l2", cwd=tmp_path, code=2).stderr


def test_the_script_does_the_same(lake: Path, tmp_path: Path) -> None:
    done = script(
        "run_orderbook_features.py", "--input", lake, "--output", tmp_path, "--symbol", "ETH-USD", cwd=tmp_path
    )
    assert "files opened" in done.stdout
    assert rows(tmp_path / SILVER).equals(rows(lake / SILVER).filter(symbol="ETH-USD"))
    done = script("run_bars.py", "--input", tmp_path, "--durations", "900", "--partial", cwd=tmp_path)
    assert "note: coinbase ETH-USD: nothing under" in done.stderr
    assert rows(tmp_path / GOLD)["is_partial"].to_list()[-1] == 1


def test_a_dry_run_tells_and_does_nothing(lake: Path, tmp_path: Path) -> None:
    arguments = ["--input", lake, "--output", tmp_path / "out", "--symbol", "BTC/USD", "--hour", 14, "--dry-run"]
    text = run("features", "orderbook", *arguments, cwd=tmp_path).stdout
    assert "would read 3 files and write 1; nothing was done" in text
    assert (
        f"write  {tmp_path / 'out' / SILVER}/exchange=coinbase/symbol=BTC-USD/year=2025/month=06/day=19/hour=14" in text
    )
    assert not (tmp_path / "out").exists()


def test_settings_act(lake: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "storage: {paths: {tier_features: s2, tier_aggregates: g2}}\n"
        "etl:\n"
        "  channels:\n"
        "    orderbook: {partition_cols: [exchange, symbol, date], processor_options: {max_levels: 3, ofi_levels: 2}}\n"
        "    bars: {partition_cols: [date, exchange, symbol]}\n"
    )
    common = ["--input", lake, "--output", tmp_path, "--config", config, "--symbol", "BTC-USD"]
    run("features", "orderbook", *common, cwd=tmp_path)
    run("bars", *common, "--set", "etl.channels.orderbook.processor_options.bar_durations=[300]", cwd=tmp_path)
    (silver,) = (tmp_path / "processed/coinbase/orderbook/s2").rglob("*.parquet")
    assert silver.parent.name == "date=2025-06-19"
    columns = pl.read_parquet_schema(silver)
    assert "ask_price_l2" in columns and "ask_price_l3" not in columns
    (gold,) = (tmp_path / "processed/coinbase/bars/g2/duration=300").rglob("*.parquet")
    assert str(gold.relative_to(tmp_path)).endswith("date=2025-06-19/exchange=coinbase/symbol=BTC-USD/bars.parquet")
    off = ["--set", "etl.channels.bars.enabled=false"]
    assert "etl.channels.bars.enabled" in run("bars", *common, *off, cwd=tmp_path, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--symbol", "BTC/USDT"], "no symbol BTC-USDT: did you mean BTC-USD"),
        (["--hour", "3"], "--exchange coinbase --symbol ETH-USD  2025-06-19T14:00 to 2025-06-19T16:00"),
        (["--from", "tomorrow"], "2025-06-19T14:00"),
        (["--from", "2025-06-20", "--to", "2025-06-19"], "is not before"),
    ],
)
def test_what_cannot_be_is_explained(lake: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in run("features", "orderbook", "--base-dir", lake, *arguments, cwd=tmp_path, code=2).stderr
    assert words in run("bars", "--base-dir", lake, *arguments, cwd=tmp_path, code=2).stderr


def test_an_empty_lake_is_explained(tmp_path: Path) -> None:
    done = run("features", "orderbook", "--base-dir", tmp_path, cwd=tmp_path, code=1)
    assert "nothing is recorded under" in done.stderr


def test_a_corrupt_segment_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    for symbol in ("BTC/USD", "ETH/USD"):
        write_bronze(tmp_path, "orderbook", books(T0, 50, S), symbol=symbol)
    (segment,) = (tmp_path / "raw").rglob("symbol=BTC-USD/**/*.parquet")
    segment.write_bytes(segment.read_bytes()[:-9])
    done = run("features", "orderbook", "--base-dir", tmp_path, cwd=tmp_path, code=1)
    assert f"failed: coinbase BTC-USD: {segment} cannot be read" in done.stderr
    assert set(rows(tmp_path / SILVER)["symbol"]) == {"ETH-USD"}
    assert not list(tmp_path.rglob("*.tmp"))


def test_from_bucket_to_bucket_is_the_same_to_the_byte(lake: Path, tmp_path: Path, s3_server: S3Server) -> None:
    bronze, out = (S3Storage(**s3_server.options(f"{secrets.token_hex(6)}/{name}")) for name in ("in", "out"))
    for path in sorted((lake / "raw").rglob("*.parquet")):
        bronze.put_file(path.relative_to(lake).as_posix(), path)
    places = ["--input", bronze.url, "--output", out.url, "--symbol", "BTC/USD"]
    for section in ("input", "output"):
        places += ["--set", f"storage.etl_storage_{section}.s3.endpoint_url={s3_server.endpoint_url}"]
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    planned = run("features", "orderbook", *places, "--dry-run", cwd=tmp_path, env=keys).stdout
    assert f"write  {out.url}/{SILVER}" in planned
    for command in (["features", "orderbook"], ["bars", "--durations", "1,60,900"]):
        told = run(*command, *places, cwd=tmp_path, env=keys)
        assert not any(key in told.stdout + told.stderr for key in keys.values())
    assert list(tmp_path.iterdir()) == [], "nothing is left on this machine"
    want = {
        path.relative_to(lake).as_posix(): path for path in (lake / "processed").rglob("symbol=BTC-USD/**/*.parquet")
    }
    assert sorted(info.key for info in out.list()) == sorted(want)
    assert all(out.get(key) == path.read_bytes() for key, path in want.items())
    seen = pl.scan_parquet(f"{out.url}/{SILVER}/**/*.parquet", storage_options=out.scan_options()).collect()
    assert seen.height == 2400


def bitstamp(recordings: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the books (top five) and trades of the first hours of the Bitstamp recording."""
    path = recordings / "bitstamp_btcusd_20150501" / "btcusd_20150501_0000-1600.log.xz"
    found: dict[str, list[dict[str, Any]]] = {"order_book": [], "trade": []}
    with lzma.open(path, "rt") as lines:
        for line in lines:
            received_ms, event, text = line.split(" ", 2)
            if event in found:
                found[event].append({"collected_at": int(received_ms) * 1_000_000, **json.loads(text)})
            if len(found["order_book"]) == 4000:
                break

    def levels(side: list[list[str]]) -> list[dict[str, float]]:
        return [{"price": float(price), "size": float(size)} for price, size in side[:5]]

    snapshots = [
        {"collected_at": row["collected_at"], "bids": levels(row["bids"]), "asks": levels(row["asks"])}
        for row in found["order_book"]
    ]
    executed = [
        {"collected_at": row["collected_at"], "price": float(row["price"]), "amount": float(row["amount"])}
        for row in found["trade"]
    ]
    return snapshots, executed


def test_bars_of_a_real_recording_equal_those_of_polars(recordings: Path, tmp_path: Path) -> None:
    snapshots, executed = bitstamp(recordings)
    write_bronze(tmp_path, "orderbook", snapshots, exchange="bitstamp", source="bitstamp", row_group=500)
    write_bronze(tmp_path, "trades", executed, exchange="bitstamp", source="bitstamp", row_group=70)
    common = ["--base-dir", tmp_path, "--source", "bitstamp"]
    run("features", "orderbook", *common, cwd=tmp_path)
    run("bars", *common, "--durations", "60", "--partial", cwd=tmp_path)
    bars = rows(tmp_path / "processed/bitstamp/bars/gold").filter(pl.col("n_trades") > 0)
    price, size = pl.col("price"), pl.col("amount")
    wanted = (
        pl.DataFrame(executed)
        .with_columns(bar_start=pl.col("collected_at") // (60 * S) * (60 * S))
        .group_by("bar_start", maintain_order=True)
        .agg(
            open=price.first(),
            high=price.max(),
            low=price.min(),
            close=price.last(),
            volume=size.sum(),
            notional=(price * size).sum(),
            n_trades=pl.len().cast(pl.Int64),
        )
    )
    assert bars["bar_start"].to_list() == wanted["bar_start"].to_list()
    for name in wanted.columns[1:]:
        assert bars[name].to_list() == pytest.approx(wanted[name].to_list(), rel=1e-12), name
    # The recording tells no side: the quote or the last change of price does, for all but the first trades.
    sided = bars["n_buys"].sum() + bars["n_sells"].sum()
    assert len(executed) - 5 <= sided <= len(executed)


def test_features_and_bars_through_the_lake(lake: Path) -> None:
    api = daedalus.open_lake(lake)
    assert api.tables == ["trades", "orderbook", "gaps", "orderbook_features", "bars_1s", "bars_60s", "bars_900s"]
    for line in api.catalog().iter_rows(named=True):
        rows = api.scan(line["table"], symbol=line["symbol"])
        assert rows.select(pl.len()).collect().item() == line["rows"], line
    bars = api.scan("bars_60s", symbol="BTC/USD").collect()
    picks = {
        "b": Pick("bars_60s", "BTC/USD", ["bar_end", "close"]),
        "f": Pick("orderbook_features", "ETH/USD", ["mid"]),
    }
    grid = api.align(picks, int(bars["bar_start"][0]), int(bars["bar_end"][-1]), "10s").collect()
    known = grid.drop_nulls()
    assert known.height > 400 and (known["b_bar_end"] <= known["ts"]).all()
    assert (known["ts"] - known["b_bar_end"] < 60 * S).all()
    joined = api.sql("select count(*) n from bars_60s b join trades t using (symbol, hour) where t.day = 19")
    assert joined["n"][0] > 0
