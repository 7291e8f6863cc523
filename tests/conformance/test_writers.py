"""What every writer promises. Parametrised by the table: a new writer is tested by being listed."""

import asyncio
import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.ingestion.writers.ndjson_segment import read_rows, read_sidecar
from daedalus.ingestion.writers.registry import WRITERS
from daedalus.shared.errors import StorageError
from daedalus.shared.events import Trade, channel_of, row_count
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, parse_partition_path
from daedalus.shared.schemas import arrow_schema
from daedalus.shared.segment import SegmentFooter, SegmentName
from daedalus.testing.clock import FakeClock
from daedalus.testing.events import START_NS, seeded_events


@pytest.fixture(params=WRITERS)
def make(request, tmp_path):
    def build(**options):
        defaults = {"base_dir": tmp_path, "source": "testex", "clock": FakeClock(START_NS)}
        return WRITERS[request.param](**{**defaults, **options})

    return build


def segments(writer, channel="*"):
    return sorted(writer.paths.ready.glob(f"{channel}/**/segment_*"))


def read(path):
    """The rows of a segment of any format, as an Arrow table."""
    if path.suffix == ".parquet":
        return pq.read_table(path, partitioning=None)
    parts = path.parts[path.parts.index("testex") + 1 : -1]
    columns = tuple(part.partition("=")[0] for part in parts[1:])
    return pa.Table.from_batches(list(read_rows(path, arrow_schema(parts[0], columns))))


def footer_of(path):
    """What a segment says of itself."""
    if path.suffix != ".parquet":
        return read_sidecar(path).footer
    file = pq.ParquetFile(path)
    assert file.metadata.row_group(0).column(0).total_compressed_size > 0
    return SegmentFooter.of(file.schema_arrow.metadata or file.metadata.metadata)


def rows(writer, channel):
    """All rows of a channel in receive order, as written."""
    tables = [pl.from_arrow(read(path)) for path in segments(writer, channel)]
    return pl.concat(tables).sort("collected_at", maintain_order=True) if tables else pl.DataFrame()


def numbers(writer):
    """The number that `seeded_events` gave each event, of every row on disk."""
    found = [int(t) for t in rows(writer, "trades").get_column("trade_id")]
    found += rows(writer, "orderbook").get_column("nonce").to_list()
    found += rows(writer, "l2").get_column("nonce").to_list()
    found += rows(writer, "gaps").filter(pl.col("reason") == "disconnect").get_column("missed").to_list()
    found += [json.loads(text, strict=False)["number"] for text in rows(writer, "frames").get_column("frame")]
    return found


def expected_numbers(events):
    return [n for n, e in enumerate(events) if channel_of(e) != "ticker" for _ in range(row_count(e))]


async def test_every_event_is_on_disk_once(make):
    writer, events = make(), list(seeded_events(3000))
    await writer.start()
    for start in range(0, len(events), 700):
        await writer.write(events[start : start + 700])
        await writer.flush()
    await writer.close()
    assert sorted(numbers(writer)) == sorted(expected_numbers(events))
    assert rows(writer, "ticker").height == sum(channel_of(e) == "ticker" for e in events)
    assert [p for p in writer.paths.active.iterdir() if p.name != "writer.lock"] == []


async def test_values_path_and_footer_agree(make):
    writer = make()
    await writer.start()
    await writer.write(list(seeded_events(2000)))
    await writer.close()
    for path in segments(writer):
        table, footer = read(path), footer_of(path)
        for name, value in parse_partition_path(str(path)).items():
            assert set(table[name].to_pylist()) == {value}
        clock = table["collected_at"].to_pylist()
        assert clock == sorted(clock)
        assert (footer.first_collected_at, footer.last_collected_at, footer.rows) == (clock[0], clock[-1], len(clock))
        assert SegmentName.parse(path.name).journal == footer.journal
        assert footer.symbol in ("BTC-USD", "ETH/USD", "XBT/USDT:USDT", "ALL")


async def test_arrival_order_is_kept_where_clocks_tie(make):
    writer, events = make(), list(seeded_events(500, step_ns=0))
    await writer.start()
    await writer.write(events)
    await writer.close()
    for path in segments(writer, "trades"):
        ids = [int(t) for t in read(path)["trade_id"].to_pylist()]
        assert ids == sorted(ids)


