"""`verify`: every kind of fault is found and named, and what is well is left in peace."""

import asyncio
import datetime as dt
import json
import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from daedalus.cli.verify import verify
from daedalus.ingestion.writers.encoding import parquet_options
from daedalus.ingestion.writers.log_writer import LogWriter
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.lake.segment_check import SegmentCheck
from daedalus.lake.verify import LakeCheck
from daedalus.shared.errors import CorruptError, NotFoundError
from daedalus.shared.segment import FOOTER_PREFIX, SegmentName
from daedalus.storage.ledger import LEDGER_NAME, Ledger, lake_segments
from daedalus.testing.clock import FakeClock
from daedalus.testing.events import START_NS, seeded_events

FLIPS = 400


def record(base, writer=StreamingParquetWriter, **options):
    async def run():
        recorder = writer(base_dir=base, source="testex", clock=FakeClock(START_NS), **options)
        await recorder.start()
        for start in (START_NS - 2_000_000_000, START_NS):
            await recorder.write(list(seeded_events(2500, start_ns=start)))
        await recorder.close()

    asyncio.run(run())
    with Ledger(base) as ledger:
        ledger.record_sealed(lake_segments(base))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    base = tmp_path_factory.mktemp("recorded")
    record(base)
    return base


@pytest.fixture
def lake(recorded, tmp_path):
    """A copy to damage."""
    return shutil.copytree(recorded, tmp_path / "lake")


def findings(root, **options):
    return [finding for checked in LakeCheck(root, **options).run() for finding in checked.findings]


def one(lake, channel):
    """A segment with enough rows, of the hour that begins with `START_NS`."""
    return max(lake.glob(f"raw/ready/testex/{channel}/**/hour=14/*.parquet"), key=lambda path: path.stat().st_size)


def rewritten(path, change=lambda table: table, footer=None):
    """Write a segment anew with other rows or another footer, as a program with a fault would; forget its SHA-256."""
    with pq.ParquetFile(path) as file:
        table, metadata = change(file.read()), file.metadata.metadata
    metadata = {**metadata, **{(FOOTER_PREFIX + k).encode(): str(v).encode() for k, v in (footer or {}).items()}}
    with pq.ParquetWriter(path, table.schema, **parquet_options(table.schema, "zstd", 3)) as writer:
        writer.write_table(table, row_group_size=100)
        writer.add_key_value_metadata(metadata)
    next(parent for parent in path.parents if (parent / LEDGER_NAME).exists()).joinpath(LEDGER_NAME).unlink()


def only(found):
    """The one finding there has to be."""
    assert len(found) == 1, found
    return found[0]


def test_a_sound_lake_is_sound(lake):
    checked = list(LakeCheck(lake, strict=True).run())
    assert [finding for one in checked for finding in one.findings] == []
    assert {one.path for one in checked if one.path} == {str(path) for path in lake_segments(lake)}
    assert sum(one.rows for one in checked) == sum(pq.read_metadata(path).num_rows for path in lake_segments(lake))
    assert sum(one.bytes for one in checked) == sum(path.stat().st_size for path in lake_segments(lake))


@pytest.mark.parametrize("part", [".", "raw", "raw/ready", "raw/ready/testex/trades", "segment"])
def test_any_part_of_a_lake_can_be_checked(lake, part):
    root = one(lake, "trades") if part == "segment" else lake / part
    assert findings(root, strict=True) == []
    assert any(True for _ in LakeCheck(root).segments())


def test_each_flipped_bit_is_found(lake):
    """With the ledger always; without it wherever a page or what is needed to read it was hit."""
    rng = random.Random(20250619)
    paths = [one(lake, channel) for channel in ("trades", "orderbook", "l2", "ticker", "frames")]
    alone = 0
    for _ in range(FLIPS):
        path = rng.choice(paths)
        good = path.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        found = findings(path)
        assert any("SHA-256" in finding.what for finding in found)
        alone += any("SHA-256" not in finding.what for finding in found)
        path.write_bytes(good)
    assert alone > 0.8 * FLIPS


def test_each_flipped_bit_of_the_pages_is_found_without_the_ledger(lake):
    path, rng = one(lake, "orderbook"), random.Random(7)
    good = path.read_bytes()
    chunk = next(c for c in columns(path) if c.path_in_schema == "bids.list.element.size")
    end = chunk.data_page_offset + chunk.total_compressed_size
    for _ in range(100):
        bad = bytearray(good)
        # The last bytes of a chunk are of a page's data, whatever its header takes.
        bad[rng.randrange(end - chunk.total_compressed_size // 2, end)] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        assert "cannot be read" in only(list(SegmentCheck(path).findings())).what


def columns(path):
    group = pq.read_metadata(path).row_group(0)
    return [group.column(i) for i in range(group.num_columns)]


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -8, -500])
def test_a_truncated_segment_is_found(lake, keep):
    path = one(lake, "trades")
    path.write_bytes(path.read_bytes()[:keep])
    found = list(SegmentCheck(path).findings())
    assert "cannot be read" in only(found).what
    assert "restore" in found[0].advice


