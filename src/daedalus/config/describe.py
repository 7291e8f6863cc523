"""Keys and values in words: what a key allows, and what was given, without ever showing a secret."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from daedalus.config.keys import Key, members
from daedalus.config.origins import KeyPath

HIDDEN = "**********"
_SHOWN_MAX = 80
_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")


def allowed(field: FieldInfo) -> str:
    """Return the values that a key allows, such as ``a whole number from 1 to 22``."""
    return _describe(field.annotation, field.metadata)


def allowed_at(key: Key, rest: KeyPath) -> str:
    """Return what is allowed at a place within the value of a key: an entry of a list, a name or value of a mapping."""
    kind: Any = key.field.annotation
    if get_origin(kind) not in (list, dict) or not rest:
        return allowed(key.field)
    for part in rest:
        if get_origin(kind) is dict:
            kind = get_args(kind)["[key]" not in rest]
        elif get_origin(kind) is list and isinstance(part, int):
            kind = get_args(kind)[0]
    return _describe(kind, [])


def _describe(kind: Any, metadata: Iterable[Any]) -> str:
    if get_origin(kind) is Annotated:
        kind, *inner = get_args(kind)
        return _describe(kind, [*_flat(inner), *metadata])
    if len(members(kind)) > 1:
        return " or ".join(_describe(one, metadata) for one in members(kind))
    if get_origin(kind) is Literal:
        names = [str(name) for name in get_args(kind)]
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if get_origin(kind) is list:
        return f"a list, each entry {_describe(get_args(kind)[0], [])}"
    if get_origin(kind) is dict:
        return "a mapping"
    return _describe_plain(kind, list(metadata))


def _describe_plain(kind: Any, metadata: list[Any]) -> str:
    words: dict[Any, str] = {bool: "true or false", str: "text", SecretStr: "text", type(None): "null"}
    if kind in words:
        return words[kind]
    noun = "a whole number" if kind is int else "a number"
    low, above, high = (_bound(metadata, name) for name in ("ge", "gt", "le"))
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}"
    return f"{noun} above {above}, at most {high}"


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _bound(metadata: Iterable[Any], name: str) -> str | None:
    for item in metadata:
        value = getattr(item, name, None)
        if value is not None:
            return str(value) if isinstance(value, int) else f"{value:g}"
    return None


def inline(value: object) -> str:
    """Return a plain value as YAML on one line.

    Examples
    --------
    >>> inline(["BTC-USD", 1, None])
    '[BTC-USD, 1, null]'
    """
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def given(value: object, key: Key | None) -> str:
    """Return what the user gave, fit for a message: secrets hidden, text cut, lists and mappings only named."""
    if key is not None and key.is_secret:
        return HIDDEN
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value) if not isinstance(value, bool | None) else inline(value)
    if "PRIVATE KEY" in text:
        return HIDDEN
    text = _USER_INFO.sub(HIDDEN + "@", text)
    text = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
    return repr(text) if isinstance(value, str) else text
