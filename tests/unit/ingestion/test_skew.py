"""The clock of an exchange: found through late messages, wrong times and steps."""

import random

import pytest
from structlog.testing import capture_logs

from daedalus.ingestion.collectors.skew import SkewMeter
from daedalus.ingestion.orchestrators.clocks import ClockWarnings, clock_figures, clock_readings

NOW = 1_787_610_853_000_000_000


def feed(meter, *, offset_ms, seconds=600, start=NOW, rng=None, wrong=()):
    rng = rng or random.Random(2)
    for number in range(int(seconds * 20)):
        received = start + number * 50_000_000
        delay_ms = 12 + rng.expovariate(1 / 30) + (2000 if rng.random() < 0.02 else 0)
        exchange_us = received // 1000 - int((delay_ms + offset_ms) * 1000)
        if meter.is_due(received):
            meter.add(received, wrong[number % len(wrong)] if wrong and number % 997 == 0 else exchange_us)
    return received


@pytest.mark.parametrize("offset_ms", [0.0, 2500.0, -90_000.0])
def test_the_offset_is_that_of_the_fastest_messages(offset_ms):
    meter = SkewMeter()
    feed(meter, offset_ms=offset_ms)
    reading = meter.reading()
    assert reading.offset_ms == pytest.approx(offset_ms + 12, abs=3)
    assert reading.latency_ms_p50 == pytest.approx(21, abs=6) and 100 < reading.latency_ms_p99 < 2200
    assert 2900 <= reading.samples <= 3001


def test_times_from_nowhere_spoil_nothing():
    meter = SkewMeter()
    feed(meter, offset_ms=0, wrong=(4_000_000_000_000_000, 1))
    assert meter.reading().offset_ms == pytest.approx(12, abs=3)


def test_a_step_of_this_machines_clock_is_seen_within_minutes_and_forgotten_with_the_connection():
    meter = SkewMeter()
    feed(meter, offset_ms=0)
    feed(meter, offset_ms=3000, start=NOW + 603_000_000_000, seconds=200)
    assert meter.reading().offset_ms == pytest.approx(3012, abs=5)
    feed(meter, offset_ms=-5000, start=NOW - 3600_000_000_000, seconds=10)
    assert meter.reading().offset_ms == pytest.approx(-4988, abs=5)
    meter.reset()
    assert meter.reading() is None


def test_messages_without_a_time_tell_nothing():
    meter = SkewMeter()
    meter.add(NOW, None)
    assert meter.reading() is None and not meter.is_due(NOW + 1)


class Named:
    def __init__(self, name, skew):
        self.name, self.skew = name, skew


def test_figures_are_the_worst_and_a_warning_comes_once():
    good, bad = SkewMeter(), SkewMeter()
    feed(good, offset_ms=3, seconds=30)
    feed(bad, offset_ms=-1500, seconds=30)
    readings = clock_readings([Named("a", good), Named("b", bad), Named("c", None), Named("d", SkewMeter())])
    assert set(readings) == {"a", "b"}
    figures = clock_figures(readings)
    assert figures["clock_offset_ms"] == pytest.approx(-1488, abs=5) and figures["latency_ms_p50"] > 0
    assert clock_figures({}) == {}
    warnings = ClockWarnings()
    with capture_logs() as logs:
        for _ in range(3):
            warnings.look(readings)
    (warning,) = logs
    assert (warning["event"], warning["collector"]) == ("clock_offset", "b") and "behind" in warning["meaning"]
