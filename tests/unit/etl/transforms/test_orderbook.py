"""Order book features through files: any cut into segments, row groups and hours gives the engine's own numbers."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.etl.core.config import FeatureConfig, FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.features.chunks import book_chunk, trade_chunk
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.transforms.base import Market
from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
from daedalus.shared.schemas import arrow_schema
from tests.unit.etl.core.bronze import HOUR, T0, S, books, gap, trades, write_bronze

CONFIG = FeatureConfig(max_levels=5, ofi_levels=3, horizons=(1, 30), vpin_bucket_volume=0.5, vpin_window_buckets=5)
# Two minutes around an hour's end, five books and a trade a second.
START = T0 + HOUR - 60 * S
BOOKS = books(START, 600, S // 5)
TRADES = trades(START - S, 130)
GAP = gap(BOOKS[40]["collected_at"], BOOKS[41]["collected_at"])


def silver(base: Path) -> pa.Table:
    executor = TransformExecutor(OrderbookFeatureTransform(CONFIG), InputConfig(base), OutputConfig(base))
    report = executor.run(FilterSpec())
    assert report.failures == []
    paths = sorted((base / "processed").rglob("*.parquet"))
    assert [path.parent.name for path in paths] == ["hour=14", "hour=15"]
    return pa.concat_tables([pq.ParquetFile(path).read() for path in paths])


def direct() -> pa.Table:
    """Return what the engine says to everything at once."""
    features = FeatureSet(CONFIG)
    book = pa.Table.from_pylist(BOOKS, schema=arrow_schema("orderbook"))
    resets = [i == 41 for i in range(len(BOOKS))]
    _, outputs = features.apply(
        features.new_state(),
        book_chunk(book, CONFIG.max_levels, pa.array(resets).to_numpy(zero_copy_only=False)),
        trade_chunk(pa.Table.from_pylist(TRADES, schema=arrow_schema("trades"))),
    )
    return pa.Table.from_batches([features.to_arrow(outputs)])


@pytest.fixture(scope="module")
def wanted() -> pa.Table:
    return direct()


@pytest.mark.parametrize("row_group", [1000, 37])
@pytest.mark.parametrize("segments", [1, 3])
def test_silver_is_what_the_engine_computes_at_once(
    tmp_path: Path, wanted: pa.Table, row_group: int, segments: int
) -> None:
    for journal in range(segments):
        # Every third row in another segment: they overlap wholly.
        write_bronze(tmp_path, "orderbook", BOOKS[journal::segments], journal=journal, row_group=row_group)
        write_bronze(tmp_path, "trades", TRADES[journal::segments], journal=journal, row_group=row_group)
    write_bronze(tmp_path, "gaps", [GAP])
    found = silver(tmp_path)
    assert found.select(wanted.schema.names).equals(wanted)
    assert found["collected_at"].to_pylist() == [row["collected_at"] for row in BOOKS]


def test_trades_and_gaps_reach_the_features(tmp_path: Path) -> None:
    write_bronze(tmp_path, "orderbook", BOOKS)
    write_bronze(tmp_path, "trades", TRADES)
    write_bronze(tmp_path, "gaps", [GAP, gap(1, 2, "trades")])
    found = silver(tmp_path)
    assert [i for i, reset in enumerate(found["is_reset"].to_pylist()) if reset] == [0, 41]
    assert found["ofi"].null_count == 2
    assert found["vpin"].null_count < 300


def test_a_gap_of_the_whole_connection_counts(tmp_path: Path) -> None:
    write_bronze(tmp_path, "orderbook", BOOKS)
    write_bronze(tmp_path, "gaps", [gap(BOOKS[40]["collected_at"], None, "ALL")], symbol="ALL")
    assert [i for i, reset in enumerate(silver(tmp_path)["is_reset"].to_pylist()) if reset] == [0, 41]


def test_identity_comes_first_and_partition_last(tmp_path: Path) -> None:
    write_bronze(tmp_path, "orderbook", BOOKS)
    found = silver(tmp_path)
    assert found.schema.names[:5] == ["ts", "exchange", "symbol", "seq", "collected_at"]
    assert found.schema.names[-4:] == ["year", "month", "day", "hour"]
    assert set(found["exchange"].to_pylist()) == {"coinbase"}
    assert found["seq"].to_pylist() == list(range(600))
    assert found.schema.field("mid").metadata[b"unit"] == b"quote"
    metadata = found.schema.metadata
    assert metadata[b"daedalus.feature_set"].decode() == FeatureSet(CONFIG).fingerprint
    assert metadata[b"daedalus.schema_version"] == b"1"


def test_a_book_that_repeats_its_number_has_no_row() -> None:
    rows = [{**BOOKS[0]}, {**BOOKS[1], "nonce": 0}, {**BOOKS[2]}]
    table = pa.Table.from_pylist(rows, schema=arrow_schema("orderbook"))
    nothing: Iterator[pa.Table] = iter(())
    transform = OrderbookFeatureTransform(CONFIG)
    streams = {"orderbook": iter([table]), "trades": nothing, "gaps": iter(())}
    ((_, found),) = transform.run(Market("x", "y"), streams)
    assert found["collected_at"].to_pylist() == [rows[0]["collected_at"], rows[2]["collected_at"]]
