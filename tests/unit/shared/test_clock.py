"""Exchange times and the receive clock."""

import time

import pytest

from daedalus.shared.clock import SystemClock, parse_rfc3339_us, utc


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-08-24T22:34:13.793075885Z", 1787610853793075),
        ("2026-08-24T22:34:13.7930758Z", 1787610853793075),
        ("2018-04-17T00:55:04.358Z", 1523926504358000),
        ("2018-04-17T00:55:04Z", 1523926504000000),
        ("2018-04-17T02:55:04.5+02:00", 1523926504500000),
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_parse_rfc3339(text, micros):
    assert parse_rfc3339_us(text) == micros


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01T00:00:00Z", "2026-08-24T22:34:13.x"])
def test_what_is_no_time_is_an_error(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_rfc3339_us(text)


def test_small_steps_back_are_held_and_large_ones_followed(monkeypatch):
    now = [1_000_000_000_000_000_000]
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    clock = SystemClock()
    first = clock.now_ns()
    now[0] -= 500_000_000
    assert clock.now_ns() == first
    now[0] -= 3_600_000_000_000
    assert clock.now_ns() == now[0]


def test_utc_keeps_microseconds():
    assert utc(1_750_341_600_123_456_789).isoformat() == "2025-06-19T14:00:00.123456+00:00"
