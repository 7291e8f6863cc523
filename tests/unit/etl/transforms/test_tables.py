"""Trade and ticker features through files: any cut into segments and row groups gives the engine's own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from daedalus.etl.core.config import FeatureConfig, FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.features.chunks import book_chunk, trade_chunk
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.registry import Table
from daedalus.etl.features.tickers import ticker_chunk
from daedalus.etl.transforms.base import Transform
from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
from daedalus.etl.transforms.ticker import TickerFeatureTransform
from daedalus.etl.transforms.trades import TradesFeatureTransform
from daedalus.shared.errors import ConfigError
from daedalus.shared.schemas import arrow_schema
from tests.unit.etl.core.bronze import HOUR, T0, S, books, tickers, trades, write_bronze

CONFIG = FeatureConfig(max_levels=3, horizons=(1, 30), feature_set="core", include=("ticker_quote", "trade_rv_30s"))
# Two minutes around an hour's end.
START = T0 + HOUR - 60 * S
BOOKS = books(START, 600, S // 5)
TRADES = [*trades(START - S, 130), {"collected_at": START + 50 * S, "trade_id": "bad", "price": 1.0, "amount": 0.0}]
TICKERS = tickers(START + S // 3, 110)
MADE: dict[Table, type[Any]] = {
    "orderbook": OrderbookFeatureTransform,
    "trades": TradesFeatureTransform,
    "ticker": TickerFeatureTransform,
}


def write(base: Path, segments: int = 1, row_group: int = 1000) -> None:
    for journal in range(segments):
        for channel, rows in (("orderbook", BOOKS), ("trades", TRADES), ("ticker", TICKERS)):
            part = rows[journal::segments]
            write_bronze(base, channel, part, exchange="bybit", journal=journal, row_group=row_group)


def made(base: Path, table: Table, chosen: FilterSpec | None = None, **target: Any) -> list[Path]:
    transform: Transform = MADE[table](CONFIG)
    report = TransformExecutor(transform, InputConfig(base), OutputConfig(base, **target)).run(chosen or FilterSpec())
    assert report.failures == []
    return sorted((base / "processed" / "coinbase" / table).rglob("*.parquet"))


def direct(table: Table) -> pa.Table:
    """Return what the engine says to everything at once."""
    features = FeatureSet(CONFIG, table=table)

    def bronze(channel: str, rows: list[dict[str, Any]]) -> pa.Table:
        ordered = sorted(rows, key=lambda row: row["collected_at"])
        return pa.Table.from_pylist([{**row, "exchange": "bybit"} for row in ordered], schema=arrow_schema(channel))

    given = (book_chunk(bronze("orderbook", BOOKS), features.levels), trade_chunk(bronze("trades", TRADES)))
    outputs = features.apply(features.new_state(), *given, ticker_chunk(bronze("ticker", TICKERS)))[1]
    return pa.Table.from_batches([features.to_arrow(outputs)])


@pytest.mark.parametrize(("segments", "row_group"), [(1, 1000), (3, 37)])
@pytest.mark.parametrize("table", MADE)
def test_silver_is_what_the_engine_computes_at_once(
    tmp_path: Path, table: Table, segments: int, row_group: int
) -> None:
    write(tmp_path, segments, row_group)
    paths = made(tmp_path, table)
    assert [path.parent.name for path in paths] == ["hour=14", "hour=15"]
    silver, wanted = pa.concat_tables([pq.ParquetFile(path).read() for path in paths]), direct(table)
    assert silver.select(wanted.schema.names).equals(wanted)
    assert silver["collected_at"].to_pylist() == sorted(row["collected_at"] for row in _rows(table))


def _rows(table: Table) -> list[dict[str, Any]]:
    return {"orderbook": BOOKS, "trades": TRADES, "ticker": TICKERS}[table]


def test_a_trade_keeps_its_id_price_and_size(tmp_path: Path) -> None:
    write(tmp_path)
    silver = pa.concat_tables([pq.ParquetFile(path).read() for path in made(tmp_path, "trades")])
    assert silver.schema.names[:7] == ["ts", "exchange", "symbol", "trade_id", "price", "amount", "collected_at"]
    row = silver.filter(pc.equal(silver["trade_id"], "bad")).to_pylist()
    assert [(r["price"], r["amount"], r["side"], r["tfi_30s"]) for r in row] == [(1.0, 0.0, None, None)]
    assert silver.field("effective_spread_bps").metadata[b"unit"] == b"bps"
    assert set(silver["exchange"].to_pylist()) == {"bybit"}


@pytest.mark.parametrize("table", ["trades", "ticker"])
def test_partition_columns_act(tmp_path: Path, table: Table) -> None:
    write(tmp_path)
    (path,) = made(tmp_path, table, partition_cols=("date", "exchange", "symbol"))
    assert str(path).endswith("date=2025-06-19/exchange=bybit/symbol=BTC-USD/features.parquet")
    assert pq.ParquetFile(path).read()["date"].to_pylist()[0].isoformat() == "2025-06-19"


def test_without_books_or_trades_their_columns_are_empty(tmp_path: Path) -> None:
    write_bronze(tmp_path, "trades", TRADES, exchange="bybit")
    write_bronze(tmp_path, "ticker", TICKERS, exchange="bybit")
    alone = pa.concat_tables([pq.ParquetFile(path).read() for path in made(tmp_path, "trades")])
    assert alone["mid"].null_count == alone["effective_spread_bps"].null_count == alone.num_rows
    assert alone["tfi_30s"].null_count == 1
    quoted = pa.concat_tables([pq.ParquetFile(path).read() for path in made(tmp_path, "ticker")])
    assert quoted["premium_bps"].null_count == quoted.num_rows
    assert quoted["basis_bps"].null_count == 0


def test_books_read_tickers_only_for_their_columns() -> None:
    plain = OrderbookFeatureTransform(FeatureConfig())
    assert "ticker" not in [spec.name for spec in plain.inputs]
    assert "ticker" in [spec.name for spec in OrderbookFeatureTransform(CONFIG).inputs]


def test_a_limit_stops_early_and_replaces_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    executor = TransformExecutor(TradesFeatureTransform(CONFIG), InputConfig(tmp_path), OutputConfig(tmp_path / "try"))
    report = executor.run(FilterSpec(), limit=25)
    assert (report.rows_out, report.failures) == (25, [])
    with pytest.raises(ConfigError, match="--limit would replace"):
        executor.run(FilterSpec(), limit=25)
    whole = executor.run(FilterSpec())
    assert whole.rows_out == len(TRADES)
