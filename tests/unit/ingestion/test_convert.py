"""`daedalus convert`: value for value what the Parquet writer would have written, wherever it is cut off."""

import errno
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from daedalus.cli import convert as command
from daedalus.ingestion import convert
from daedalus.ingestion.convert import Target, convert_segments, ndjson_segments
from daedalus.ingestion.writers import ndjson_segment, segment_file
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.ndjson_segment import sidecar_path
from daedalus.lake.verify import LakeCheck
from daedalus.shared.errors import ConfigError, StorageError
from daedalus.shared.events import channel_of
from daedalus.shared.segment import SegmentFooter
from daedalus.storage import local
from daedalus.storage.ledger import Ledger
from daedalus.testing.events import seeded_events
from tests.unit.ingestion.lakes import bits, ordinary_flushes, sealed_lake

#: Three segments of them.
SMALL = [[e for e in seeded_events(60, symbols=("BTC-USD", "ETH/USD")) if channel_of(e) in ("trades", "frames")]]


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """Nobody pulls the plug here, and hundreds of syncs are most of the time."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)


def run(ready, **options):
    return list(convert_segments(paths_of(ready), Target(**options)))


def paths_of(ready):
    return RawPaths(ready.parents[2], ready.name)


def parquet(ready):
    return {path.relative_to(ready): path for path in sorted(ready.glob("**/*.parquet"))}


def described(path):
    """All rows to the bit, the columns with their types, and the footer."""
    file = pq.ParquetFile(path)
    table = file.read()
    numbers = [pa.field(f.name, pa.int64() if pa.types.is_timestamp(f.type) else f.type) for f in table.schema]
    rows = bits(table.cast(pa.schema(numbers)).to_pylist())
    return table.schema, rows, SegmentFooter.of(file.metadata.metadata), file.metadata.num_row_groups


def lake_of(ready):
    return {name: described(path) for name, path in parquet(ready).items()}


def no_leftovers(ready):
    return [p.name for p in ready.glob("**/*") if p.is_file() and p.suffix != ".parquet"] == []


@pytest.mark.parametrize("compression", ["zstd", "none"])
@pytest.mark.parametrize("partition_by", [None, ["exchange", "date", "symbol"]])
def test_it_is_the_lake_that_the_parquet_writer_writes(tmp_path, compression, partition_by):
    direct, _ = sealed_lake(tmp_path / "direct", "parquet", partition_by=partition_by, end=False)
    ready, _ = sealed_lake(tmp_path / "lines", "ndjson", partition_by=partition_by, compression=compression, end=False)
    rows = sum(outcome.rows for outcome in run(ready))
    want = lake_of(direct)
    assert lake_of(ready) == want and rows == sum(len(one[1]) for one in want.values()) > 500
    assert all(path.read_bytes() == (direct / name).read_bytes() for name, path in parquet(ready).items())
    assert no_leftovers(ready)
    assert run(ready) == []


def test_row_groups_are_those_of_the_writer(tmp_path, monkeypatch):
    for module in (segment_file, convert):
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 50)
    monkeypatch.setattr(ndjson_segment, "BATCH_ROWS", 7)
    flushes = [list(seeded_events(800, symbols=("BTC-USD",)))]
    direct, _ = sealed_lake(tmp_path / "direct", "parquet", flushes=flushes)
    ready, _ = sealed_lake(tmp_path / "lines", "ndjson", flushes=flushes)
    run(ready)
    assert lake_of(ready) == lake_of(direct)
    assert max(one[3] for one in lake_of(ready).values()) > 3


def test_large_rows_make_smaller_row_groups(tmp_path, monkeypatch):
    direct, _ = sealed_lake(tmp_path / "direct", "parquet")
    ready, _ = sealed_lake(tmp_path / "lines", "ndjson")
    monkeypatch.setattr(convert, "PIECE_BYTES_MAX", 600)
    monkeypatch.setattr(ndjson_segment, "BATCH_ROWS", 7)
    run(ready)
    found = lake_of(ready)
    assert {name: one[:3] for name, one in found.items()} == {n: one[:3] for n, one in lake_of(direct).items()}
    assert max(one[3] for one in found.values()) > 3


def test_keep_leaves_the_lines_and_may_be_repeated(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    before = {path: path.read_bytes() for path in ready.glob("**/*") if path.is_file()}
    first = run(ready, keep=True)
    assert {path: path.read_bytes() for path in before} == before
    made = {path: path.stat().st_mtime_ns for path in parquet(ready).values()}
    assert run(ready, keep=True) == first
    assert {path: path.stat().st_mtime_ns for path in parquet(ready).values()} == made
    assert run(ready) == first
    assert no_leftovers(ready) and len(made) == len(first)


class Steps:
    """Dies before the n-th step that touches the disk, whichever function takes it."""

    def __init__(self, monkeypatch, survived):
        self.left = survived
        self.patch = monkeypatch
        real_unlink, real_file = Path.unlink, pa.OSFile
        monkeypatch.setattr(convert, "publish", self.counted(local.publish))
        monkeypatch.setattr(convert, "sync_dir", self.counted(local.sync_dir))
        monkeypatch.setattr(convert, "_compare", self.counted(convert._compare))
        monkeypatch.setattr(Path, "unlink", self.counted(real_unlink))
        monkeypatch.setattr(pa, "OSFile", self.counted(real_file))
        for name in ("record", "record_sealed"):
            monkeypatch.setattr(Ledger, name, self.counted(getattr(Ledger, name)))

    def counted(self, call):
        def step(*args, **options):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return call(*args, **options)

        return step


def test_a_crash_at_any_step_loses_and_doubles_nothing(tmp_path):
    direct, _ = sealed_lake(tmp_path / "direct", "parquet", flushes=SMALL)
    sealed_lake(tmp_path / "lines", "ndjson", flushes=SMALL)
    want, survived, died = lake_of(direct), 0, True
    while died:
        ready = tmp_path / f"after{survived}/raw/ready/testex"
        shutil.copytree(tmp_path / "lines", ready.parents[2])
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, survived)
            try:
                run(ready)
                died = False
            except KeyboardInterrupt:
                pass
        # At no time is a segment in neither form, and every visible file is whole.
        names = {path.with_name(path.name.split(".")[0] + ".parquet") for path in ndjson_segments(ready)}
        assert {path.relative_to(ready) for path in names} | set(parquet(ready)) == set(want)
        assert lake_of(ready).items() <= want.items()
        assert [outcome.problem for outcome in run(ready) if outcome.problem] == []
        assert lake_of(ready) == want and no_leftovers(ready)
        survived += 1
    assert survived > 8 * len(want) > 16


def test_the_ledger_goes_along(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    every = ndjson_segments(ready)
    assert [finding for checked in LakeCheck(tmp_path, strict=True).run() for finding in checked.findings] == []
    cut(every[0])
    run(ready)
    with Ledger(tmp_path) as ledger:
        assert {entry.key for entry in ledger.entries() if entry.deleted_at} == {ledger.key_of(p) for p in every[1:]}
    # What went into quarantine stays missed.
    findings = [finding for checked in LakeCheck(tmp_path, strict=True).run() for finding in checked.findings]
    assert [finding.path for finding in findings] == [str(every[0])]


def test_without_a_ledger_one_is_made(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    for path in tmp_path.glob("ledger*"):
        path.unlink()
    run(ready)
    assert [finding for checked in LakeCheck(tmp_path, strict=True).run() for finding in checked.findings] == []


def test_a_damaged_ledger_stops_it_before_it_begins(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    before = sorted(ready.glob("**/*"))
    (tmp_path / "ledger.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(StorageError, match="rebuild-ledger"):
        run(ready)
    assert sorted(ready.glob("**/*")) == before


def test_a_power_cut_may_leave_a_half_temporary_file(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    for path in ndjson_segments(ready):
        name = path.name.split(".")[0]
        path.with_name(f"_{name}.parquet.tmp").write_bytes(b"PAR1 half")
    run(ready)
    assert lake_of(ready) and no_leftovers(ready)


def damage_digit(path):
    data = bytearray(path.read_bytes())
    at = data.index(b'"collected_at":') + 20
    data[at] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def empty(path):
    path.write_bytes(b"")


def zeros(path):
    path.write_bytes(b"\x00" * path.stat().st_size)


def lose_a_line(path):
    sidecar_path(path).unlink()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def break_the_sidecar(path):
    sidecar_path(path).write_bytes(b'{"footer": {}}')


def contradict_the_sidecar(path):
    beside = json.loads(sidecar_path(path).read_bytes())
    beside["footer"]["last_collected_at"] += 1
    sidecar_path(path).write_text(json.dumps(beside))


@pytest.mark.parametrize(
    "damage", [damage_digit, cut, empty, zeros, lose_a_line, break_the_sidecar, contradict_the_sidecar]
)
def test_a_corrupt_segment_goes_to_quarantine_and_the_others_on(tmp_path, damage):
    ready, _ = sealed_lake(tmp_path, "ndjson", compression="none", flushes=SMALL)
    every = ndjson_segments(ready)
    bad = every[1]
    damage(bad)
    data, had_sidecar = bad.read_bytes(), sidecar_path(bad).exists()
    problems = [outcome for outcome in run(ready) if outcome.problem]
    kept = tmp_path / "raw/quarantine/testex" / bad.relative_to(ready)
    assert [(p.segment, p.rows) for p in problems] == [(bad, 0)]
    assert str(bad) in problems[0].problem and f"moved to {kept}" in problems[0].problem
    assert kept.read_bytes() == data and sidecar_path(kept).exists() == had_sidecar
    assert len(parquet(ready)) == len(every) - 1 and no_leftovers(ready)


def test_a_damaged_zstd_file_goes_to_quarantine_with_or_without_sidecar(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    first, second, *_ = ndjson_segments(ready)
    for path in (first, second):
        cut(path)
    sidecar_path(second).unlink()
    assert [outcome.segment for outcome in run(ready) if outcome.problem] == [first, second]


def test_a_second_corrupt_segment_of_a_name_stays(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    path = ndjson_segments(ready)[0]
    kept = tmp_path / "raw/quarantine/testex" / path.relative_to(ready)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"earlier")
    cut(path)
    problem = next(outcome.problem for outcome in run(ready) if outcome.problem)
    assert "left in place" in problem and path.exists() and kept.read_bytes() == b"earlier"


def test_a_segment_in_the_wrong_partition_goes_to_quarantine(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    path = next(p for p in ndjson_segments(ready) if "symbol=BTC-USD" in str(p))
    wrong = Path(str(path).replace("hour=14", "hour=15"))
    wrong.parent.mkdir()
    path.rename(wrong)
    problem = next(outcome.problem for outcome in run(ready) if outcome.problem)
    assert "hour is 15 in the path and 14 in its rows" in problem


def test_without_sidecars_all_but_the_symbol_s_spelling_comes_back(tmp_path):
    direct, _ = sealed_lake(tmp_path / "direct", "parquet", flushes=SMALL)
    ready, _ = sealed_lake(tmp_path / "lines", "ndjson", flushes=SMALL)
    for path in ready.glob("**/_segment_*"):
        path.unlink()
    assert not [outcome for outcome in run(ready) if outcome.problem]
    want, found = lake_of(direct), lake_of(ready)
    assert {name: one[:2] for name, one in found.items()} == {name: one[:2] for name, one in want.items()}
    assert {one[2].symbol for one in found.values()} == {"BTC-USD", "ETH-USD", "ALL"}


@pytest.mark.parametrize("name", ["mystery/exchange=x/symbol=y", "trades/exchange=x/colour=red", "trades"])
def test_what_is_unknown_stays_in_place(tmp_path, name):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    path = ndjson_segments(ready)[0]
    other = ready / name / path.name
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(path.read_bytes() if name != "trades" else b"")
    stray = ready / name / "segment_of_mine.ndjson"
    stray.write_text("{}\n")
    problems = {outcome.segment for outcome in run(ready) if outcome.problem}
    assert stray in problems and stray.exists()
    assert other in problems


def test_a_newer_schema_stays_in_place(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    path = ndjson_segments(ready)[0]
    sidecar = sidecar_path(path)
    sidecar.write_text(sidecar.read_text().replace('"schema_version":1', '"schema_version":99'))
    problem = next(outcome.problem for outcome in run(ready) if outcome.problem)
    assert "schema version 99" in problem and "left in place" in problem and path.exists()


@pytest.mark.parametrize("other", [b"no parquet at all", None])
def test_a_parquet_segment_of_other_rows_stops_nothing_and_loses_nothing(tmp_path, other):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    path, second, *_ = ndjson_segments(ready)
    final = path.with_name(path.name.split(".")[0] + ".parquet")
    if other is None:
        pq.write_table(pa.table({"collected_at": [1]}), final)
    else:
        final.write_bytes(other)
    there = final.read_bytes()
    problems = [outcome for outcome in run(ready) if outcome.problem]
    assert [p.segment for p in problems] == [path] and "left in place" in problems[0].problem
    assert path.exists() and final.read_bytes() == there and not second.exists()


def test_a_full_disk_stops_it_and_it_goes_on_later(tmp_path, monkeypatch):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    every = ndjson_segments(ready)
    real, calls = convert.publish, []

    def full(temp, final, **options):
        calls.append(final)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(temp, final, **options)

    monkeypatch.setattr(convert, "publish", full)
    with pytest.raises(StorageError, match="No space left"):
        run(ready)
    assert len(parquet(ready)) == 1 and not list(ready.glob("**/*.tmp"))
    assert len(run(ready)) == len(every) - 1
    assert len(parquet(ready)) == len(every) and no_leftovers(ready)


def test_an_encoder_that_fails_leaves_no_file(tmp_path, monkeypatch):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    every = ndjson_segments(ready)

    def fails(self, rows):
        self._opened(rows).write_table(rows)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(convert.ParquetEncoder, "write", fails)
        with pytest.raises(StorageError):
            run(ready)
    assert ndjson_segments(ready) == every and not parquet(ready) and not list(ready.glob("**/*.tmp"))


def test_what_the_disk_budget_removes_meanwhile_is_passed_over(tmp_path, monkeypatch):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    every = ndjson_segments(ready)
    real = convert.CheckedLines

    def gone(segment, ready):
        if segment == every[1]:
            segment.unlink()
        return real(segment, ready)

    monkeypatch.setattr(convert, "CheckedLines", gone)
    assert [outcome.segment for outcome in run(ready)] == [every[0], *every[2:]]


def test_two_at_once_are_refused(tmp_path):
    ready, _ = sealed_lake(tmp_path, "ndjson", flushes=SMALL)
    first = convert_segments(paths_of(ready), Target())
    next(first)
    with pytest.raises(StorageError, match="another process converts"):
        run(ready)
    assert len(list(first)) and no_leftovers(ready)


@pytest.fixture
def cli(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command.convert)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_the_command_converts_a_lake(tmp_path, cli):
    ready, _ = sealed_lake(tmp_path / "lake", "ndjson", flushes=ordinary_flushes())
    count = len(ndjson_segments(ready))
    result = cli("--to", "parquet", "--base-dir", str(tmp_path / "lake"), "--source", "testex")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"converted {count:,} segments, ") and "not converted: 0" in result.output
    assert no_leftovers(ready)
    again = cli("--base-dir", str(tmp_path / "lake"))
    assert again.exit_code == 0 and "converted 0 segments, 0 rows" in again.output


def test_the_command_names_what_it_could_not_convert(tmp_path, cli):
    ready, _ = sealed_lake(tmp_path / "lake", "ndjson", flushes=SMALL)
    bad = ndjson_segments(ready)[0]
    cut(bad)
    result = cli("--base-dir", str(tmp_path / "lake"))
    assert result.exit_code == 1 and "not converted: 1" in result.stdout
    assert str(bad) in result.stderr and "moved to" in result.stderr


@pytest.mark.parametrize(
    "words, text",
    [
        (["--to", "csv"], "parquet only"),
        (["--source", "kraken"], "no source kraken"),
        (["--base-dir", "elsewhere"], "nothing recorded"),
    ],
)
def test_the_command_refuses_what_cannot_be(tmp_path, cli, words, text):
    sealed_lake(tmp_path / "lake", "ndjson", flushes=SMALL)
    result = cli("--base-dir", str(tmp_path / "lake"), *words)
    assert isinstance(result.exception, ConfigError) and text in str(result.exception)
