"""A lake that an older version wrote stays readable: a schema with fewer columns, beside segments of today's."""

import json
import sqlite3
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from daedalus.cli.main import app
from daedalus.lake.lake import open_lake
from daedalus.shared.events import Trade
from daedalus.storage.ledger import Ledger
from tests.unit.lake.bronze import HOUR, T0, S, write_events

#: Columns that trades of an older schema, version 0, did not have.
LATER = ("cost", "info_json")


def trade(at: int, number: int) -> Trade:
    more = {"price": 100.0 + number, "amount": 1.0, "cost": 100.0 + number, "info_json": "{}"}
    return Trade(
        collected_at=at, exchange="coinbase", symbol="BTC-USD", timestamp=at // 1000, trade_id=str(number), **more
    )


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    """Two hours of an older version, then one of this."""
    base = tmp_path_factory.mktemp("older")
    write_events(base, [trade(T0 + n * 60 * S, n) for n in range(120)])
    for path in base.rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        old = table.drop_columns(list(LATER))
        footer = {**(pq.read_metadata(path).metadata), b"daedalus.schema_version": b"0"}
        with pq.ParquetWriter(path, old.schema) as writer:
            writer.write_table(old)
            writer.add_key_value_metadata({k: v for k, v in footer.items() if k.startswith(b"daedalus.")})
    write_events(base, [trade(T0 + 2 * HOUR + n * 60 * S, 120 + n) for n in range(60)])
    return base


def test_rows_of_both_are_scanned_and_what_was_not_recorded_is_null(lake):
    rows = open_lake(lake).scan("trades", symbol="BTC/USD").collect()
    assert rows["trade_id"].to_list() == [str(n) for n in range(180)]
    assert rows["cost"].null_count() == 120 and rows["cost"].drop_nulls().to_list() == [
        100.0 + n for n in range(120, 180)
    ]
    only_old = open_lake(lake).scan("trades", end="2025-06-19T15:00").collect()
    assert only_old.height == 60 and only_old.columns == rows.columns and only_old["info_json"].null_count() == 60


def test_sql_and_replay_read_both(lake):
    found = open_lake(lake).sql("select count(*) n, count(cost) known, sum(price) total from trades")
    assert found.rows() == [(180, 60, sum(100.0 + n for n in range(180)))]
    events = list(open_lake(lake).replay(["BTC/USD"], ["trades"]))
    assert [event.trade_id for event in events] == [str(n) for n in range(180)]
    assert [event.cost is None for event in events] == [True] * 120 + [False] * 60


def test_features_of_both(lake, tmp_path):
    flags = ["features", "trades", "--input", str(lake), "--output", str(tmp_path), "--symbol", "BTC/USD"]
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == 0, done.output
    silver = pl.concat(pl.read_parquet(p, hive_partitioning=False) for p in sorted(tmp_path.rglob("*.parquet")))
    assert silver.height == 180 and silver["price"].null_count() == 0


def test_verify_takes_what_an_older_version_wrote_and_no_newer_one(lake, tmp_path):
    done = CliRunner().invoke(app, ["verify", str(lake), "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["segments"], report["rows"]) == (0, 3, 180), report["findings"]
    newer = tmp_path / "newer.parquet"
    table = pq.read_table(next(lake.rglob("*.parquet")), partitioning=None)
    footer = pq.read_metadata(next(lake.rglob("*.parquet"))).metadata
    with pq.ParquetWriter(newer, table.schema) as writer:
        writer.add_key_value_metadata({**footer, b"daedalus.schema_version": b"2"})
        writer.write_table(table)
    done = CliRunner().invoke(app, ["verify", str(newer)])
    assert done.exit_code == 1 and "schema version 2; this one knows 1" in done.output


def test_the_ledger_of_an_older_version_is_brought_up(tmp_path):
    with Ledger(tmp_path) as ledger:
        path = ledger.path
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE copies")
        db.execute("PRAGMA user_version = 1")
    db.close()
    with Ledger(tmp_path) as ledger:
        assert ledger.last_copies() == {} and ledger.rows("PRAGMA user_version") == [(2,)]
