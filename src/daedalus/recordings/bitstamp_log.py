"""Logs of Bitstamp's former feed, one event a line: ``<receive clock in ms> <event> <json>``, plain, gzip or xz.

Events: `order_created`, `order_changed`, `order_deleted` (single orders; 0 is a bid, 1 an ask), `trade` (no side, no
time, ids not monotone) and `order_book` (the top levels, no time). The text of a capture is the event and its JSON.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from daedalus.recordings.base import Capture, Unreadable
from daedalus.recordings.lines import TEXT_MAX, numbered_lines

NS_PER_MS = 1_000_000
_LINE = re.compile(r"(\d{12,14}) (\w+ \{.*\})", re.DOTALL)


def read_bitstamp_log(path: Path) -> Iterator[Capture | Unreadable]:
    """Yield the events of a log (see `recordings.base.CaptureReader`); the text is ``<event> <json>`` as it stands.

    A line that is not of the form becomes `Unreadable`; its neighbours are not touched.
    """
    for number, line in numbered_lines(path, "a log of Bitstamp"):
        match = _LINE.fullmatch(line)
        if match is None:
            yield Unreadable(line=number, reason="not a receive clock, an event and JSON", text=line[:TEXT_MAX])
        else:
            yield Capture(line=number, received_ns=int(match[1]) * NS_PER_MS, kind="received", text=match[2])
