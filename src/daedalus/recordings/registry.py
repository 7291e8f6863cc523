"""The table of recording formats. A new one is a new file and a line here."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from daedalus.recordings.base import Reader
from daedalus.recordings.coinbase_exchange import read_coinbase_exchange
from daedalus.shared.errors import ConfigError

FORMATS: Mapping[str, Reader] = MappingProxyType({"coinbase-exchange": read_coinbase_exchange})


def reader(name: str) -> Reader:
    """Return the reader of a format. Raises `ConfigError` that names the nearest format if there is none."""
    if name in FORMATS:
        return FORMATS[name]
    near = get_close_matches(name, FORMATS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(FORMATS)}"
    raise ConfigError(f"unknown recording format {name!r}: {hint}")
