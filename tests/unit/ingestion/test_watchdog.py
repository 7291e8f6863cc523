"""Silence: found for each stream by its own patience, told once, learnt from, deaf to steps of the clock."""

from itertools import pairwise

from daedalus.ingestion.collectors.watchdog import PATIENCE_MAX_S, Requests, Watchdog

BOOK, OTHER, TRADES = ("BTC", "l2"), ("ETH", "l2"), ("BTC", "trades")


def watching(timeouts=None):
    dog = Watchdog(timeouts or {"l2": 60.0, "trades": 300.0, "ticker": None})
    dog.expect([BOOK, OTHER, TRADES, ("BTC", "ticker"), ("BTC", "unknown")], now_ns=5, now=0.0)
    return dog


def run(dog, streams, begin, end):
    """Let streams speak once a second; return what was found silent."""
    found = []
    for second in range(begin, end):
        for stream in streams:
            dog.heard[stream] = 1000 + second
        found += [(silence.stream, second) for silence in dog.check(float(second))]
    return found


def test_one_symbol_falls_silent_while_others_live():
    dog = watching()
    assert run(dog, [BOOK, OTHER, TRADES], 0, 100) == []
    assert run(dog, [OTHER, TRADES], 100, 400) == [(BOOK, 160)]
    assert dog.is_silent(BOOK) and not dog.is_silent(OTHER)
    assert run(dog, [BOOK], 400, 401) == [] and not dog.is_silent(BOOK)


def test_a_silence_tells_since_when():
    dog = watching()
    run(dog, [BOOK, OTHER], 0, 10)
    (silence,) = [s for s in (dog.check(t) for t in (69.0, 69.9, 70.1)) for s in s if s.stream == BOOK]
    assert silence.since == 1009 and silence.seconds > 60.0


def test_what_never_spoke_is_missed_since_the_beginning():
    dog = watching()
    assert {s.stream: s.since for s in dog.check(61.0)} == {BOOK: 5, OTHER: 5}


def test_a_quiet_market_is_given_patience_and_loses_it_when_it_is_busy_again():
    dog, alarms, now = watching({"l2": 60.0}), [], 0
    for _ in range(40):
        found = run(dog, [], now, now + 100) + run(dog, [BOOK, OTHER], now + 100, now + 101)
        alarms += [second for stream, second in found if stream == BOOK]
        now += 101
    assert alarms == [61], "a market that speaks every 101 s alarms once"
    now += 1
    for _ in range(40):
        found = run(dog, [], now, now + 5000) + run(dog, [BOOK, OTHER], now + 5000, now + 5001)
        now += 5001
    assert [s for stream, s in found if stream == BOOK] and dog._watched[BOOK].patience == PATIENCE_MAX_S
    assert run(dog, [BOOK, OTHER], now, now + 700) == []
    assert [stream for stream, _ in run(dog, [OTHER], now + 700, now + 762)] == [BOOK]


def test_a_new_connection_starts_anew_but_keeps_what_was_learnt():
    dog = watching({"l2": 60.0})
    run(dog, [], 0, 100)
    run(dog, [BOOK], 100, 101)
    dog.expect([BOOK], now_ns=7, now=200.0)
    assert run(dog, [], 200, 319) == []
    assert run(dog, [], 319, 322) == [(BOOK, 321)]
    dog.forget([BOOK])
    assert dog.check(9e9) == []


def test_a_step_of_the_clock_alarms_nobody():
    dog = watching({"l2": 60.0})
    for second in range(200):
        dog.heard[BOOK] = dog.heard[OTHER] = 1000 + second + (3600_000_000_000 if second > 100 else 0)
        assert dog.check(float(second)) == []


def test_requests_are_spaced_repeated_ever_more_seldom_and_never_end():
    requests, asked = Requests(spacing=2.0, first=20.0, cap=300.0), []
    requests.want("a", 0.0)
    for tenth in range(40_000):
        asked += [(tenth / 10, tries) for _, tries in requests.due(tenth / 10)]
    times = [time for time, _ in asked]
    waits = [round(after - before) for before, after in pairwise(times)]
    assert waits[:5] == [20, 40, 80, 160, 300] and set(waits[5:]) == {300}
    assert [tries for _, tries in asked] == list(range(len(asked)))
    assert "a" in requests and requests.open()["a"] == len(asked)
    requests.done("a")
    assert "a" not in requests and requests.open() == {}


def test_what_comes_is_not_asked_for_again_and_a_flood_of_wishes_is_spaced():
    requests, asked = Requests(spacing=2.0), []
    for tenth in range(100):
        requests.want("a", tenth / 10)
        asked += [tenth / 10 for _ in requests.due(tenth / 10)]
        requests.done("a")
    assert asked == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_what_was_asked_by_other_means_is_waited_for():
    requests = Requests(first=20.0)
    requests.want("a", 0.0, asked=True)
    assert requests.due(19.9) == [] and requests.due(20.0) == [("a", 1)]
