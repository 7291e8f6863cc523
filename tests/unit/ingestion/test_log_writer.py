"""NDJSON segments: what a line looks like, that nothing of a value is lost, and the file beside them."""

import hashlib
import json
import os

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daedalus.ingestion.convert import Target, convert_segments, ndjson_segments
from daedalus.ingestion.writers import ndjson_segment, sealing, segment_file
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.log_writer import LogWriter
from daedalus.ingestion.writers.ndjson_rows import from_lines, to_lines
from daedalus.ingestion.writers.ndjson_segment import read_rows, read_sidecar, sidecar_path
from daedalus.ingestion.writers.rows_digest import RowsDigest
from daedalus.shared.errors import ConfigError, CorruptError
from daedalus.shared.events import BookSnapshot, Trade, pack_levels
from daedalus.shared.schemas import CHANNELS, arrow_schema
from daedalus.storage import local
from daedalus.testing.clock import FakeClock
from daedalus.testing.events import START_NS, seeded_events
from tests.unit.ingestion.lakes import INT64_MAX, INT64_MIN, bits, hard_events, sealed_lake

PARTITION = ("exchange", "symbol", "year", "month", "day", "hour")


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """Nobody pulls the plug here, and hundreds of syncs are most of the time."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)


def plain_rows(path):
    """The lines, read with nothing of ours."""
    data = pa.input_stream(str(path), compression="zstd" if path.suffix == ".zst" else None).read()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


async def test_a_line_is_the_columns_of_the_schema_in_order(tmp_path):
    writer = LogWriter(base_dir=tmp_path, source="testex", clock=FakeClock(START_NS), compression="none")
    await writer.start()
    common = {"collected_at": START_NS + 123_456_789, "exchange": "testex", "symbol": "BTC/USD"}
    book = pack_levels([(100.5, 1.0), (100.0, 0.25)])
    await writer.write([BookSnapshot(**common, timestamp=START_NS // 1000, nonce=7, bids=book)])
    await writer.close()
    (path,) = ndjson_segments(writer.paths.ready)
    folder = "orderbook/exchange=testex/symbol=BTC-USD/year=2025/month=06/day=19/hour=14"
    assert path.parent == tmp_path / "raw/ready/testex" / folder
    assert path.name.startswith("segment_20250619T140000000000000Z-") and path.name.endswith(
        "_000000000-000000000.ndjson"
    )
    assert list(plain_rows(path)[0].items()) == [
        ("collected_at", START_NS + 123_456_789),
        ("capture_ts", "2025-06-19T14:00:00.123456Z"),
        ("exchange", "testex"),
        ("symbol", "BTC-USD"),
        ("timestamp", "2025-06-19T14:00:00.000000Z"),
        ("nonce", 7),
        ("bids", [[100.5, 1.0], [100.0, 0.25]]),
        ("asks", []),
        *(("year", 2025), ("month", 6), ("day", 19), ("hour", 14)),
    ]
    beside = json.loads(sidecar_path(path).read_bytes())
    assert beside["footer"]["symbol"] == "BTC/USD" and beside["footer"]["rows"] == 1
    assert beside["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4"])
def test_other_compressions_are_refused_in_words(tmp_path, compression):
    with pytest.raises(ConfigError, match="ndjson takes zstd, none"):
        LogWriter(base_dir=tmp_path, source="testex", compression=compression)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_people_s_readers_read_it(tmp_path, compression):
    ready, _ = sealed_lake(tmp_path, "ndjson", compression=compression, flushes=[list(seeded_events(900))])
    suffix = "ndjson.zst" if compression == "zstd" else "ndjson"
    paths = sorted(ready.glob(f"trades/**/*.{suffix}"))
    ids = sorted(row["trade_id"] for path in paths for row in plain_rows(path))
    assert sorted(t for path in paths for t in pl.read_ndjson(path)["trade_id"]) == ids
    query = f"select trade_id, epoch_us(timestamp), price from read_json('{ready}/trades/**/*.{suffix}')"
    found = duckdb.sql(query).fetchall()
    assert sorted(str(row[0]) for row in found) == ids
    assert not [path for path in ready.glob("**/segment_*") if not path.name.endswith(suffix)]


def test_zstd_is_worth_it(tmp_path):
    events = [list(seeded_events(2000))]
    sizes = {}
    for compression in ("zstd", "none"):
        ready, _ = sealed_lake(tmp_path / compression, "ndjson", compression=compression, flushes=events)
        sizes[compression] = sum(path.stat().st_size for path in ndjson_segments(ready))
    assert sizes["zstd"] < sizes["none"] / 3


def test_hard_values_come_back_to_the_bit():
    for channel, batch in record_batches(hard_events()):
        lines = to_lines(batch).splitlines()
        assert all(json.loads(line) for line in lines)
        again = from_lines(lines, batch.schema)
        assert bits(again.cast(storage(batch.schema)).to_pylist()) == bits(
            batch.cast(storage(batch.schema)).to_pylist()
        )
        assert digest(again) == digest(batch), channel


def storage(schema):
    """Times as their numbers: Python has no datetime of the year 10,000."""
    return pa.schema([pa.field(f.name, pa.int64() if pa.types.is_timestamp(f.type) else f.type) for f in schema])


def digest(*batches):
    found = RowsDigest()
    for batch in batches:
        found.add(batch)
    return found.value()


int64 = st.integers(INT64_MIN, INT64_MAX)
floats = st.floats(allow_nan=False) | st.just(float("nan"))  # JSON has no payload of a NaN
rows_of_all_types = st.lists(
    st.fixed_dictionaries(
        {
            "whole": st.none() | int64,
            "number": st.none() | floats,
            "text": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
            "time": st.none() | int64,
            "flag": st.none() | st.booleans(),
            "small": st.none() | st.integers(-(2**31), 2**31 - 1),
            "date": st.none() | st.integers(-719_162, 2_932_896),
            "levels": st.lists(st.fixed_dictionaries({"price": floats, "size": floats}), max_size=3),
        }
    ),
    min_size=1,
    max_size=8,
)
_ORDERBOOK = arrow_schema("orderbook")
SCHEMA = pa.schema(
    {
        "whole": pa.int64(),
        "number": pa.float64(),
        "text": pa.string(),
        "time": _ORDERBOOK.field("timestamp").type,
        "flag": pa.bool_(),
        "small": pa.int32(),
        "date": pa.date32(),
        "levels": _ORDERBOOK.field("bids").type,
    }
)


@settings(max_examples=60, deadline=None)
@given(rows_of_all_types, st.integers(0, 3))
def test_any_rows_come_back(rows, start):
    numbers = {"date": pa.int32(), "time": pa.int64()}
    arrays = [
        pa.array([row[f.name] for row in rows], numbers.get(f.name, f.type)).view(f.type)
        if f.name in numbers
        else pa.array([row[f.name] for row in rows], f.type)
        for f in SCHEMA
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=SCHEMA).slice(start)
    assert digest(from_lines(to_lines(batch).splitlines(), SCHEMA)) == digest(batch)


def test_a_digest_sees_each_change_and_no_cut():
    batch = next(batch for channel, batch in record_batches(seeded_events(200)) if channel == "orderbook")
    assert digest(batch.slice(0, 7), batch.slice(7)) == digest(batch)
    assert digest(batch.slice(1)) != digest(batch)
    assert digest(batch.take(pa.array([1, 0, *range(2, batch.num_rows)]))) != digest(batch)
    zero, minus, nothing = (
        record_batches([Trade(collected_at=1, exchange="x", symbol="y", price=p)])[0][1] for p in (0.0, -0.0, None)
    )
    assert len({digest(zero), digest(minus), digest(nothing)}) == 3
    names = [
        record_batches([Trade(collected_at=1, exchange="x", symbol="y", trade_id=t) for t in texts])[0][1]
        for texts in (("ab", "c"), ("a", "bc"), ("", "abc"), (None, "abc"))
    ]
    assert len({digest(batch) for batch in names}) == 4


GOOD = b'{"number": 1.5, "levels": [[1.0, 2.0]]}'


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"[1]",
        b'{"number": 1.5}',
        b'{"levels": [], "number": 1.5}',
        b'{"number": 1.5, "levels": [], "more": 1}',
        b'{"number": "one", "levels": []}',
        b'{"number": [1], "levels": []}',
        b'{"number": 1.5, "levels": null}',
        b'{"number": 1.5, "levels": [[1.0]]}',
        b'{"number": 1.5, "levels": [[1.0, 2.0, 3.0], [1.0]]}',
        b'{"number": 1.5, "levels": [[1.0, null]]}',
        b'{"number": 1.5, "levels": [1.0]}',
        b'{"number": 1.5, "levels": "ab"}',
        b'{"number": 1.5, "levels": ["ab"]}',
        GOOD[:-3] + b"\xff" + GOOD[-3:],
    ],
)
def test_a_damaged_line_is_named(line):
    schema = pa.schema({name: SCHEMA.field(name).type for name in ("number", "levels")})
    assert from_lines([GOOD], schema).num_rows == 1
    with pytest.raises(CorruptError):
        from_lines([GOOD, line], schema)


@pytest.mark.parametrize(
    "column, value", [("timestamp", "yesterday"), ("timestamp", 1.5), ("collected_at", 2**63), ("collected_at", 1.5)]
)
def test_a_value_that_does_not_fit_its_column_is_named(column, value):
    batch = record_batches([Trade(collected_at=START_NS, exchange="x", symbol="y")])[0][1]
    row = {**json.loads(to_lines(batch)), column: value}
    with pytest.raises(CorruptError, match=column):
        from_lines([json.dumps(row).encode()], batch.schema)


def test_reading_a_damaged_file_is_an_error_never_other_rows(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson")
    path = max(ndjson_segments(ready), key=lambda p: p.stat().st_size)
    data = path.read_bytes()
    schema = arrow_schema(path.relative_to(ready).parts[0], PARTITION)
    want = digest(*read_rows(path, schema))
    assert read_sidecar(path).footer.rows > 0
    for damaged in (data[:-9], data[: len(data) // 2], b"x" + data, data + b"x", b"\x00" * len(data)):
        path.write_bytes(damaged)
        with pytest.raises(CorruptError):
            list(read_rows(path, schema))
        with pytest.raises(CorruptError, match="SHA-256"):
            read_sidecar(path)
    path.write_bytes(data)
    assert digest(*read_rows(path, schema)) == want
    sidecar_path(path).write_bytes(b"{")
    with pytest.raises(CorruptError, match="cannot be read"):
        read_sidecar(path)
    sidecar_path(path).unlink()
    assert read_sidecar(path) is None


def test_an_endless_line_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(ndjson_segment, "LINE_BYTES_MAX", 1000)
    monkeypatch.setattr(ndjson_segment, "BLOCK_BYTES", 100)
    path = tmp_path / "endless.ndjson"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(CorruptError, match="more than 1000 bytes"):
        list(read_rows(path, arrow_schema("trades")))


def test_blocks_and_batches_do_not_show(tmp_path, monkeypatch):
    ready, _ = sealed_lake(tmp_path / "large", "ndjson")
    monkeypatch.setattr(ndjson_segment, "BATCH_ROWS", 3)
    monkeypatch.setattr(ndjson_segment, "BLOCK_BYTES", 2000)
    small, _ = sealed_lake(tmp_path / "small", "ndjson")
    for path in ndjson_segments(ready):
        assert plain_rows(small / path.relative_to(ready)) == plain_rows(path)


def content(ready):
    return {path.relative_to(ready): plain_rows(path) for path in ndjson_segments(ready)}


def test_sealing_may_die_at_any_publication(tmp_path, monkeypatch):
    flushes = [list(seeded_events(40, symbols=("ETH/USD",)))]
    ready, data = sealed_lake(tmp_path / "whole", "ndjson", flushes=flushes)
    want = content(ready)
    for step in range(0, 2 * len(want), 3):  # an odd stride meets sidecars and segments
        folder, left = tmp_path / f"step{step}", [step]
        paths = RawPaths(folder, "testex")
        journal = journal_of(next(iter(want)), paths)
        journal.write_bytes(data)

        def dies(temp, final, *, overwrite=False, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return local.publish(temp, final, overwrite=overwrite)

        for module in (segment_file, ndjson_segment):
            monkeypatch.setattr(module, "publish", dies)
        with pytest.raises(KeyboardInterrupt):
            sealing.seal(journal, paths)
        assert all(sidecar_path(path).exists() for path in ndjson_segments(paths.ready))
        for module in (segment_file, ndjson_segment):
            monkeypatch.setattr(module, "publish", local.publish)
        sealing.seal(journal, paths)
        assert content(paths.ready) == want
        assert all(read_sidecar(path) for path in ndjson_segments(paths.ready))
        assert list(paths.active.iterdir()) == []


def journal_of(segment, paths):
    paths.active.mkdir(parents=True, exist_ok=True)
    return paths.active / f"{segment.name.split('_')[1]}.journal"


def test_sealing_again_after_a_conversion_doubles_nothing(tmp_path):
    ready, data = sealed_lake(tmp_path, "ndjson")
    paths = RawPaths(tmp_path, "testex")
    journal = journal_of(ndjson_segments(ready)[0], paths)
    assert all(outcome.problem is None for outcome in convert_segments(paths, Target()))
    before = {path: path.stat().st_mtime_ns for path in ready.glob("**/segment_*")}
    journal.write_bytes(data)
    sealing.seal(journal, paths)
    assert {path: path.stat().st_mtime_ns for path in ready.glob("**/segment_*")} == before
    assert not journal.exists() and ndjson_segments(ready) == []


def test_every_channel_can_be_told(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", end=False)
    assert {path.relative_to(ready).parts[0] for path in ndjson_segments(ready)} == set(CHANNELS)
