"""What people read a lake with gives back what was recorded, value for value, and skips what is not asked for."""

import asyncio
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PartitionKey
from daedalus.shared.schemas import CHANNELS, PARTITION_DTYPES, arrow_schema, arrow_type
from daedalus.testing.clock import FakeClock
from daedalus.testing.events import START_NS, seeded_events

#: Spellings that a reader may take for something else: a path, a number, a date, a truth.
SYMBOLS = ("BTC/USDT:USDT", "1000", "2025-06-27", "true", "ß é")
LAYOUTS = {
    "default": tuple(DEFAULT_PARTITION_COLUMNS),
    "date": ("exchange", "date", "symbol"),
    "date and hour": ("exchange", "symbol", "date", "hour"),
}
SQL_TYPES = {"string": "VARCHAR", "int32": "INTEGER", "date": "DATE"}


@pytest.fixture(scope="module", params=LAYOUTS)
def lake(request, tmp_path_factory):
    """The ready directory of a lake of all channels over two hours, its layout, and the events in it."""
    columns = LAYOUTS[request.param]
    return record(tmp_path_factory.mktemp("lake"), columns, SYMBOLS)


def record(base, columns, symbols):
    events = list(seeded_events(2000, symbols=symbols, step_ns=3_000_000_000))

    async def run():
        writer = StreamingParquetWriter(base_dir=base, source="testex", partition_by=columns, clock=FakeClock(START_NS))
        await writer.start()
        await writer.write(events)
        await writer.close()

    asyncio.run(run())
    return base / "raw" / "ready" / "testex", columns, events


def recorded(events, channel, columns):
    """The rows of a channel as they must come back, made without any file."""
    batch = dict(record_batches(events))[channel]
    keys = [PartitionKey.of(*row) for row in zip(*(batch[n].to_pylist() for n in KEY), strict=True)]
    table = pa.Table.from_batches([batch])
    for name in columns:
        values = pa.array([key.values([name])[name] for key in keys], arrow_type(PARTITION_DTYPES[name]))
        at = table.schema.get_field_index(name)
        table = table.append_column(name, values) if at < 0 else table.set_column(at, name, values)
    return table.sort_by("collected_at")


KEY = ("exchange", "symbol", "collected_at")


def polars(root, columns, where=None):
    frame = pl.scan_parquet(f"{root}/**/*.parquet", hive_partitioning=True)
    for name, value in (where or {}).items():
        frame = frame.filter(pl.col(name) == value)
    return frame.collect().to_arrow()


def duck(root, columns, where=None):
    types = ", ".join(f"'{name}': {SQL_TYPES[PARTITION_DTYPES[name]]}" for name in columns)
    query = f"SELECT * FROM read_parquet('{root}/**/*.parquet', hive_partitioning = true, hive_types = {{{types}}})"
    if where:
        query += " WHERE " + " AND ".join(f"{name} = '{value}'" for name, value in where.items())
    with duckdb.connect() as connection:
        return connection.sql(query).to_arrow_table()


def arrow(root, columns, where=None):
    partitioning = ds.partitioning(
        pa.schema([(name, arrow_type(PARTITION_DTYPES[name])) for name in columns]), flavor="hive"
    )
    chosen = [pc.field(name) == value for name, value in (where or {}).items()]
    data = ds.dataset(root, format="parquet", partitioning=partitioning)
    return data.to_table(filter=chosen[0] & chosen[1] if chosen else None)


READERS = {"polars": polars, "duckdb": duck, "pyarrow": arrow}


def assert_equal(found: pa.Table, wanted: pa.Table) -> None:
    found = found.sort_by("collected_at")
    assert set(found.schema.names) == set(wanted.schema.names)
    for name in wanted.schema.names:
        assert found[name].to_pylist() == wanted[name].to_pylist(), name


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel_comes_back_value_for_value(lake, channel, reader):
    ready, columns, events = lake
    assert_equal(READERS[reader](ready / channel, columns), recorded(events, channel, columns))


@pytest.mark.parametrize("channel", CHANNELS)
def test_types_are_the_declared_ones(lake, channel):
    """The Arrow schema is not stored in the file: Parquet's own says as much."""
    ready, columns, _ = lake
    path = next((ready / channel).glob("**/*.parquet"))
    assert pq.read_schema(path).remove_metadata().equals(arrow_schema(channel, columns))
    frame = pl.scan_parquet(path, hive_partitioning=True).collect_schema()
    assert frame == pl.from_arrow(arrow_schema(channel, columns).empty_table()).schema


@pytest.mark.parametrize("reader", READERS)
def test_directories_that_are_not_asked_for_are_not_read(lake, tmp_path, reader):
    """Other files are no Parquet at all: who opened one would fail. Readers look at the first file for the columns."""
    ready, columns, _ = lake
    first, *others = sorted((ready / "trades").glob("**/*.parquet"))
    chosen = others[len(others) // 2]
    root = tmp_path / "trades"
    for path in (first, *others):
        copy = root / path.relative_to(ready / "trades")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes() if path in (first, chosen) else b"garbage")
    data = pq.ParquetFile(chosen).read()
    inner = columns[-1] if columns[-1] != "symbol" else "date"
    where = {"symbol": data["symbol"][0].as_py(), inner: data[inner][0].as_py()}
    found = READERS[reader](root, columns, where)
    assert_equal(found, data.sort_by("collected_at"))


def test_a_market_whose_name_is_a_number_stays_text(tmp_path):
    ready, columns, events = record(tmp_path, LAYOUTS["date"], ("1000",))
    for read in READERS.values():
        assert_equal(read(ready / "trades", columns), recorded(events, "trades", columns))


def test_without_the_directories_duckdb_gives_the_same(lake):
    ready, columns, events = lake
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT * FROM read_parquet('{ready}/trades/**/*.parquet', hive_partitioning = false)")
        assert_equal(found.to_arrow_table(), recorded(events, "trades", columns))


def test_one_file_alone_holds_its_partition_s_values(lake):
    ready, columns, _ = lake
    path: Path = next((ready / "orderbook").glob("**/*.parquet"))
    for table in (pq.read_table(path, partitioning=None), pl.read_parquet(path, hive_partitioning=False).to_arrow()):
        assert set(columns) <= set(table.schema.names)
