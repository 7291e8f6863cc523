"""The table of encodings: what it chooses, and that what it chooses stays small on real markets."""

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import recorded
from benchmarks.sizes import Size, ndjson_bytes, segment_sizes, total
from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.encoding import DEEP_LEVELS, ROW_GROUP_ROWS, parquet_options
from daedalus.shared.schemas import CHANNELS, arrow_schema
from daedalus.testing.events import seeded_events

PARTITION = ("exchange", "symbol", "year", "month", "day", "hour")
SIDES = ("bids.list.element.price", "bids.list.element.size", "asks.list.element.price", "asks.list.element.size")


def written(table: pa.Table, level: int = 3) -> pq.FileMetaData:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, **parquet_options(table.schema, "zstd", level, table)) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return pq.ParquetFile(sink, page_checksum_verification=True).metadata


def encodings(table: pa.Table) -> dict[str, set[str]]:
    group = written(table).row_group(0)
    return {c.path_in_schema: set(c.encodings) for c in map(group.column, range(group.num_columns))}


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_column_of_every_channel_is_encoded_by_the_table(channel):
    batch = dict(record_batches(seeded_events(2000)))[channel]
    found = encodings(pa.Table.from_batches([batch]))
    for name in ("collected_at", "capture_ts"):
        assert "DELTA_BINARY_PACKED" in found[name]
    for name in ("exchange", "symbol"):
        assert "RLE_DICTIONARY" in found[name]


def test_the_schema_comes_back_without_being_stored():
    for channel in CHANNELS:
        schema = arrow_schema(channel, PARTITION)
        sink = io.BytesIO()
        pq.ParquetWriter(sink, schema, **parquet_options(schema, "zstd", 3)).close()
        file = pq.ParquetFile(sink)
        assert file.schema_arrow.equals(schema)
        assert b"ARROW:schema" not in (file.metadata.metadata or {})


@pytest.mark.parametrize(
    ("name", "values", "has_dictionary"),
    [
        ("info_json", [f'{{"side":"{side}"}}' for side in ("BUY", "SELL") * 500], True),
        ("info_json", [f'{{"u":{n}}}' for n in range(1000)], False),
        ("amount", [float(n % 100) for n in range(1000)], True),
        ("amount", [float(n % 500) for n in range(1000)], False),
        ("amount", [None] * 1000, False),
        ("price", [float(n % 100) for n in range(1000)], False),
        ("trade_id", [str(n) for n in range(1000)], False),
        ("frame", ["same"] * 1000, False),
    ],
)
def test_a_dictionary_is_used_where_it_pays(name, values, has_dictionary):
    kind = pa.float64() if name in ("amount", "price") else pa.string()
    table = pa.table({name: pa.array(values, kind)})
    assert ("RLE_DICTIONARY" in encodings(table)[name]) is has_dictionary


@pytest.mark.parametrize(("distinct", "has_dictionary"), [(128, False), (129, True), (256, True), (257, False)])
def test_book_sides_have_a_dictionary_where_its_index_is_one_byte(distinct, has_dictionary):
    level = pa.struct([("price", pa.float64()), ("size", pa.float64())])
    rows = [[{"price": float((n + i) % distinct), "size": 1.0} for i in range(20)] for n in range(600)]
    found = encodings(pa.table({"bids": pa.array(rows, pa.list_(level))}))
    assert ("RLE_DICTIONARY" in found["bids.list.element.price"]) is has_dictionary
    assert "RLE_DICTIONARY" not in found["bids.list.element.size"]


def test_statistics_are_kept_where_a_reader_can_skip_by_them():
    batch = dict(record_batches(seeded_events(2000)))["orderbook"]
    group = written(pa.Table.from_batches([batch])).row_group(0)
    has = {c.path_in_schema: c.is_stats_set for c in map(group.column, range(group.num_columns))}
    assert {name for name, is_set in has.items() if not is_set} == set(SIDES)


def test_levels_go_with_what_was_asked_for():
    schema = arrow_schema("orderbook", PARTITION)
    levels = parquet_options(schema, "zstd", 3)["compression_level"]
    assert {levels[side] for side in SIDES} == {3 + DEEP_LEVELS}
    assert levels["collected_at"] == 3
    assert max(parquet_options(schema, "zstd", 22)["compression_level"].values()) == 22
    assert set(parquet_options(schema, "gzip", 9)["compression_level"].values()) == {9}
    for codec in ("snappy", "none"):
        assert parquet_options(schema, codec, 3)["compression_level"] is None


@pytest.mark.parametrize("codec", ["zstd", "gzip", "snappy", "none"])
def test_every_codec_gives_back_every_value(codec):
    for _, batch in record_batches(seeded_events(1000, seed=random.Random(3).randrange(100))):
        table, sink = pa.Table.from_batches([batch]), io.BytesIO()
        with pq.ParquetWriter(sink, table.schema, **parquet_options(table.schema, codec, 3, table)) as writer:
            writer.write_table(table)
        assert pq.ParquetFile(sink, page_checksum_verification=True).read().equals(table)


# -- sizes on real markets ---------------------------------------------------------------------------------------------


def sizes_of(recordings, *makers) -> dict[tuple[str, str], Size]:
    return segment_sizes([event for maker in makers for event in maker(recordings)])


def test_books_take_16_bytes_a_row_and_a_45th_of_their_json(recordings):
    """The busiest of the ten markets fills a segment at least a little; all ten together carry ten footers for 30 s."""
    events = list(recorded.capture_books(recordings))
    sizes = segment_sizes(events)
    busiest = sizes["orderbook", "SKL-USD"]
    assert busiest.rows == 2592
    assert busiest.per_row <= 16
    assert ndjson_bytes([e for e in events if e.symbol == "SKL-USD"]) >= 45 * busiest.bytes
    every = total(sizes.values())
    assert every.rows == len(events) == 9719
    assert every.per_row <= 20
    assert ndjson_bytes(events) >= 45 * every.bytes


def test_books_of_a_liquid_market_take_16_bytes_a_row(recordings):
    events = list(recorded.session_books(recordings))
    size = total(segment_sizes(events).values())
    assert size.rows > 17_000
    assert size.per_row <= 16
    assert ndjson_bytes(events[::10]) * 10 >= 45 * size.bytes


def test_trades_take_25_bytes_a_row(recordings):
    makers = (recorded.hour_of_trades, recorded.day_of_trades, recorded.binance_trades, recorded.capture_trades)
    sizes = sizes_of(recordings, *makers)
    for symbol in ("BTC-USD", "ETH-USD", "BTCUSDT"):
        assert sizes["trades", symbol].per_row <= 25, symbol
    assert total(sizes.values()).per_row <= 25


def test_tickers_take_18_bytes_a_row(recordings):
    sizes = sizes_of(recordings, recorded.binance_tickers, recorded.capture_tickers)
    assert sizes["ticker", "BTCUSDT"].per_row <= 18
    assert total(sizes.values()).per_row <= 18
