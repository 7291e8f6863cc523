"""The settings as YAML: what counts, secrets hidden, and where each value that is no default comes from."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from daedalus.config.application import DaedalusConfig
from daedalus.config.base import Section
from daedalus.config.describe import HIDDEN, inline
from daedalus.config.keys import Key, keys_of

#: Free mappings, whose texts may well be secrets: all of them are hidden.
_FREE = ("options",)


def render_config(config: DaedalusConfig, with_origins: bool = False) -> str:
    """Return all settings as YAML, in the order of the template.

    Parameters
    ----------
    config
        What `load_config` returned.
    with_origins
        Add a comment with file and line, variable or flag to each value that differs from its default.
    """
    lines = []
    for depth, name, key, value in _rows(config, ()):
        lead = "  " * depth + f"{inline(name)}:"
        if key is None or isinstance(value, Section):
            lines.append(lead)
        else:
            note = _origin(config, key, value) if with_origins else ""
            lines.append(f"{lead} {inline(plain(key, value))}{note}")
    return "\n".join(lines) + "\n"


def _rows(section: Section, path: tuple[str, ...]) -> Iterator[tuple[int, str, Key | None, Any]]:
    """Yield depth, name, key and value, top down; the name of a free entry has no key."""
    for name, key in keys_of(type(section), path).items():
        value = getattr(section, name)
        if key.entries is not None and value:
            yield len(path), name, None, value
            for entry, inner in value.items():
                yield len(path) + 1, entry, None, inner
                yield from _rows(inner, (*key.path, entry))
        else:
            yield len(path), name, key, value
            if isinstance(value, Section):
                yield from _rows(value, key.path)


def _origin(config: DaedalusConfig, key: Key, value: object) -> str:
    origin = config.origins.of(key.path)
    changed = value != key.field.get_default(call_default_factory=False)
    return f"  # {origin}" if origin is not None and changed else ""


def changed_values(config: DaedalusConfig) -> list[tuple[str, str, str]]:
    """Return dotted key, shown value and origin of each value that differs from its default."""
    found = []
    for _, _, key, value in _rows(config, ()):
        if key is None or isinstance(value, Section):
            continue
        note = _origin(config, key, value)
        if note:
            found.append((".".join(key.path), inline(plain(key, value)), note.removeprefix("  # ")))
    return found


def plain(key: Key, value: object) -> object:
    """Return a value as plain data for showing: secrets hidden, and every text of a free mapping too."""
    if key.path[-1] in _FREE:
        return _hide_texts(value)
    if isinstance(value, SecretStr):
        return HIDDEN
    return value


def _hide_texts(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _hide_texts(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hide_texts(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else HIDDEN
