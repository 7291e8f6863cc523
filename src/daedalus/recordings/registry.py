"""The tables of recording formats. A new one is a new file and a line here."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from daedalus.recordings.base import CaptureReader, Reader
from daedalus.recordings.binance_raw import read_binance_raw
from daedalus.recordings.bitstamp_log import read_bitstamp_log
from daedalus.recordings.coinbase_exchange import read_coinbase_exchange
from daedalus.recordings.cryptofeed import read_cryptofeed
from daedalus.recordings.json_frames import read_json_frames
from daedalus.recordings.kraken_book import read_kraken_book
from daedalus.recordings.lines import numbered_lines
from daedalus.shared.errors import ConfigError

#: Formats of typed messages.
FORMATS: Mapping[str, Reader] = MappingProxyType({"coinbase-exchange": read_coinbase_exchange})

#: Formats that keep an exchange's own frames.
CAPTURES: Mapping[str, CaptureReader] = MappingProxyType(
    {
        "binance-raw": read_binance_raw,
        "bitstamp-log": read_bitstamp_log,
        "cryptofeed": read_cryptofeed,
        "json-frames": read_json_frames,
        "kraken-book": read_kraken_book,
    }
)

# How the first line of each begins.
_HEADS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "coinbase-exchange": re.compile(r"_id,"),
        "binance-raw": re.compile(r"\d{16,19} \{"),
        "bitstamp-log": re.compile(r"\d{12,14} \w+ \{"),
        "cryptofeed": re.compile(r"\S+://\S+ (<->|<-|->) \d|\d+(\.\d+)?: "),
        "kraken-book": re.compile(r'\{\s*("init"|$)'),
        "json-frames": re.compile(r"[{\[]"),
    }
)


def reader(name: str) -> Reader:
    """Return the reader of a format. Raises `ConfigError` that names the nearest format if there is none."""
    if name in FORMATS:
        return FORMATS[name]
    raise _unknown(name)


def capture_reader(name: str) -> CaptureReader:
    """Return the reader of a format of frames. Raises `ConfigError` that names the nearest format if there is none."""
    if name in CAPTURES:
        return CAPTURES[name]
    raise _unknown(name)


def guess_format(path: Path) -> str:
    """Return the format that a file's first line looks like. Raises `ConfigError` if it looks like none.

    Raises
    ------
    NotFoundError, CorruptError
        As the readers do.
    """
    head = next((line for _, line in numbered_lines(path, "a recording")), "")
    for name, pattern in _HEADS.items():
        if pattern.match(head):
            return name
    raise ConfigError(f"{path}: looks like no known recording: name its format ({', '.join([*FORMATS, *CAPTURES])})")


def _unknown(name: str) -> ConfigError:
    names = [*FORMATS, *CAPTURES]
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(names)}"
    return ConfigError(f"unknown recording format {name!r}: {hint}")
