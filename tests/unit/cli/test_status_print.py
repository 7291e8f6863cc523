"""What `daedalus status` prints: nothing is cut off, however narrow the terminal; faults come first."""

import json

import pytest

from daedalus.cli.status_print import Seen, as_machine, cut, lines
from daedalus.ingestion.monitoring.status import Clocks, Connection, Disk, Journal, Queue
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.storage.sync_health import SyncHealth
from daedalus.storage.sync_report import Tally
from tests.unit.ingestion.test_monitoring import NOW, made

BUSY = made(
    rows={"l2": 1_234_567_890, "trades": 7},
    rows_per_second={"l2": 12_345.6, "trades": 0.0},
    heard={"coinbase/l2": NOW - NS_PER_SECOND, "kraken/l2": NOW - 200 * NS_PER_SECOND},
    connections=[Connection("coinbase:BTC-USD+49", "coinbase", True, 200), Connection("kraken", "kraken", False, 12)],
    disconnects=12,
    queue=Queue(45_000, 210_000_000, 49_999, 50_000, 268_435_456, 1_234),
    journal=Journal(64_000_000, 9, NOW - NS_PER_SECOND, 3, True),
    gaps={"disconnect": 1_200, "sequence_gap": 4, "stall": 1},
    clocks={"kraken": Clocks(-2500.0, 3.0, 90.0)},
    disk=Disk(10**12, 10**10, 10**10, 8e9, 1.25),
    memory_bytes=300_000_000,
)
SYNC = SyncHealth(7, "s3://lake/pi-4", 300.0, NOW, NOW - 9000 * NS_PER_SECOND, 3, "it does not answer", Tally(5, 9))
SEEN = Seen(NOW, "data", [BUSY, made(source="y", phase="stopped")], SYNC, {"s3://lake/pi-4": NOW}, {"x": 12, "y": None})


@pytest.mark.parametrize("width", [60, 80, 200])
def test_nothing_is_cut_off(width):
    shown = lines(SEEN, width)
    assert max(map(len, shown)) <= width
    words = " ".join(" ".join(shown).split())
    for text in (
        "1,234,567,890",
        "12,345.6",
        "1 of 2 deliver, 12 ended",
        "dropped 1,234",
        "3 wait to be sealed",
        "disconnect 1,200, sequence_gap 4, stall 1",
        "lasts 1.2 days",
        "SYNC FAULT",
        "it does not answer",
        "x: runs, process 12",
        "y: does not run",
        "y: stopped",
    ):
        assert text in words, text
    assert "FAULT" in shown[1] and "the disk refuses rows" in words and "do not deliver: kraken" in words
    assert "90% full" in words and "-2.5 s apart" in words


def test_a_low_window_says_that_there_is_more():
    shown = lines(SEEN, 80)
    assert cut(shown, len(shown)) == shown
    assert cut(shown, 10) == [*shown[:9], f"... {len(shown) - 9} more lines: a higher window shows them"]


def test_machines_are_told_the_same():
    told = json.loads(as_machine(SEEN))
    assert not told["is_well"] and [one["liveness"] for one in told["recorders"]] == ["running", "stopped"]
    assert len(told["recorders"][0]["faults"]) == 2 and told["watchers"] == {"x": 12, "y": None}


def test_all_is_well_when_something_records_and_nothing_is_wrong():
    well = made(connections=[Connection("a", "e", True, 1)])
    assert Seen(NOW, "data", [well]).is_well
    assert not Seen(NOW, "data", [well], SYNC).is_well
    assert not Seen(NOW, "data", [well, made(pid_born=1)]).is_well
    assert not Seen(NOW + 60 * NS_PER_SECOND, "data", [well]).is_well and not Seen(NOW, "data").is_well
