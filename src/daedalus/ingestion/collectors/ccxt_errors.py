"""What CCXT raised, in words for the ledger and the log, without secrets; and what follows from it.

Imports CCXT: import this module only where it is needed.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from ccxt.base.errors import (
    ArgumentsRequired,
    AuthenticationError,
    BadRequest,
    DDoSProtection,
    NetworkError,
    NotSupported,
    OperationFailed,
    RateLimitExceeded,
    RequestTimeout,
)

from daedalus.ingestion.collectors.websocket import BAN_S, wait_asked_for, why_not_connected
from daedalus.shared.clock import Clock, utc
from daedalus.shared.errors import CollectorError, RefusedError, TransientCollectorError

#: Errors of a subscription that another try would meet again.
FINAL = (BadRequest, NotSupported, ArgumentsRequired)
#: Errors that asking less helps against.
BANS = (RateLimitExceeded, DDoSProtection)
#: The longest text of an exchange that goes into a message.
SAID_MAX = 400

_UNTIL_MS = re.compile(r"until (\d{13})")
_SECRET_NAMES = frozenset(
    ("jwt", "signature", "sign", "apikey", "api_key", "key", "token", "passphrase", "password", "secret", "auth")
)
_HIDDEN = "***"


class Redactor:
    """Takes secrets out of texts.

    Parameters
    ----------
    secrets
        What must not be seen; None and short ones are passed over.
    """

    def __init__(self, secrets: Iterable[str | None]) -> None:
        self._secrets = sorted({s for s in secrets if s and len(s) >= 4}, key=len, reverse=True)

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._secrets)

    def text(self, value: object, at_most: int = SAID_MAX) -> str:
        """Return a text without secrets, cut to a length for messages."""
        text = str(value)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text if len(text) <= at_most else text[:at_most] + "..."

    def message(self, value: Any) -> Any:
        """Return a message to an exchange with what names and values give away as secret hidden."""
        if isinstance(value, dict):
            return {k: _HIDDEN if str(k).lower() in _SECRET_NAMES else self.message(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.message(item) for item in value]
        return self.text(value, 1 << 20) if isinstance(value, str) else value


def translate(
    error: BaseException, exchange: str, redact: Redactor, clock: Clock, headers: Mapping[str, str] | None = None
) -> CollectorError:
    """Return what a driver understands: whether connecting again helps, and when.

    Parameters
    ----------
    headers
        Of the answer by HTTP that asked to wait, if there was one: it may say how long.
    """
    if isinstance(error, CollectorError):
        return error
    said = redact.text(_said(error))
    if isinstance(error, AuthenticationError):
        return RefusedError(
            f"{exchange} refused the credentials; it said: {said}. Correct api_key, api_secret and password under "
            f"ccxt.exchanges, or leave them out: market data seldom needs them"
        )
    if isinstance(error, BANS):
        wait = _ban_seconds(said, headers, clock)
        until = utc(clock.now_ns() + int(wait * 1e9)).strftime("%Y-%m-%d %H:%M:%S UTC")
        return TransientCollectorError(
            f"{exchange} limits this address until {until}; it said: {said}", retry_after=wait
        )
    cause = _network_cause(error)
    if cause is None:
        return TransientCollectorError(f"{exchange}: {said}")
    why, seconds = why_not_connected(cause, clock)
    return TransientCollectorError(f"{exchange}: cannot connect, {redact.text(why)}", retry_after=seconds)


def _said(error: BaseException) -> str:
    if isinstance(error, OSError | TimeoutError):
        return f"{type(error).__name__}: {error}"
    return f"{error!s} ({type(error).__name__})" if str(error) else type(error).__name__


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may work later."""
    return isinstance(error, OperationFailed | OSError | TimeoutError)


def _network_cause(error: BaseException) -> BaseException | None:
    """Return what kept a request or a connection from being made, None if it was made."""
    if not isinstance(error, NetworkError | OSError | TimeoutError):
        return None
    if isinstance(error, RequestTimeout):
        # CCXT says the same of a connection on which no pong came.
        is_connecting = error.__cause__ is not None or "Connection timeout" in str(error)
        return TimeoutError() if is_connecting else None
    cause = error.__cause__ or next((a for a in error.args if isinstance(a, BaseException)), error)
    return cause if isinstance(cause, aiohttp.ClientError | OSError | TimeoutError) else None


def _ban_seconds(said: str, headers: Mapping[str, str] | None, clock: Clock) -> float:
    wait = wait_asked_for(0, headers or {}, clock)
    if wait is not None:
        return wait
    until = _UNTIL_MS.search(said)
    if until:
        return max(1.0, int(until.group(1)) / 1000 - clock.now_ns() / 1e9)
    return BAN_S
