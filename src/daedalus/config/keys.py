"""The keys of the settings, found by walking the models: for messages, the environment, the template and the tests."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from daedalus.config.base import Section
from daedalus.config.origins import KeyPath


@dataclass(frozen=True)
class Key:
    """One key of a section.

    Attributes
    ----------
    section
        The model of its value when that is a section.
    entries
        The model of each entry when its value maps free names to sections, as ``ccxt.exchanges`` does.
    """

    path: tuple[str, ...]
    field: FieldInfo
    section: type[Section] | None
    entries: type[Section] | None

    @property
    def is_leaf(self) -> bool:
        """Whether the key holds a value rather than further keys."""
        return self.section is None and self.entries is None

    @property
    def is_secret(self) -> bool:
        """Whether the value must never be shown."""
        return SecretStr in alternatives(self.field.annotation)

    @property
    def is_optional(self) -> bool:
        """Whether null is a value of the key."""
        return type(None) in alternatives(self.field.annotation)

    @property
    def is_composite(self) -> bool:
        """Whether the value is a list or a mapping."""
        return not self.is_leaf or any(get_origin(kind) in (list, dict) for kind in alternatives(self.field.annotation))


def members(annotation: Any) -> tuple[Any, ...]:
    """Return what a union is made of, as it stands, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the plain types that a value may have."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    one, *more = members(annotation)
    return tuple(kind for member in (one, *more) for kind in alternatives(member)) if more else (one,)


@cache
def keys_of(section: type[Section], prefix: tuple[str, ...] = ()) -> Mapping[str, Key]:
    """Return the keys of one section, in the order of the template."""
    return {name: _key((*prefix, name), field) for name, field in section.model_fields.items()}


def _key(path: tuple[str, ...], field: FieldInfo) -> Key:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Section):
        return Key(path, field, kind, None)
    values = get_args(kind)[1] if get_origin(kind) is dict else None
    if isinstance(values, type) and issubclass(values, Section):
        return Key(path, field, None, values)
    return Key(path, field, None, None)


def walk(section: type[Section], prefix: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield every key, sections before what they hold; the entries of free names stand under ``{id}``."""
    for key in keys_of(section, prefix).values():
        yield key
        if key.section is not None:
            yield from walk(key.section, key.path)
        elif key.entries is not None:
            yield from walk(key.entries, (*key.path, "{id}"))


def find(root: type[Section], path: KeyPath) -> tuple[Key | None, type[Section] | None, KeyPath]:
    """Follow a path into the models as far as they go.

    Returns
    -------
    key
        The last key on the way; None when already the first name is unknown.
    section
        The section that the path ends in, or that the rest was looked up in; None at or below a leaf.
    rest
        What of the path the models do not know.
    """
    key: Key | None = None
    section: type[Section] | None = root
    at = 0
    while at < len(path) and section is not None:
        known = keys_of(section, tuple(str(part) for part in path[:at]))
        if path[at] not in known:
            return key, section, path[at:]
        key, at = known[str(path[at])], at + 1
        section = key.section
        if key.entries is not None and at < len(path):
            section, at = key.entries, at + 1
    return key, section, path[at:]
