"""Sealing: repeatable after a crash at any step, bounded in memory, honest about what it cannot read."""

import threading

import pyarrow.parquet as pq
import pytest

from daedalus.ingestion.writers import sealing, segment_file
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.journal import Head, JournalWriter, SealOptions, journal_id
from daedalus.storage import local
from daedalus.testing.events import START_NS, seeded_events


@pytest.fixture
def lake(tmp_path):
    """Directories and a journal of 2,400 events in 8 flushes over three hours, left in order."""
    paths = RawPaths(tmp_path, "testex")
    paths.active.mkdir(parents=True)
    head = Head(
        journal=journal_id(START_NS, 1),
        source="testex",
        created_at=START_NS,
        writer_version="0",
        seal=SealOptions(("exchange", "symbol", "year", "month", "day", "hour"), 1 << 20, "zstd", 3),
    )
    writer = JournalWriter(paths.active, head)
    for number in range(8):
        start = START_NS + number * 1_300_000_000_000
        batches = record_batches(seeded_events(300, seed=number, start_ns=start))
        market = [("exchange", "ascending"), ("symbol", "ascending")]
        writer.append([(channel, batch.sort_by(market)) for channel, batch in batches])
    writer.close()
    return writer.path, paths


def content(ready):
    """Every row by channel and partition, independent of how files were cut."""
    found = {}
    for path in sorted(ready.glob("**/*.parquet")):
        key = str(path.parent.relative_to(ready))
        found.setdefault(key, []).extend(pq.read_table(path, partitioning=None).to_pylist())
    return found


def test_bounded_passes_and_pieces_give_the_same_rows(lake, tmp_path, monkeypatch):
    journal, paths = lake
    copy = journal.with_name(journal.name)
    data = journal.read_bytes()
    whole = sealing.seal(journal, paths)
    want = content(paths.ready)
    assert whole.segments and not whole.crashed and not journal.exists()
    copy.write_bytes(data)
    other = RawPaths(tmp_path / "other", "testex")
    monkeypatch.setattr(sealing, "PASS_BYTES_MAX", 20_000)
    monkeypatch.setattr(segment_file, "PIECE_BYTES_MAX", 5_000)
    small = sealing.seal(copy, other)
    assert content(other.ready) == want
    assert len(small.segments) > len(whole.segments)


def test_a_crash_at_any_step_repeats_into_the_same_rows(lake, tmp_path, monkeypatch):
    journal, paths = lake
    data = journal.read_bytes()
    sealing.seal(journal, paths)
    want = content(paths.ready)
    steps = len(list(paths.ready.glob("**/*.parquet")))
    for step in range(0, steps, max(1, steps // 8)):
        journal.write_bytes(data)
        again, done = RawPaths(tmp_path / f"try{step}", "testex"), []

        def dies(temp, final, *, overwrite=False, step=step, done=done):
            if len(done) == step:
                raise KeyboardInterrupt
            done.append(1)
            return local.publish(temp, final, overwrite=overwrite)

        monkeypatch.setattr(segment_file, "publish", dies)
        with pytest.raises(KeyboardInterrupt):
            sealing.seal(journal, again)
        monkeypatch.setattr(segment_file, "publish", local.publish)
        sealing.seal(journal, again)
        assert content(again.ready) == want
        assert list(journal.parent.iterdir()) == []


def test_a_repeat_with_other_bounds_neither_loses_nor_doubles(lake, monkeypatch):
    journal, paths = lake
    data = journal.read_bytes()
    sealing.seal(journal, paths)
    want = content(paths.ready)
    for path in sorted(paths.ready.glob("**/*.parquet"))[::2]:
        path.unlink()
    journal.write_bytes(data)
    monkeypatch.setattr(segment_file, "PIECE_BYTES_MAX", 4_000)
    sealing.seal(journal, paths)
    assert content(paths.ready) == want


def test_two_at_once_do_no_harm(lake):
    journal, paths = lake
    data = journal.read_bytes()
    single, twice = RawPaths(paths.base / "single", "testex"), RawPaths(paths.base / "twice", "testex")
    sealing.seal(journal, single)
    journal.write_bytes(data)
    threads = [threading.Thread(target=sealing.seal, args=(journal, twice)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(twice.ready) == content(single.ready)
    assert not journal.exists()


def test_a_damaged_journal_gives_what_stands_before_the_damage(lake):
    journal, paths = lake
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)
    report = sealing.seal(journal, paths)
    assert report.crashed and report.damage
    crash = [r for rows in content(paths.ready).values() for r in rows if r.get("reason") == "crash"]
    assert crash and all("not whole" in row["detail"] for row in crash)


def test_a_journal_without_a_head_goes_to_quarantine(lake):
    journal, paths = lake
    journal.write_bytes(b"garbage" * 100)
    report = sealing.seal(journal, paths)
    assert report.quarantined == str(paths.quarantine / journal.name)
    assert (paths.quarantine / journal.name).exists() and not journal.exists()


def test_an_empty_journal_is_removed(lake):
    journal, paths = lake
    journal.write_bytes(b"")
    report = sealing.seal(journal, paths)
    assert report.segments == []
