"""The disk budget: the oldest go first, verified copies before all others, and nothing unasked."""

import pytest

from daedalus.ingestion.writers.journal import journal_id
from daedalus.shared.segment import SegmentName
from daedalus.storage.ledger import Ledger
from daedalus.storage.retention import Retention
from daedalus.testing.clock import FakeClock
from daedalus.testing.events import START_NS

SIZE = 1000


@pytest.fixture
def lake(tmp_path):
    """Ten segments of 1,000 bytes, sealed one a minute; the copies of 0, 1, 2 and 5 were verified."""
    clock, keys = FakeClock(START_NS), []
    with Ledger(tmp_path, clock=clock) as ledger:
        for number in range(10):
            name = SegmentName(journal_id(clock.now_ns(), number), 0, 9).file_name()
            path = tmp_path / "raw/ready/x/trades/exchange=x" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(SIZE))
            ledger.record_sealed([path])
            keys.append(ledger.key_of(path))
            clock.advance(60)
        for number in (5, 0, 1, 2):
            ledger.record(keys[number], "uploaded")
            ledger.record(keys[number], "verified")
    return tmp_path, keys


def left(base, keys):
    return [number for number, key in enumerate(keys) if (base / key).exists()]


def test_without_a_budget_nothing_goes(lake):
    base, keys = lake
    assert Retention(base).enforce().removed == [] and left(base, keys) == list(range(10))


def test_the_oldest_verified_go_first(lake):
    base, keys = lake
    freed = Retention(base, max_bytes=8 * SIZE).enforce()
    assert freed.removed == [keys[0], keys[1]] and freed.bytes == 2 * SIZE and freed.still_over == 0
    assert left(base, keys) == [2, 3, 4, 5, 6, 7, 8, 9]
    with Ledger(base) as ledger:
        assert ledger.get(keys[0]).deleted_at and ledger.live_bytes() == 8 * SIZE


def test_what_exists_nowhere_else_stays(lake):
    base, keys = lake
    freed = Retention(base, max_bytes=SIZE).enforce()
    assert left(base, keys) == [3, 4, 6, 7, 8, 9]
    assert freed.still_over == 5 * SIZE
    again = Retention(base, max_bytes=SIZE).enforce()
    assert again.removed == [] and again.still_over == 5 * SIZE


def test_unless_the_user_says_so(lake):
    base, keys = lake
    freed = Retention(base, max_bytes=3 * SIZE, delete_unsynced=True).enforce()
    assert left(base, keys) == [7, 8, 9] and freed.still_over == 0


def test_room_on_the_disk_counts_too(lake, monkeypatch):
    from daedalus.storage import retention

    base, keys = lake

    class Usage:
        @property
        def free(self):
            return 500 + SIZE * (10 - len(left(base, keys)))

    monkeypatch.setattr(retention.shutil, "disk_usage", lambda _: Usage())
    Retention(base, min_free_bytes=2 * SIZE).enforce()
    assert left(base, keys) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_file_that_is_gone_already_is_no_trouble(lake):
    base, keys = lake
    (base / keys[0]).unlink()
    assert Retention(base, max_bytes=8 * SIZE).enforce().still_over == 0
    assert left(base, keys) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_lake_that_does_not_exist_yet(tmp_path):
    assert Retention(tmp_path / "none", max_bytes=1).enforce().removed == []
