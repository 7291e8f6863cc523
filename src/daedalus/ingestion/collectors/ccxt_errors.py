"""What CCXT raised, in words for the ledger and the log, without secrets; and what follows from it.

Imports CCXT: import this module only where it is needed.
"""

import re
import socket
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
)

from daedalus.shared.clock import Clock, utc
from daedalus.shared.errors import CollectorError, RefusedError, TransientCollectorError

#: Errors of a subscription that another try would meet again.
FINAL = (BadRequest, NotSupported, ArgumentsRequired)
#: Errors that asking less helps against.
BANS = (RateLimitExceeded, DDoSProtection)
#: Wait after a ban whose end the exchange does not tell.
BAN_S = 60.0
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
    error: BaseException, exchange: str, redact: Redactor, clock: Clock, headers: Mapping[str, Any] | None = None
) -> CollectorError:
    """Return what a driver understands: whether connecting again helps, and when.

    Parameters
    ----------
    headers
        Of the last answer by HTTP: it may say how long to wait.
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
    return TransientCollectorError(f"{exchange}: {_network_cause(error) or said}")


def _said(error: BaseException) -> str:
    if isinstance(error, OSError | TimeoutError):
        return f"{type(error).__name__}: {error}"
    return f"{error!s} ({type(error).__name__})" if str(error) else type(error).__name__


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may work later."""
    return isinstance(error, OperationFailed | OSError | TimeoutError)


def _network_cause(error: BaseException) -> str | None:
    """Tell name, certificate, refusal and time-out apart: they have different cures."""
    if not isinstance(error, NetworkError | OSError | TimeoutError):
        return None
    cause = error.__cause__ or next((a for a in error.args if isinstance(a, BaseException)), error)
    if isinstance(cause, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return f"the name does not resolve ({cause}); check the network and the address"
    if isinstance(cause, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return f"TLS failed ({cause}); check this machine's clock and certificates"
    if isinstance(cause, aiohttp.WSServerHandshakeError):
        return f"the server answered {cause.status}"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, aiohttp.ClientError):
        return f"cannot connect ({cause})"
    return None


def _ban_seconds(said: str, headers: Mapping[str, Any] | None, clock: Clock) -> float:
    text = str((headers or {}).get("Retry-After", ""))
    if text.isdigit():
        return float(text)
    until = _UNTIL_MS.search(said)
    if until:
        return max(1.0, int(until.group(1)) / 1000 - clock.now_ns() / 1e9)
    return BAN_S
