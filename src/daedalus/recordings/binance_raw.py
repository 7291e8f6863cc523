"""Raw frames of Binance, one a line: ``<receive clock in ns> <json>``, plain or gzip.

The JSON is a frame of a combined stream, ``{"stream": ..., "data": ...}``, or the body that the REST call for the depth
answered, in line where it arrived: ``{"lastUpdateId": ...}``. Spot, USD-M and COIN-M look alike. A session may be cut
into several files.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from daedalus.recordings.base import Capture, CaptureKind, Unreadable
from daedalus.recordings.lines import TEXT_MAX, numbered_lines

_LINE = re.compile(r"(\d{16,19}) (\{.*\})", re.DOTALL)
_ANSWER = '{"lastUpdateId"'


def read_binance_raw(path: Path) -> Iterator[Capture | Unreadable]:
    """Yield the frames and REST answers of a file (see `recordings.base.CaptureReader`).

    A line that is not of the form becomes `Unreadable`; its neighbours are not touched.
    """
    for number, line in numbered_lines(path, "a capture of Binance"):
        match = _LINE.fullmatch(line)
        if match is None:
            yield Unreadable(line=number, reason="not a receive clock and JSON", text=line[:TEXT_MAX])
            continue
        text = match[2]
        kind: CaptureKind = "answered" if text.startswith(_ANSWER) else "received"
        yield Capture(line=number, received_ns=int(match[1]), kind=kind, text=text)
