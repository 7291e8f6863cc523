"""What is wrong with the settings, in words: where, which key, what was given, what is allowed."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from daedalus.config.base import Section
from daedalus.config.describe import allowed_at, given
from daedalus.config.keys import Key, find, keys_of, walk
from daedalus.config.origins import KeyPath, Origin, Origins, dotted
from daedalus.shared.errors import ConfigError

_OWN_RULES = ("rule", "value_error")
_TOO_FEW = {"too_short": "needs at least {min_length} entry", "string_too_short": "must not be empty"}
_TOO_MANY = {
    "too_long": "has more than {max_length} entries",
    "string_too_long": "is longer than {max_length} characters",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, for the user to change. With `unread`, the value itself could not be made out."""

    text: str
    origin: Origin | None = None
    path: KeyPath = ()
    unread: bool = False

    def __str__(self) -> str:
        """Return one line: the place, the key, the words."""
        return ": ".join(filter(None, (str(self.origin or ""), dotted(self.path), self.text)))


class ConfigProblemsError(ConfigError):
    """Everything that is wrong with the settings at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        # In the order of the file; what has no line comes last.
        self.problems = sorted(problems, key=lambda p: (p.origin is None or p.origin.line is None, _line(p)))
        lines = [str(problem) for problem in self.problems]
        many = f"{len(lines)} things are wrong in the configuration:\n  " if len(lines) > 1 else ""
        super().__init__(many + "\n  ".join(lines))


def _line(problem: Problem) -> int:
    return (problem.origin and problem.origin.line) or 0


def from_validation(error: ValidationError, root: type[Section], origins: Origins) -> list[Problem]:
    """Turn Pydantic's findings into problems, one a key."""
    found: dict[KeyPath, Problem] = {}
    for details in error.errors(include_url=False):
        problem = _problem(dict(details), root, origins)
        found.setdefault(problem.path, problem)
    return list(found.values())


def _problem(details: dict[str, Any], root: type[Section], origins: Origins) -> Problem:
    loc: KeyPath = tuple(details["loc"])
    if details["type"] == "extra_forbidden":
        return Problem(unknown_key(loc, root), origins.of(loc), loc)
    key, section, rest = find(root, loc)
    path = _within(loc[: len(loc) - len(rest)], rest, origins)
    if details["type"] == "rule":
        named = [(*path, name) for name in details["ctx"].get("keys", ())]
        path = next((one for one in named if origins.exact(one)), named[0] if named else path)
        return Problem(details["msg"], origins.of(path), path)
    return Problem(_words(details, key, section), origins.of(path), path)


def _within(path: KeyPath, rest: KeyPath, origins: Origins) -> KeyPath:
    """Go on into lists and mappings. Pydantic puts names of types among the places, which users do not know."""
    for part in rest:
        if isinstance(part, int) or (*path, part) in origins.places:
            path = (*path, part)
    return path


def _words(details: dict[str, Any], key: Key | None, section: type[Section] | None) -> str:
    kind, context = details["type"], details.get("ctx", {})
    for table in (_TOO_FEW, _TOO_MANY):
        if kind in table:
            return table[kind].format(**context)
    got = given(details["input"], key)
    if section is not None or key is None or key.entries is not None:
        return f"given {got}; allowed: a mapping of keys"
    text = allowed_at(key, tuple(details["loc"])[len(key.path) :])
    hint = (
        "; put it in quotes to make it text"
        if kind == "string_type" and not isinstance(details["input"], dict | list)
        else ""
    )
    return f"given {got}; allowed: {text}{hint}{_nearest_value(details['input'], context)}"


def _nearest_value(value: object, context: dict[str, Any]) -> str:
    """Suggest the member of a closed set that was probably meant."""
    members = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
    near = difflib.get_close_matches(str(value), members, n=1) if "expected" in context else []
    return f"; did you mean {near[0]}?" if near else ""


def unknown_key(path: KeyPath, root: type[Section]) -> str:
    """Say that there is no such key, and which one was probably meant."""
    _, section, rest = find(root, path)
    name = str(rest[0] if rest else path[-1])
    siblings = list(keys_of(section)) if section is not None else []
    near = difflib.get_close_matches(name.lower(), siblings, n=1)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    elsewhere = {key.path[-1]: dotted(key.path) for key in walk(root)}
    near = difflib.get_close_matches(name.lower(), elsewhere, n=1, cutoff=0.8)
    if near:
        return f"unknown key; did you mean {elsewhere[near[0]]}?"
    return f"unknown key; known here: {', '.join(siblings)}" if siblings else "unknown key; it has no keys of its own"
