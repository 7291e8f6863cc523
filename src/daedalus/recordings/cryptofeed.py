"""Captures of cryptofeed: what went over an exchange's websockets and REST endpoints, one text file a connection.

Lines: ``<epoch s>: <frame>`` for a frame received, ``<url> <-> <epoch s>`` for a connect, ``<url> <- <epoch s>:
<text>`` for a message sent, ``<url> -> <epoch s>: <body>`` for the answer to a REST request. Empty lines separate runs.
Times have up to nine decimals and are read exactly, not through a float.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from daedalus.recordings.base import Capture, CaptureKind, Unreadable
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.errors import CorruptError, NotFoundError

_TEXT_MAX = 200
_TIME = r"(?P<s>\d{1,11})(?:\.(?P<decimals>\d{1,9}))?"
_RECEIVED = re.compile(rf"{_TIME}: (?P<text>.*)", re.DOTALL)
_OTHER = re.compile(rf"(?P<url>\S+) (?P<arrow><->|<-|->) {_TIME}(?:: (?P<text>.*))?", re.DOTALL)
_KINDS: dict[str, CaptureKind] = {"<->": "connected", "<-": "sent", "->": "answered"}


def read_cryptofeed(path: Path) -> Iterator[Capture | Unreadable]:
    """Yield everything in a capture in the order of the file, holding one line at a time.

    A line that is none of the forms becomes `Unreadable`; its neighbours are not touched.

    Raises
    ------
    NotFoundError
        There is no such file.
    CorruptError
        The file is no text.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line != "\n":
                    yield _capture(number, line.removesuffix("\n"))
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such recording") from None
    except UnicodeDecodeError as error:
        raise CorruptError(f"{path}: not a capture of cryptofeed ({error}): copy the file again") from error


def read_frames(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (receive clock in ns, text) of the frames that a websocket brought. Raises as `read_cryptofeed` does."""
    for capture in read_cryptofeed(path):
        if isinstance(capture, Capture) and capture.kind == "received":
            yield capture.received_ns, capture.text


def _capture(number: int, line: str) -> Capture | Unreadable:
    match = _RECEIVED.fullmatch(line) or _OTHER.fullmatch(line)
    if match is None:
        return Unreadable(line=number, reason="no time where one is due", text=line[:_TEXT_MAX])
    groups = match.groupdict()
    received_ns = int(groups["s"]) * NS_PER_SECOND + int((groups["decimals"] or "").ljust(9, "0"))
    return Capture(
        line=number,
        received_ns=received_ns,
        kind=_KINDS[groups["arrow"]] if "arrow" in groups else "received",
        url=groups.get("url") or "",
        text=groups["text"] or "",
    )
