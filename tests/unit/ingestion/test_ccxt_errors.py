"""What CCXT raises, in words: the cure, the wait, and never a secret."""

import socket

import aiohttp
import ccxt
import pytest

from daedalus.ingestion.collectors.ccxt_errors import Redactor, translate
from daedalus.ingestion.collectors.websocket import BAN_S
from daedalus.shared.errors import RefusedError, TransientCollectorError
from daedalus.testing.clock import FakeClock

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEI\n-----END EC PRIVATE KEY-----\n"


def words(error, headers=None, *secrets):
    return translate(error, "x", Redactor(secrets), FakeClock(), headers)


def caused(error, cause):
    error.__cause__ = cause
    return error


def test_credentials_are_refused_for_good_and_hidden():
    made = words(
        ccxt.AuthenticationError("x GET https://x?apiKey=abc-123 wrong key abc-123"), None, "abc-123", None, "x"
    )
    assert isinstance(made, RefusedError) and "refused the credentials" in str(made) and "abc-123" not in str(made)


@pytest.mark.parametrize(
    ("error", "headers", "wait"),
    [
        (ccxt.RateLimitExceeded("slow down"), {"Retry-After": "17"}, 17.0),
        (ccxt.DDoSProtection("429"), None, BAN_S),
        (ccxt.DDoSProtection("banned until {until}. Please use the websocket"), None, 90.0),
    ],
)
def test_bans_say_until_when(error, headers, wait):
    until = FakeClock().now_ns() // 1_000_000 + 90_000
    made = words(type(error)(str(error).replace("{until}", str(until))), headers)
    assert isinstance(made, TransientCollectorError) and made.retry_after == pytest.approx(wait, abs=0.01)
    assert "limits this address until" in str(made) and "UTC" in str(made)


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (socket.gaierror(-2, "Name or service not known"), "does not resolve"),
        (TimeoutError(), "no answer in time"),
        (aiohttp.ClientError("refused"), "cannot connect"),
    ],
)
def test_name_certificate_and_time_out_are_told_apart(cause, says):
    assert says in str(words(caused(ccxt.ExchangeNotAvailable("x GET https://x"), cause)))
    assert says in str(words(ccxt.NetworkError(cause)))


def test_anything_else_may_pass():
    made = words(ccxt.ExchangeError("something"))
    assert isinstance(made, TransientCollectorError) and made.retry_after is None and "something" in str(made)
    same = RefusedError("as it is")
    assert words(same) is same


def test_messages_that_are_recorded_hold_no_secret():
    redact = Redactor(["key-1234", PEM, None])
    message = {"op": "login", "args": [{"apiKey": "other", "note": "by key-1234"}], "jwt": "eyJ", "n": 5, "sign": "s"}
    shown = redact.message(message)
    assert shown == {"op": "login", "args": [{"apiKey": "***", "note": "by ***"}], "jwt": "***", "n": 5, "sign": "***"}
    assert PEM not in redact.text(f"bad key {PEM} given") and not Redactor([None, "abc"])
