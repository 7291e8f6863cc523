"""Frames of an exchange, one JSON text a line and nothing else: no receive clock, so the exchange's time stands for it.

Kraken v2 says it as RFC 3339 in `timestamp` or `time_out`, Bybit v5 in ms as `ts`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from daedalus.recordings.base import Capture, Unreadable
from daedalus.recordings.lines import TEXT_MAX, numbered_lines
from daedalus.shared.clock import NS_PER_US, parse_rfc3339_us

_NS_PER_MS = 1_000_000
_TEXT_TIME = re.compile(r'"(?:timestamp|time_out)":\s*"([^"]+)"')
_MS_TIME = re.compile(r'"ts":\s*(\d{13})\b')


def read_json_frames(path: Path) -> Iterator[Capture | Unreadable]:
    """Yield the frames of a file (see `recordings.base.CaptureReader`); before the first time, the clock stands at 0.

    A line that does not look like JSON becomes `Unreadable`; its neighbours are not touched.
    """
    clock_ns = 0
    for number, line in numbered_lines(path, "frames as JSON"):
        if not line.startswith(("{", "[")):
            yield Unreadable(line=number, reason="not a JSON object or list", text=line[:TEXT_MAX])
            continue
        clock_ns = time_ns(line) or clock_ns
        yield Capture(line=number, received_ns=clock_ns, kind="received", text=line)


def time_ns(frame: str) -> int | None:
    """Return the last time that a frame names, in ns since the epoch, None if it names none."""
    if texts := _TEXT_TIME.findall(frame):
        try:
            micros = parse_rfc3339_us(texts[-1])
        except ValueError:
            return None
        return None if micros is None else micros * NS_PER_US
    match = _MS_TIME.search(frame)
    return None if match is None else int(match[1]) * _NS_PER_MS
