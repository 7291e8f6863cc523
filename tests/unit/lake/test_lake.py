"""Scan, SQL and catalogue: exact files, exact ranges, right types, and errors that say what there is."""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import daedalus
from daedalus.lake.lake import Lake
from daedalus.shared.errors import ConfigError, NotFoundError, SchemaError, StorageError
from daedalus.shared.partitioning import PartitionKey
from daedalus.storage.clouds import S3Storage
from daedalus.testing.s3_server import S3Server
from tests.unit.etl.core.bronze import HOUR, T0, S, books, trades, write_bronze


def write_made(base: Path, folder: str, time: str, rows: dict[str, list[int]], symbol: str = "BTC-USD") -> None:
    """Write silver or gold by the hour, as the executor lays it out."""
    frame = pl.DataFrame(rows)
    for (hour,), part in frame.group_by(pl.col(time) // HOUR, maintain_order=True):
        key = PartitionKey.of("coinbase", symbol, hour * HOUR)  # type: ignore[operator]
        place = base / "processed" / "coinbase" / folder / key.path()
        place.mkdir(parents=True)
        values = {name: pl.lit(value) for name, value in key.values().items()}
        part.with_columns(**values).write_parquet(place / "features.parquet")


def bars(first: int, count: int, width: int = 60) -> dict[str, list[int]]:
    starts = [first + n * width * S for n in range(count)]
    return {"bar_start": starts, "bar_end": [at + width * S for at in starts], "close": list(range(count))}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("lake")
    for seed, symbol in enumerate(("BTC/USD", "ETH/USD")):
        write_bronze(base, "trades", trades(T0 + HOUR // 2, 100, 72 * S, seed=seed), symbol=symbol)
    write_bronze(base, "trades", trades(T0, 10), symbol="007", source="other", exchange="kraken")
    write_bronze(base, "orderbook", books(T0, 10))
    write_made(base, "bars/gold/duration=60", "bar_start", bars(T0, 120))
    write_made(base, "bars/gold/bar=volume-12.5", "bar_start", bars(T0, 5))
    clock = [T0 + n * 600 * S for n in range(12)]
    write_made(base, "orderbook/silver", "collected_at", {"ts": clock, "collected_at": clock, "mid": list(range(12))})
    return base


@pytest.fixture(scope="module")
def lake(base: Path) -> Lake:
    return daedalus.open_lake(base)


def test_the_package_stays_light() -> None:
    heavy = "import sys, daedalus; sys.exit(any(m in sys.modules for m in ('polars', 'duckdb', 'pyarrow', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0
    with pytest.raises(AttributeError, match="open_lakes"):
        daedalus.open_lakes  # noqa: B018


def test_tables_have_one_name(lake: Lake) -> None:
    assert lake.tables == ["trades", "orderbook", "orderbook_features", "bars_60s", "bars_volume_12_5"]
    assert lake.scan("bars_volume-12.5").collect().height == 5


@pytest.mark.parametrize("symbol", ["BTC/USD", "BTC-USD"])
def test_rows_are_cut_to_the_instant_in_either_spelling(lake: Lake, symbol: str) -> None:
    every = lake.scan("trades", symbol=symbol).collect()
    assert set(every["symbol"]) == {"BTC-USD"} and every.height == 100
    clock = every["collected_at"]
    start, end = clock[20], clock[60]
    part = lake.scan("trades", symbol=symbol, start=start, end=end, columns=["collected_at", "price"]).collect()
    assert part.equals(every.select("collected_at", "price")[20:60])
    text = dt.datetime.fromtimestamp(end // S, dt.UTC)
    assert lake.scan("trades", symbol=symbol, start=start, end=text).collect().equals(every[20:60])
    naive = lake.scan("trades", symbol=symbol, start="2025-06-19T15:00", end=dt.date(2025, 6, 20)).collect()
    assert naive.equals(every.filter(pl.col("collected_at") >= T0 + HOUR))
    assert lake.scan("bars_60s", start=T0 + 30 * S, end=T0 + 180 * S).collect()["close"].to_list() == [1, 2]


def test_only_the_files_of_the_range_are_named(lake: Lake) -> None:
    plan = lake.scan("trades", symbol="ETH-USD", start="2025-06-19T15:00", end="2025-06-19T16:00").explain()
    assert "hour=15" in plan and "hour=14" not in plan and "BTC-USD" not in plan and "*" not in plan.split("\n")[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lake: lake.scan("trade"), r"has no table 'trade': did you mean trades\? There are trades, orderbook"),
        (
            lambda lake: lake.scan("trades", symbol="DOGE/USD"),
            r"(?s)in trades matches symbol DOGE-USD.*coinbase, symbol E",
        ),
        (
            lambda lake: lake.scan("trades", start="2030-01-01"),
            r"from 2030-01-01T00:00:00. There are:\n  exchange coin",
        ),
        (lambda lake: lake.scan("trades", start=5, end=5), "start 5 is not before end 5"),
        (lambda lake: lake.scan("trades", start="noon"), "'noon' is no time"),
        (lambda lake: lake.scan("trades", columns=["prices"]), r"trades has no column 'prices': did you mean price\?"),
        (lambda lake: lake.sql("select * from tradez"), r"(?s)tradez does not exist.*Tables: trades, orderbook"),
        (lambda lake: lake.sql("select pric from trades"), '"pric" not found'),
        (lambda lake: lake.sql("selec"), "syntax error"),
        (lambda lake: lake.sql("-- nothing"), "the statement gives no rows"),
    ],
)
def test_errors_say_what_there_is(lake: Lake, call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((ConfigError, SchemaError), match=message):
        call(lake)


def test_no_lake_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no directory"):
        daedalus.open_lake(tmp_path / "absent")
    with pytest.raises(NotFoundError, match=r"nothing is recorded under .*above raw/"):
        daedalus.open_lake(tmp_path).scan("trades")
    with pytest.raises(ConfigError, match="ftp://host: give a directory"):
        daedalus.open_lake("ftp://host/x")
    with pytest.raises(ConfigError, match="region are for object stores"):
        daedalus.open_lake(tmp_path, region="x")
    assert daedalus.open_lake(tmp_path).catalog().is_empty()


def test_files_of_other_columns(tmp_path: Path) -> None:
    for hour, extra in ((0, "old"), (1, "new")):
        rows = {"ts": [T0], "collected_at": [T0 + hour * HOUR], extra: [hour]}
        write_made(tmp_path, "orderbook/silver", "collected_at", rows)
    lake = daedalus.open_lake(tmp_path)
    want = {"old": [0, None], "new": [None, 1]}
    assert lake.scan("orderbook_features").collect().select("old", "new").to_dict(as_series=False) == want
    assert lake.sql("from orderbook_features select old, new order by hour").to_dict(as_series=False) == want


def check_sql(lake: Lake) -> None:
    rows = lake.sql("select exchange, symbol, hour, count(*) n from trades group by all order by all")
    assert rows.schema["hour"] == pl.Int32 and rows.schema["symbol"] == pl.String
    assert rows.row(-1) == ("kraken", "007", 14, 10)
    same = lake.scan("trades", exchange="coinbase").group_by("symbol", "hour").agg(n=pl.len()).sort("symbol", "hour")
    assert rows.filter(exchange="coinbase").select("symbol", "hour", pl.col("n").cast(pl.UInt32)).equals(same.collect())
    joined = lake.sql(
        "select t.symbol, f.mid from trades t asof join orderbook_features f"
        " on t.symbol = f.symbol and t.collected_at >= f.collected_at"
        " where t.exchange = 'coinbase' and t.hour = 15 order by t.collected_at"
    )
    assert joined.height == 50 and joined["mid"].to_list() == sorted(joined["mid"])
    assert lake.sql("select * from bars_60s").columns == lake.scan("bars_60s").collect_schema().names()
    ts = lake.sql("select min(capture_ts) t from trades")["t"]
    assert ts.dtype == pl.Datetime("us", "UTC") and ts[0] == dt.datetime(2025, 6, 19, 14, tzinfo=dt.UTC)


def test_sql(lake: Lake) -> None:
    check_sql(lake)


def test_a_query_opens_only_the_files_that_its_filter_allows(base: Path, lake: Lake, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for path in base.rglob("*.parquet"):
        target = copy / path.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        is_other = "symbol=ETH-USD" in str(path) and "hour=15" in str(path)
        target.write_bytes(b"damaged" if is_other else path.read_bytes())
    query = "select sum(amount) s from trades where symbol = 'BTC-USD' and hour = 15"
    assert daedalus.open_lake(copy).sql(query).equals(lake.sql(query))
    with pytest.raises(StorageError, match="hour=15"):
        daedalus.open_lake(copy).sql("select sum(amount) from trades")


def test_catalog(base: Path, lake: Lake) -> None:
    found = lake.catalog()
    trades_ = found.filter(table="trades")
    assert trades_.select("source", "exchange", "symbol", "hours", "segments", "rows").rows() == [
        ("coinbase", "coinbase", "BTC-USD", 3, 3, 100),
        ("coinbase", "coinbase", "ETH-USD", 3, 3, 100),
        ("other", "kraken", "007", 1, 1, 10),
    ]
    assert trades_["start"][0] == dt.datetime(2025, 6, 19, 14, tzinfo=dt.UTC)
    assert trades_["end"][0] == dt.datetime(2025, 6, 19, 17, tzinfo=dt.UTC)
    assert found.filter(table="bars_60s")["rows"].to_list() == [120]
    assert found["bytes"].sum() == sum(path.stat().st_size for path in base.rglob("*.parquet"))
    assert lake.catalog("trades", symbol="BTC/USD", start="2025-06-19T16:00")["hours"].to_list() == [1]
    assert lake.catalog("trades", symbol="DOGE").is_empty()


def test_a_lake_shows_itself(base: Path, lake: Lake) -> None:
    text, html = repr(lake), lake._repr_html_()
    assert text.startswith(f"Lake at {base}\ntable ")
    assert "coinbase BTC-USD, coinbase ETH-USD, kraken 007" in text
    assert "<td>bars_60s</td>" in html and "<script" not in html


def test_the_same_from_an_object_store(base: Path, lake: Lake, s3_server: S3Server) -> None:
    options = s3_server.options("lake-api")
    store = S3Storage(**options)  # type: ignore[arg-type]
    for path in base.rglob("*.parquet"):
        store.put_file(path.relative_to(base).as_posix(), path)
    bucket, prefix = options.pop("bucket"), options.pop("prefix")
    far = daedalus.open_lake(f"s3://{bucket}/{prefix}", **options)
    assert far.catalog().equals(lake.catalog())
    start, end = T0 + HOUR, T0 + 2 * HOUR
    near, there = (x.scan("trades", symbol="BTC/USD", start=start, end=end).collect() for x in (lake, far))
    assert near.equals(there) and near.height == 50
    assert list(far.replay("BTC-USD")) == list(lake.replay("BTC-USD"))
    check_sql(far)
