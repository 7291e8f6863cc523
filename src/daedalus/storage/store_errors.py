"""From what an object store answered to an error of the one tree, with what to do. Nothing of the request is quoted.

A request's address may hold a signature and a library's text its headers, so that messages are made here, of the
answer's status and code alone.
"""

import re
from dataclasses import dataclass

from daedalus.shared.errors import (
    AlreadyExistsError,
    CorruptError,
    DeniedError,
    NotFoundError,
    StorageError,
    TransientStorageError,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*(\w{1,64})\s*</Code>")
_RIGHT_REGION = re.compile(r"<Region>\s*([a-z0-9-]{1,32})\s*</Region>|expecting '([a-z0-9-]{1,32})'")


@dataclass(frozen=True)
class _Meaning:
    kind: type[StorageError]
    what: str


_KEYS = "access_key_id and secret_access_key (or account and key)"
_EXPIRED = _Meaning(DeniedError, "the credentials have expired: renew them, the session token too")
_UNKNOWN_KEY = _Meaning(DeniedError, f"the store does not know these credentials: check {_KEYS}")
_NO_RIGHT = _Meaning(DeniedError, "the credentials lack the right to it: docs/STORAGE.md has the least rights needed")
_NO_CREDENTIALS = _Meaning(
    DeniedError, f"there are no credentials: set {_KEYS}, the store's environment variables, or use an instance's role"
)
_SKEW = _Meaning(DeniedError, "this machine's clock is minutes off, so the store refuses its requests: set the clock")
_NO_BUCKET = _Meaning(StorageError, "there is no such bucket or container: create it, or correct its name")
_REGION = _Meaning(StorageError, "the bucket is in another region: correct the region")
_FULL = _Meaning(StorageError, "the store is full or over its quota: make room or raise the quota")
_DAMAGED = _Meaning(CorruptError, "the store refused the bytes, their checksum is wrong: they were damaged on the way")
_TOO_LARGE = _Meaning(StorageError, "the object is larger than the store takes")
# An answer to HEAD has no body, so that it cannot say what it is about; most often it is this.
_REFUSED = _Meaning(StorageError, "the store refused the request: check the region, the address and the keys")
_BUSY = _Meaning(TransientStorageError, "the store is busy and asks for fewer requests: it is tried again later")
_BROKEN = _Meaning(TransientStorageError, "the store failed: it is tried again later")
_UNREACHED = _Meaning(TransientStorageError, "no connection to the store: check the network and endpoint_url")
_NO_NAME = _Meaning(TransientStorageError, "the store's name was not found (DNS): check the network and endpoint_url")
_CUT = _Meaning(TransientStorageError, "the connection broke or took too long: it is tried again later")
_TLS = _Meaning(
    StorageError, "the store's certificate is not valid for it: check endpoint_url and this machine's clock"
)
_HTTP = _Meaning(
    StorageError, "http:// is refused, keys and data would be readable: use https://, or allow_http in a closed network"
)

_BY_CODE: dict[str, _Meaning] = {
    **dict.fromkeys(("ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException", "RequestExpired"), _EXPIRED),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthenticationFailed", "InvalidSecurity"),
        _UNKNOWN_KEY,
    ),
    **dict.fromkeys(("AccessDenied", "AuthorizationFailure", "AuthorizationPermissionMismatch"), _NO_RIGHT),
    "RequestTimeTooSkewed": _SKEW,
    **dict.fromkeys(("NoSuchBucket", "ContainerNotFound"), _NO_BUCKET),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"), _REGION
    ),
    **dict.fromkeys(("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageFull"), _FULL),
    **dict.fromkeys(
        ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "Md5Mismatch"),
        _DAMAGED,
    ),
    **dict.fromkeys(("EntityTooLarge", "RequestBodyTooLarge"), _TOO_LARGE),
    **dict.fromkeys(
        (
            "SlowDown",
            "ConditionalRequestConflict",
            "OperationAborted",
            "TooManyRequests",
            "ServerBusy",
            "ThrottlingException",
        ),
        _BUSY,
    ),
    **dict.fromkeys(("RequestTimeout", "OperationTimedOut", "IncompleteBody"), _CUT),
}
_BY_STATUS = {
    301: _REGION, 400: _REFUSED, 401: _UNKNOWN_KEY, 403: _NO_RIGHT, 408: _CUT, 413: _TOO_LARGE, 429: _BUSY,
    500: _BROKEN, 502: _BROKEN, 503: _BUSY, 504: _CUT, 507: _FULL,
}  # fmt: skip
# Without keys, the client asks the machine itself for those of its role.
_ASKED_FOR_A_ROLE = ("://169.254.", "://metadata.google.internal", "/latest/api/token", "/latest/meta-data/iam")
# Where no answer came, what the client says of it; the first that fits counts.
_BY_TEXT = (
    ("BareRedirect", _REGION),
    ("scheme is not allowed", _HTTP),
    ("BadScheme", _HTTP),
    ("builder error", _HTTP),
    ("dns error", _NO_NAME),
    ("InvalidCertificate", _TLS),
    ("kind: Connect", _UNREACHED),
    ("HTTP error", _CUT),
    ("TimedOut", _CUT),
    ("body error", _CUT),
    ("decoding response body", _CUT),
    ("connection closed", _CUT),
    ("Content-Length Header missing", _CUT),
)
_BY_NAME: dict[str, _Meaning] = {
    "AlreadyExistsError": _Meaning(AlreadyExistsError, "exists already and is never overwritten"),
    "PreconditionError": _Meaning(AlreadyExistsError, "exists already and is never overwritten"),
    "PermissionDeniedError": _NO_RIGHT,
    "UnauthenticatedError": _UNKNOWN_KEY,
    "FileNotFoundError": _Meaning(NotFoundError, "there is no such object"),
    "NotFoundError": _Meaning(NotFoundError, "there is no such object"),
}


def explain(error: Exception, place: str) -> StorageError:
    """Return the error to raise for one of the library's, about the object or bucket at `place`.

    Examples
    --------
    >>> str(explain(PermissionError("status code: 403 <Code>ExpiredToken</Code>"), "s3://lake/a"))
    's3://lake/a: the credentials have expired: renew them, the session token too (403 ExpiredToken)'
    """
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    meaning = _meaning(type(error).__name__, text, int(status[1]) if status else None, code[1] if code else None)
    answer = " ".join(match[1] for match in (status, code) if match)
    region = _RIGHT_REGION.search(text) if meaning is _REGION else None
    what = f"{meaning.what}, to {region[1] or region[2]}" if region else meaning.what
    return meaning.kind(f"{place}: {what} ({answer})" if answer else f"{place}: {what}")


def _meaning(name: str, text: str, status: int | None, code: str | None) -> _Meaning:
    if any(words in text for words in _ASKED_FOR_A_ROLE):
        return _NO_CREDENTIALS
    if code in _BY_CODE:
        return _BY_CODE[code]
    if name in _BY_NAME:
        return _BY_NAME[name]
    if status is not None:
        return _BY_STATUS.get(status, _BROKEN if status >= 500 else _REFUSED)
    found = next((meaning for words, meaning in _BY_TEXT if words in text), None)
    return found or _Meaning(StorageError, f"the store's client failed ({name})")
