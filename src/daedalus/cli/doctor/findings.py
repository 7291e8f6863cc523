"""The form of what the doctor finds."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, how it is, and what to do about it where it is not well."""

    level: Level
    check: str
    text: str
    fix: str | None = None


Check = Callable[[], Iterable[Finding]]


def ok(check: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding("ok", check, text)


def warn(check: str, text: str, fix: str) -> Finding:
    """Return a finding that recording goes on, but not as it should."""
    return Finding("warn", check, text, fix)


def fail(check: str, text: str, fix: str) -> Finding:
    """Return a finding that something does not work."""
    return Finding("fail", check, text, fix)


def graded(check: str, value: float, text: str, *, warn_at: float, fail_at: float, fix: str) -> Finding:
    """Return a finding by a figure, of which more is worse."""
    level: Level = "fail" if value >= fail_at else "warn" if value >= warn_at else "ok"
    return Finding(level, check, text, None if level == "ok" else fix)


def examined(check: str, ask: Check) -> Iterator[Finding]:
    """Yield what a check finds. That it cannot look is a finding too, and takes no other check along."""
    try:
        yield from ask()
    except Exception as error:
        yield fail(check, f"it could not be looked at: {type(error).__name__}: {error}", "see to that error first")
