"""The ledger of a lake: what it records, what several processes do to it, and how it is made anew."""

import hashlib
import sqlite3
import subprocess
import sys

import pytest

from daedalus.shared.errors import CorruptError, SchemaError, StorageError, TransientStorageError
from daedalus.storage.ledger import LEDGER_NAME, Entry, Ledger
from daedalus.testing.clock import FakeClock

NOW = FakeClock().now_ns()


def segment(base, number, content=b"rows", folder="raw/ready/coinbase/trades/exchange=coinbase/symbol=BTC-USD"):
    path = base / folder / f"segment_20250619T140000123456789Z-{number:08x}_000000000-000000009.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path, clock=FakeClock()) as opened:
        yield opened


def test_what_was_sealed_is_known_by_its_relative_path(ledger, tmp_path):
    path = segment(tmp_path, 1)
    assert ledger.record_sealed([path]) == 1
    key = path.relative_to(tmp_path).as_posix()
    assert ledger.get(key) == Entry(key, hashlib.sha256(b"rows").hexdigest(), 4, 10, NOW)
    assert ledger.get("raw/ready/other") is None


def test_recording_again_keeps_the_first_checksum(ledger, tmp_path):
    path = segment(tmp_path, 1)
    ledger.record_sealed([path])
    path.write_bytes(b"damaged")
    assert ledger.record_sealed([path, segment(tmp_path, 2)]) == 1
    assert ledger.get(ledger.key_of(path)).sha256 == hashlib.sha256(b"rows").hexdigest()


def test_a_batch_is_recorded_as_a_whole_or_not_at_all(ledger, tmp_path):
    with pytest.raises(SchemaError, match="not the name of a segment"):
        ledger.record_sealed([segment(tmp_path, 1), tmp_path / LEDGER_NAME])
    with pytest.raises(SchemaError, match="another lake"):
        ledger.record_sealed([segment(tmp_path, 1), tmp_path.parent / "elsewhere"])
    assert list(ledger.entries()) == []


def test_what_became_of_a_segment(ledger, tmp_path):
    path = segment(tmp_path, 1)
    ledger.record_sealed([path])
    key = ledger.key_of(path)
    for event in ("uploaded", "verified", "deleted"):
        ledger.record(key, event)
    entry = ledger.get(key)
    assert (entry.uploaded_at, entry.verified_at, entry.deleted_at) == (NOW, NOW, NOW)
    with pytest.raises(StorageError, match="rebuild-ledger"):
        ledger.record("raw/ready/none", "deleted")


def test_entries_come_by_key_and_prefix(ledger, tmp_path):
    paths = [segment(tmp_path, n, folder=f"raw/ready/{name}/trades") for n, name in enumerate(("b_", "a", "b%"))]
    ledger.record_sealed(paths)
    assert [e.key for e in ledger.entries()] == sorted(ledger.key_of(p) for p in paths)
    assert [e.key for e in ledger.entries("raw/ready/b%")] == [ledger.key_of(paths[2])]


def test_many_processes_lose_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from daedalus.storage.ledger import Ledger\n"
        "for path in sys.argv[2:]:\n"
        "    with Ledger(Path(sys.argv[1])) as ledger: assert ledger.record_sealed([Path(path)]) == 1"
    )
    groups = [[str(segment(tmp_path, 20 * g + n)) for n in range(20)] for g in range(4)]
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), *group]) for group in groups]
    assert [process.wait(60) for process in running] == [0] * 4
    with Ledger(tmp_path) as ledger:
        assert len(list(ledger.entries())) == 80


def test_waiting_for_another_process_is_bounded(tmp_path):
    segment(tmp_path, 1)
    with Ledger(tmp_path) as holder, Ledger(tmp_path, timeout_s=0.05) as other:
        holder._db.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientStorageError, match="try again"):
            other.record_sealed([segment(tmp_path, 1)])
        holder._db.execute("ROLLBACK")
        assert other.record_sealed([segment(tmp_path, 1)]) == 1


def test_made_anew_from_the_files_it_is_the_same(ledger, tmp_path):
    paths = [segment(tmp_path, n) for n in range(600)]
    ledger.record_sealed(paths)
    want = [(e.key, e.sha256, e.bytes, e.rows) for e in ledger.entries()]
    ledger.close()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / (LEDGER_NAME + suffix)).unlink(missing_ok=True)
    assert Ledger.rebuild(tmp_path) == 600
    with Ledger(tmp_path) as again:
        assert [(e.key, e.sha256, e.bytes, e.rows) for e in again.entries()] == want


def test_made_anew_it_keeps_what_still_holds(ledger, tmp_path):
    same, changed, removed, lost = paths = [segment(tmp_path, n) for n in range(4)]
    ledger.record_sealed(paths)
    for path in (same, changed, removed):
        ledger.record(ledger.key_of(path), "uploaded")
    ledger.record(ledger.key_of(removed), "deleted")
    changed.write_bytes(b"other rows")
    removed.unlink()
    lost.unlink()
    new = segment(tmp_path, 4)
    ledger._clock.advance(1)
    assert Ledger.rebuild(tmp_path) == 3
    entries = {path: ledger.get(ledger.key_of(path)) for path in (*paths, new)}
    assert (entries[same].uploaded_at, entries[changed].uploaded_at) == (NOW, None)
    assert entries[removed].deleted_at == NOW
    assert entries[lost] is None
    assert entries[new].bytes == 4


def test_a_damaged_ledger_says_so_and_is_set_aside(tmp_path):
    path = segment(tmp_path, 1)
    (tmp_path / LEDGER_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(CorruptError, match="rebuild-ledger"):
        Ledger(tmp_path)
    assert Ledger.rebuild(tmp_path) == 1
    assert (tmp_path / f"{LEDGER_NAME}.damaged").exists()
    with Ledger(tmp_path) as ledger:
        assert ledger.get(ledger.key_of(path)).rows == 10


def test_a_newer_ledger_is_not_touched(ledger, tmp_path):
    with sqlite3.connect(tmp_path / LEDGER_NAME) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="newer version"):
        Ledger(tmp_path)


def test_where_there_is_none_none_is_made(tmp_path):
    assert Ledger.existing(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_recorded_survives_a_process_that_dies(tmp_path):
    path = segment(tmp_path, 1)
    code = (
        "import os, sys; from pathlib import Path; from daedalus.storage.ledger import Ledger\n"
        "Ledger(Path(sys.argv[1])).record_sealed([Path(sys.argv[2])]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(path)], check=False)
    with Ledger(tmp_path) as ledger:
        assert ledger.get(ledger.key_of(path)).bytes == 4