async def test_rows_live_in_the_hour_of_their_receive_clock(make):
    writer = make()
    await writer.start()
    early = list(seeded_events(200, start_ns=START_NS - 7_200_000_000_000))
    await writer.write([*seeded_events(200), *early])
    await writer.close()
    hours = {parse_partition_path(str(p))["hour"] for p in segments(writer)}
    assert hours == {12, 14}


async def test_the_hour_s_end_seals_without_new_events(make):
    clock = FakeClock(START_NS)
    writer = make(clock=clock)
    await writer.start()
    await writer.write(list(seeded_events(50)))
    await writer.flush()
    assert segments(writer) == []
    clock.advance(3600)
    await writer.flush()
    for _ in range(200):
        if segments(writer):
            break
        await asyncio.sleep(0.05)
    assert segments(writer)
    await writer.close()


async def test_small_journals_rotate_and_names_never_collide(make):
    writer, events = make(journal_max_mb=0.02), list(seeded_events(2000))
    await writer.start()
    for start in range(0, len(events), 250):
        await writer.write(events[start : start + 250])
        await writer.flush()
    await writer.close()
    assert sorted(numbers(writer)) == sorted(expected_numbers(events))
    assert len({SegmentName.parse(p.name).journal for p in segments(writer)}) > 2


async def test_one_writer_a_directory(make):
    first, second = make(), make()
    await first.start()
    with pytest.raises(StorageError, match="another recorder"):
        await second.start()
    await first.close()
    await second.start()
    await second.close()


async def test_what_a_crash_left_is_sealed_at_the_next_start(make):
    first, events = make(), list(seeded_events(1000))
    await first.start()
    await first.write(events[:800])
    await first.flush()
    await first.write(events[800:])  # never flushed: a crash may cost it
    crash(first)
    second = make()
    await second.start()
    await second.close()
    assert sorted(numbers(second)) == sorted(expected_numbers(events[:800]))
    gaps = rows(second, "gaps").filter(pl.col("reason") == "crash")
    assert gaps.height > 0 and gaps["ended_at"].null_count() == gaps.height
    assert gaps["started_at"].unique().to_list() == [
        max(e.collected_at for e in events[:800] if channel_of(e) != "gaps")
    ]
    assert [p for p in second.paths.active.iterdir() if p.name != "writer.lock"] == []


async def test_closing_in_order_is_no_crash(make):
    writer = make()
    await writer.start()
    await writer.write([e for e in seeded_events(100) if channel_of(e) != "gaps"])
    await writer.close()
    again = make()
    await again.start()
    await again.close()
    assert segments(again, "gaps") == []


def crash(writer):
    """Let go of everything as the system does when a process is killed: files closed, nothing finished."""
    import os

    writer._seal_queue._task.cancel()
    writer._journal.close(ended=False)
    os.close(writer._lock_fd)


async def test_an_unwritable_directory_says_what_to_do(make, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"storage\.base_dir"):
        await make(base_dir=tmp_path / "file").start()


@pytest.mark.parametrize("columns", [DEFAULT_PARTITION_COLUMNS, ["exchange", "date", "symbol"]])
async def test_the_layout_is_the_user_s(make, columns):
    writer, events = make(partition_by=columns), list(seeded_events(300, step_ns=60_000_000_000))
    await writer.start()
    await writer.write(events)
    await writer.close()
    assert sorted(numbers(writer)) == sorted(expected_numbers(events))
    for path in segments(writer):
        assert [part.split("=")[0] for part in path.parent.parts if "=" in part] == columns


async def test_an_event_that_no_column_takes_costs_itself_and_is_entered(make):
    writer, events = make(batch_size=50), list(seeded_events(200))
    bad = Trade(collected_at=START_NS + 5, exchange="testex", symbol="BTC-USD", price="not a number", trade_id="x")
    await writer.start()
    await writer.write([*events[:60], bad, *events[60:]])
    await writer.close()
    assert sorted(numbers(writer)) == sorted(expected_numbers(events))
    entered = rows(writer, "gaps").filter(pl.col("reason") == "parse_error")
    assert entered.select("symbol", "channel", "missed").rows() == [("BTC-USD", "trades", 1)]
    assert "not a number" in entered["detail"][0]