def test_foreign_and_renamed_files_are_found(lake):
    path = one(lake, "trades")
    pq.write_table(pa.table({"a": [1]}), path.with_name("mine.parquet"))
    assert "not a segment of Daedalus" in only(findings(path.parent)).what
    path.with_name("mine.parquet").unlink()
    copy = path.with_name("copy.parquet")
    shutil.copy(path, copy)
    assert "not the name of a segment" in only(findings(path.parent)).what


def renamed(path, **parts):
    name = SegmentName.parse(path.name)
    fields = {"journal": name.journal, "first_row": name.first_row, "last_row": name.last_row, **parts}
    return path.with_name(SegmentName(**fields).file_name())


def test_a_name_that_says_something_else_is_found(lake):
    path = one(lake, "trades")
    (lake / LEDGER_NAME).unlink()
    other = renamed(path, journal="20250619T140000000000000Z-00000000")
    path.rename(other)
    assert "from another" in only(findings(lake)).what
    last = SegmentName.parse(path.name).last_row
    other.rename(renamed(path, last_row=last + 1))
    assert "by its name it holds" in only(findings(lake)).what


def test_rows_of_a_journal_that_stand_twice_are_found(lake):
    path = one(lake, "trades")
    name = SegmentName.parse(path.name)
    rest = renamed(path, first_row=name.last_row // 2)
    shutil.copy(path, rest)
    rows = name.last_row // 2
    rewritten(rest, lambda table: table.slice(rows), {"rows": name.last_row + 1 - rows})
    assert any(path.name in finding.what and "too" in finding.what for finding in findings(lake))
    assert not any("too" in finding.what for finding in findings(rest))


def test_a_missing_segment_is_found_unless_it_was_deleted(lake):
    path = one(lake, "trades")
    path.unlink()
    found = only(findings(lake))
    assert found.path == str(path)
    assert "is not there" in found.what
    assert findings(lake / "raw/ready/testex/ticker") == []
    assert only(findings(lake / "raw/ready/testex/trades")) == found
    with Ledger(lake) as ledger:
        ledger.record(ledger.key_of(path), "deleted")
    assert findings(lake) == []


def test_what_the_ledger_does_not_know_counts_only_when_asked(lake):
    path = one(lake, "trades")
    other = renamed(path, journal="20250619T150000000000000Z-00000000")
    shutil.copy(path, other)
    journal = {"journal": "20250619T150000000000000Z-00000000"}
    rewritten(other, footer=journal)
    record_all_but = [p for p in lake_segments(lake) if p != other]
    with Ledger(lake) as ledger:
        ledger.record_sealed(record_all_but)
    assert findings(lake) == []
    assert "not in the ledger" in only(findings(lake, strict=True)).what


def set_column(table, name, values):
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, [pa.array(values, field.type)])


def backwards(table):
    return table.take(pa.array([*range(table.num_rows - 2), table.num_rows - 1, table.num_rows - 2]))


def retyped(table):
    return table.cast(table.schema.set(table.schema.get_field_index("price"), pa.field("price", pa.float32())))


def another_instant(table):
    return set_column(table, "capture_ts", [dt.datetime(2025, 6, 19, 14, tzinfo=dt.UTC)] * table.num_rows)


@pytest.mark.parametrize(
    ("change", "footer", "words"),
    [
        (lambda t: set_column(t, "hour", [13] * t.num_rows), {}, "hour is 14 in the path and 13 in its rows"),
        (lambda t: set_column(t, "symbol", ["X"] * t.num_rows), {}, "in the path and X in its rows"),
        (lambda t: set_column(t, "hour", [*[14] * (t.num_rows - 1), None]), {}, "in the path and None in its rows"),
        (backwards, {}, "collected_at goes back"),
        (another_instant, {}, "another instant than"),
        (lambda t: t.slice(1), {}, "by its footer"),
        (lambda t: t.drop_columns(["side"]), {}, "without side"),
        (lambda t: t.append_column("extra", t["side"]), {}, "with extra"),
        (retyped, {}, "of another type: price"),
        (lambda t: t.select([*t.schema.names[1:], t.schema.names[0]]), {}, "in another order"),
        (lambda t: t, {"schema_version": 99}, "schema version 99"),
        (lambda t: t, {"channel": "quotes"}, "no such channel"),
        (lambda t: t, {"rows": 1}, "by its footer 1"),
        (lambda t: t, {"rows": "many"}, "cannot be read"),
        (lambda t: t, {"last_collected_at": 1}, "collected_at runs from"),
        (lambda t: t, {"symbol": "DOGE-USD"}, "and DOGE-USD in the footer"),
        (lambda t: t, {"journal": "another"}, "came from journal another"),
    ],
)
def test_rows_that_disagree_are_found(lake, change, footer, words):
    path = one(lake, "trades")
    rewritten(path, change, footer)
    found = [finding for finding in findings(lake) if finding.path == str(path)]
    assert any(words in finding.what for finding in found), found


