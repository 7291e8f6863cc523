"""Small segments become one: the same rows in the same order, whatever interrupts it."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import daedalus.ingestion.compaction as module
from daedalus.ingestion.compaction import Compacted, Compaction, Rules
from daedalus.ingestion.writers import sealing
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.journal import Head, JournalWriter, SealOptions, journal_id
from daedalus.lake.verify import LakeCheck
from daedalus.storage.ledger import Ledger
from daedalus.testing.events import START_NS, seeded_events

OLD = Rules(older_than_hours=0.0)
COLUMNS = ("exchange", "symbol", "year", "month", "day", "hour")


def make_lake(base: Path, journals: int = 4, events: int = 120) -> RawPaths:
    """Seal several journals of one hour, whose times overlap."""
    paths = RawPaths(base, "testex")
    for path in (paths.active, paths.ready):
        path.mkdir(parents=True, exist_ok=True)
    for number in range(journals):
        seal_one(paths, number, events)
    return paths


def seal_one(paths: RawPaths, number: int, events: int = 120) -> None:
    start = START_NS + number * 1_000_000_000
    seal = SealOptions(COLUMNS, 1 << 20, "zstd", 3, "parquet")
    writer = JournalWriter(paths.active, Head(journal_id(start, number), "testex", start, "0", seal))
    market = [("exchange", "ascending"), ("symbol", "ascending")]
    batches = record_batches(seeded_events(events, seed=number, start_ns=start, symbols=("ETH/USD", "BTC/USD")))
    writer.append([(channel, batch.sort_by(market)) for channel, batch in batches])
    writer.close(ended=True)
    sealing.seal(writer.path, paths)


def rows(paths: RawPaths) -> dict[str, pl.DataFrame]:
    """Return the rows of every directory in the order of reading: by receive time, then by name."""
    found: dict[str, list[pl.DataFrame]] = {}
    for path in sorted(paths.ready.rglob("*.parquet")):
        found.setdefault(str(path.parent), []).append(pl.read_parquet(path, hive_partitioning=False))
    return {name: pl.concat(each).sort("collected_at", maintain_order=True) for name, each in found.items()}


def same(found: dict[str, pl.DataFrame], wanted: dict[str, pl.DataFrame]) -> None:
    assert found.keys() == wanted.keys()
    assert all(found[name].equals(frame) for name, frame in wanted.items())


def run(paths: RawPaths, rules: Rules = OLD) -> list[Compacted]:
    return list(Compaction(paths, rules).run())


def test_one_segment_with_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    paths = make_lake(tmp_path)
    before = rows(paths)
    done = run(paths)
    assert {outcome.segments for outcome in done} == {4}
    assert not [outcome.problem for outcome in done if outcome.problem]
    same(rows(paths), before)
    assert all(len(list(Path(folder).iterdir())) == 1 for folder in before)
    assert not [f for checked in LakeCheck(tmp_path, strict=True).run() for f in checked.findings]
    assert run(paths) == [], "nothing is left to merge"
    with Ledger(tmp_path) as ledger:
        entries = list(ledger.entries())
    assert sum(entry.deleted_at is None for entry in entries) == len(before)


def test_young_large_and_uploaded_segments_stay(tmp_path: Path) -> None:
    paths = make_lake(tmp_path)
    assert run(paths, Rules(older_than_hours=1.0)) == []
    assert run(paths, Rules(older_than_hours=0.0, small_bytes=100)) == []
    with Ledger(tmp_path) as ledger:
        for entry in ledger.entries():
            ledger.record(entry.key, "uploaded")
    assert run(paths) == []


def test_a_damaged_segment_is_named_and_its_directory_stays(tmp_path: Path) -> None:
    paths = make_lake(tmp_path)
    victim = sorted(paths.ready.rglob("*.parquet"))[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    problems = [outcome for outcome in run(paths) if outcome.problem]
    assert [outcome.folder for outcome in problems] == [victim.parent]
    assert victim.name in (problems[0].problem or "")
    assert victim.read_bytes() == bytes(data)
    assert len(list(victim.parent.iterdir())) == 4


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("step", ["publish_stream", "exchange", "sync_dir", "shutil.rmtree", "Ledger.record_sealed"])
@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_dies_is_finished_by_the_next(
    step: str, before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_lake(tmp_path)
    wanted = rows(paths)
    owner, _, name = step.rpartition(".")
    place = getattr(module, owner) if owner else module
    real = getattr(place, name)

    def dying(*args: object, **kwargs: object) -> None:
        if not before:
            real(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, name, dying)
        with pytest.raises(Killed):
            run(paths)
    same(rows(paths), wanted)
    seal_one(paths, 9)  # a late segment of the same hour
    wanted = rows(paths)
    run(paths)
    same(rows(paths), wanted)
    assert not list((tmp_path / "raw" / "compacting").iterdir())


def test_a_segment_published_during_the_swap_is_carried_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_lake(tmp_path)
    real, late = module.exchange, list[dict[str, pl.DataFrame]]()

    def published_just_before(first: Path, second: Path) -> None:
        if not late:
            seal_one(paths, 9)
            late.append(rows(paths))
        real(first, second)

    monkeypatch.setattr(module, "exchange", published_just_before)
    run(paths)
    same(rows(paths), late[0])


def kill(base: Path, seconds: float) -> None:
    command = [sys.executable, "-m", "daedalus.cli.main", "compact", "--base-dir", str(base), "--older-than-hours", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=base, env=os.environ)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_kills_at_seeded_instants(kills: int, tmp_path: Path) -> None:
    rng = random.Random(4)
    paths = make_lake(tmp_path, journals=3)
    started = time.monotonic()
    kill(tmp_path, 60.0)
    longest = time.monotonic() - started
    for number in range(kills):
        for late in range(2):
            seal_one(paths, 10 + 2 * number + late)
        wanted = rows(paths)
        kill(tmp_path, rng.uniform(0.4, 1.0) * longest)
        same(rows(paths), wanted)
    run(paths)
    same(rows(paths), wanted)
    assert not [f for checked in LakeCheck(tmp_path, strict=True).run() for f in checked.findings]
