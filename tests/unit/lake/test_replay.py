"""Replay: what was written comes out, in order, with a stated order of what came at the same instant."""

import random
from pathlib import Path

import pytest

import daedalus
from daedalus.lake.replay import Replay
from daedalus.lake.streams import ORDER
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import Event, channel_of
from daedalus.testing.events import seeded_events
from tests.unit.lake.bronze import HOUR, T0, S, delta, gap, write_events


def test_the_events_of_a_recording_in_order_whatever_their_channel(tmp_path: Path) -> None:
    events = list(seeded_events(700, start_ns=T0, step_ns=15 * S))  # three hours, three markets, all channels
    write_events(tmp_path, events)
    lake = daedalus.open_lake(tmp_path)
    assert list(lake.replay(channels=list(ORDER))) == events
    assert list(lake.replay()) == [event for event in events if channel_of(event) != "frames"]
    some = lake.replay(["ETH-USD", "XBT/USDT:USDT"], ["trades", "l2"], T0 + HOUR // 2, T0 + 2 * HOUR)
    assert (
        list(some)
        == list(some)
        == [
            event
            for event in events
            if channel_of(event) in ("trades", "l2")
            and event.symbol != "BTC-USD"
            and T0 + HOUR // 2 <= event.collected_at < T0 + 2 * HOUR
        ]
    )


def test_what_belongs_to_a_whole_connection_comes_with_every_market(tmp_path: Path) -> None:
    events: list[Event] = [delta(T0, ("bid", 1.0, 1.0), whole=True), gap(T0 + S, T0, T0 + S, channel="ALL")]
    write_events(tmp_path, events)
    assert list(daedalus.open_lake(tmp_path).replay("BTC/USD")) == events


def test_ties_come_by_channel_then_market_then_as_they_were_stored(tmp_path: Path) -> None:
    events = [
        msg
        for number, msg in enumerate(seeded_events(300, start_ns=T0, step_ns=0, seed=5))
        if channel_of(msg) != "l2" or number % 3
    ]
    write_events(tmp_path, events)
    got = [event for event in daedalus.open_lake(tmp_path).replay(channels=list(ORDER)) if channel_of(event) != "l2"]
    plain = [event for event in events if channel_of(event) != "l2"]
    assert got == sorted(
        plain, key=lambda e: (ORDER.index(channel_of(e)), e.symbol.replace("/", "-").replace(":", "-"))
    )


def test_frames_without_a_number_are_told_apart_by_the_exchanges_time(tmp_path: Path) -> None:
    import msgspec

    from daedalus.shared.events import pack_changes

    one = delta(T0, ("bid", 1.0, 1.0), whole=True)
    two = msgspec.structs.replace(one, is_snapshot=False, changes=pack_changes([(5, "bid", 1.0, 2.0)]))
    three = msgspec.structs.replace(two, changes=pack_changes([(6, "bid", 1.0, 0.0), (6, "ask", 2.0, 1.0)]))
    write_events(tmp_path, [one, two, three])
    assert list(daedalus.open_lake(tmp_path).replay()) == [one, two, three]


def test_a_lake_without_gaps_has_no_ledger(tmp_path: Path) -> None:
    write_events(tmp_path, [delta(T0, ("bid", 1.0, 1.0), whole=True)])
    lake = daedalus.open_lake(tmp_path)
    assert len(list(lake.replay("BTC-USD", ["gaps", "l2"]))) == 1
    with pytest.raises(ConfigError, match=r"no table 'trades'\. There are l2"):
        lake.replay("BTC-USD", ["trades"])


def test_pace(tmp_path: Path) -> None:
    write_events(tmp_path, [delta(T0 + n * 10 * S, ("bid", 1.0, 1.0), whole=True, nonce=n) for n in range(4)])
    streams = daedalus.open_lake(tmp_path).replay().streams
    waits: list[float] = []
    assert len(list(Replay(streams, None, None, speed=2.0, pause=waits.append))) == 4
    # Nothing really waits here, so each wait counts from the start.
    assert [round(wait) for wait in waits] == [5, 10, 15]


def test_memory_holds_one_row_group_of_every_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from daedalus.storage import segments

    groups: list[tuple[str, int]] = []
    real = segments._Segment.read
    monkeypatch.setattr(
        segments._Segment, "read", lambda self, group: (groups.append((str(self.path), group)), real(self, group))[1]
    )
    rng = random.Random(2)
    events = [delta(T0 + n * S, ("bid", float(rng.randrange(9) + 1), 1.0), whole=n == 0, nonce=n) for n in range(140)]
    write_events(tmp_path, events, row_group=10)
    iterator = iter(daedalus.open_lake(tmp_path).replay())
    for _ in range(5):
        next(iterator)
    assert len(groups) <= 2
    assert len(list(iterator)) == 135 and len(groups) == 14


def test_what_cannot_be_replayed_says_so(tmp_path: Path) -> None:
    write_events(tmp_path, seeded_events(60, start_ns=T0))
    lake = daedalus.open_lake(tmp_path)
    with pytest.raises(ConfigError, match="'bars_60s' is no channel of events: frames, gaps, trades"):
        lake.replay(channels=["bars_60s"])
    with pytest.raises(ConfigError, match=r"nothing in trades matches symbol DOGE-USD. There are"):
        lake.replay("DOGE/USD")
    with pytest.raises(ConfigError, match="speed 0"):
        lake.replay(speed=0)
    assert repr(lake.replay("BTC-USD", ["trades"])) == (
        "Replay of 2025-06-19 14:00:00 to 2025-06-19 15:00:00 UTC, 1 streams:\n  trades testex BTC-USD (coinbase)"
    )