def test_a_segment_in_another_s_directory_is_found(lake):
    path = one(lake, "trades")
    (lake / LEDGER_NAME).unlink()
    for wrong, words in (("hour=15", "hour is 15"), ("hour=xx", "not a number")):
        moved = path.parent.with_name(wrong) / path.name
        moved.parent.mkdir()
        shutil.copy(path, moved)
        assert any(words in finding.what for finding in findings(moved)), wrong
    elsewhere = lake / "raw/ready/testex/ticker" / path.relative_to(lake / "raw/ready/testex/trades")
    shutil.copy(path, elsewhere)
    assert "it lies under ticker and holds trades" in only(findings(elsewhere)).what


def test_another_layout_is_checked_alike(tmp_path):
    record(tmp_path, partition_by=["exchange", "date", "symbol"])
    assert findings(tmp_path, strict=True) == []
    path = next((tmp_path / "raw/ready/testex/trades").glob("**/*.parquet"))
    moved = path.parent.parent.with_name("date=2025-06-20") / path.parent.name / path.name
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    assert any("date is 2025-06-20 in the path and 2025-06-19" in f.what for f in findings(moved))


def test_a_segment_alone_keeps_its_checks(lake, tmp_path):
    path = shutil.copy(one(lake, "trades"), tmp_path / one(lake, "trades").name)
    assert findings(path) == []


def test_segments_of_lines_are_compared_with_what_stands_beside_them(tmp_path):
    record(tmp_path, LogWriter)
    assert findings(tmp_path, strict=True) == []
    first, second, third, *_ = lake_segments(tmp_path)
    with first.open("ab") as file:
        file.write(b"{}\n")
    beside = [path.with_name(f"_{path.name}.meta.json") for path in (second, third)]
    beside[0].unlink()
    beside[1].write_text("{}")
    (tmp_path / LEDGER_NAME).unlink()
    words = ["is not the file that", "is not beside it", "cannot be read"]
    for finding, word in zip(findings(tmp_path), words, strict=True):
        assert word in finding.what


def test_nothing_there_is_an_error_and_a_damaged_ledger_too(lake):
    with pytest.raises(NotFoundError, match="there is nothing at"):
        LakeCheck(lake / "none")
    (lake / LEDGER_NAME).write_bytes(b"damaged" * 1000)
    with pytest.raises(CorruptError, match="--rebuild-ledger"):
        findings(lake)


def invoke(*arguments):
    app = typer.Typer()
    app.command()(verify)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_sums_up_and_its_exit_code_tells(lake):
    good = invoke(lake, "--strict")
    assert good.exit_code == 0
    assert "nothing is wrong" in good.output
    path = one(lake, "trades")
    path.write_bytes(path.read_bytes()[:-1])
    bad = invoke(lake)
    assert bad.exit_code == 1
    assert path.name in bad.output
    assert "restore it from a copy" in bad.output
    assert "2 things wrong with 1 of them" in bad.output
    machine = json.loads(invoke(lake, "--json").output)
    assert (machine["ok"], len(machine["findings"])) == (False, 2)
    assert {finding["path"] for finding in machine["findings"]} == {str(path)}


def test_the_configured_lake_is_the_default(lake):
    done = invoke("--set", f"storage.base_dir={lake}")
    assert done.exit_code == 0
    assert str(lake / "raw" / "ready") in done.output


def test_the_ledger_is_made_anew_only_when_all_is_well(lake):
    path = one(lake, "trades")
    good = path.read_bytes()
    (lake / LEDGER_NAME).write_bytes(b"damaged" * 1000)
    path.write_bytes(good[:-1])
    assert invoke(lake, "--rebuild-ledger").exit_code == 1
    assert (lake / LEDGER_NAME).read_bytes().startswith(b"damaged")
    path.write_bytes(good)
    one(lake, "ticker").unlink()
    done = invoke(lake, "--rebuild-ledger")
    assert done.exit_code == 0
    assert "made anew" in done.output
    assert findings(lake, strict=True) == []
    assert invoke(lake / "raw", "--rebuild-ledger").exit_code != 0
