"""What every section of the settings shares: strictness, number types, names, and rules with useful messages."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from daedalus.shared.network import is_loopback
from daedalus.shared.partitioning import sanitize_partition_value


class Section(BaseModel):
    """One mapping of the file. Unknown keys are errors, values never change, and no error text shows an input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


def rule(message: str, *keys: str) -> PydanticCustomError:
    """Return the error to raise for a broken rule.

    Parameters
    ----------
    message
        What is wrong and what to do, for users. Never a secret.
    keys
        The keys of the section that the rule is about; the first that the user set gives file and line.
    """
    return PydanticCustomError("rule", "{text}", {"text": message, "keys": list(keys)})


def _not_bool(value: object) -> object:
    # YAML reads `yes` and `on` as true, which Python would take for 1.
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "a number is needed")
    return value


def _safe_name(value: str) -> str:
    safe = sanitize_partition_value(value)
    if safe != value:
        raise rule(f"cannot be one directory name as it stands; {safe!r} can")
    return value


def _local_directory(value: str) -> str:
    if "://" in value:
        raise rule("must be a local directory; for an object store set `backend` and `s3` instead")
    return value


def check_url(url: str, secure: str, plain: str, *, anywhere: bool = False, advice: str = "") -> str:
    """Return the URL when its scheme is `secure`, or `plain` to this machine itself. Raises a `rule` error.

    With `anywhere`, `plain` may go to any machine; `advice` says how to get that.

    Examples
    --------
    >>> check_url("ws://127.0.0.1:8765", "wss", "ws")
    'ws://127.0.0.1:8765'
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise rule("is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise rule("must not hold a user name or password: keys have settings of their own")
    if parts.scheme not in (secure, plain) or not host:
        raise rule(f"must be a {secure}:// URL with a host")
    if parts.scheme == plain and not anywhere and not is_loopback(host):
        raise rule(
            f"must start with {secure}:// - unencrypted {plain}:// is for 127.0.0.1, ::1 and localhost only{advice}"
        )
    return url


def check_unique(values: Sequence[str]) -> None:
    """Raise a `rule` error that names the entries that stand twice."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise rule(f"names {', '.join(twice)} twice")


def check_ascending(values: Sequence[float]) -> None:
    """Raise a `rule` error unless each entry is larger than the one before."""
    if any(left >= right for left, right in pairwise(values)):
        raise rule(f"must ascend, each entry once; in order: {', '.join(f'{v:g}' for v in sorted(set(values)))}")


WholeNumber = Annotated[int, BeforeValidator(_not_bool)]
Number = Annotated[float, BeforeValidator(_not_bool)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
DirectoryName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_safe_name)]
Directory = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_local_directory)]
