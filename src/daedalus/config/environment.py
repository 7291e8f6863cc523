"""Settings from environment variables: ``DAEDALUS__INGESTION__BATCH_SIZE=500`` sets ``ingestion.batch_size``.

Lists and mappings are JSON. An empty variable is null where the key may be null.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from daedalus.config.base import Section
from daedalus.config.keys import Key, find
from daedalus.config.origins import KeyPath, Origin
from daedalus.config.problems import Problem, unknown_key

PREFIX = "DAEDALUS__"
SEPARATOR = "__"


@dataclass(frozen=True)
class Setting:
    """One value for one key, from outside the file."""

    path: tuple[str, ...]
    value: object
    origin: Origin


def variable(path: KeyPath) -> str:
    """Return the name of a key's environment variable.

    Examples
    --------
    >>> variable(("ingestion", "batch_size"))
    'DAEDALUS__INGESTION__BATCH_SIZE'
    """
    return PREFIX + SEPARATOR.join(str(part).upper() for part in path)


def read_environment(environ: Mapping[str, str], root: type[Section]) -> tuple[list[Setting], list[Problem]]:
    """Return the settings of all variables that begin with the prefix, in any case, and what is wrong with them."""
    settings: list[Setting] = []
    problems: list[Problem] = []
    # Sorted, so that a whole section as JSON comes before single keys in it.
    for name in sorted(environ):
        if not name.upper().startswith(PREFIX):
            continue
        origin = Origin(name)
        path = tuple(name[len(PREFIX) :].lower().split(SEPARATOR))
        key, _, rest = find(root, path)
        if key is None or rest:
            problems.append(Problem(_unknown(path, root), origin))
            continue
        try:
            settings += expand(path, _value(key, path, environ[name]), origin, root)
        except ValueError:
            problems.append(Problem(f"must be JSON, such as {name}='{_example(key)}'", origin))
    return settings, problems


def _value(key: Key, path: tuple[str, ...], text: str) -> object:
    if not text and key.is_optional:
        return None
    return json.loads(text) if key.is_composite or len(path) > len(key.path) else text


def _example(key: Key) -> str:
    default = key.field.get_default(call_default_factory=False)
    return json.dumps((key.field.examples or [default])[0]) if isinstance(default, list) else '{"key": "value"}'


def _unknown(path: tuple[str, ...], root: type[Section]) -> str:
    words = unknown_key(path, root)
    _, _, rest = find(root, path)
    before, separator, near = words.partition("did you mean ")
    if separator:
        near = near.rstrip("?")
        parts = tuple(near.split(".")) if "." in near else (*path[: len(path) - len(rest)], near)
        return f"{before}did you mean {variable(parts)}?"
    return words


def expand(path: tuple[str, ...], value: object, origin: Origin, root: type[Section]) -> Iterator[Setting]:
    """Yield one setting a key: a whole section given at once sets the keys that it names and leaves the others."""
    key, section, rest = find(root, path)
    has_keys = not rest and (section is not None or (key is not None and key.entries is not None))
    if has_keys and isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from expand((*path, str(name)), inner, origin, root)
    else:
        yield Setting(path, value, origin)
