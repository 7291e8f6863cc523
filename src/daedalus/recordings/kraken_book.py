"""Books of Kraken v2 in one JSON document: ``{"init": snapshot, "updates": [update, ...]}``.

The document went through floats: trailing zeros are lost, which Kraken's checksum counts. They are put back, with one
decimal for prices and eight for sizes (BTC/USD). Raw frames, one a line, are another format: `json_frames`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from daedalus.recordings.base import Capture, Unreadable
from daedalus.recordings.json_frames import time_ns
from daedalus.recordings.lines import TEXT_MAX
from daedalus.shared.errors import CorruptError, NotFoundError

PRICE_DECIMALS, SIZE_DECIMALS = 1, 8


class _Document(msgspec.Struct, gc=False):
    init: msgspec.Raw
    updates: list[msgspec.Raw]


class _Level(msgspec.Struct, gc=False):
    price: float
    qty: float


class _Book(msgspec.Struct, gc=False, omit_defaults=True):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: int
    timestamp: str | None = None


class _Message(msgspec.Struct, gc=False):
    channel: str
    type: str
    data: list[_Book]


def read_kraken_book(path: Path) -> Iterator[Capture | Unreadable]:
    """Yield the snapshot and the updates as frames (see `recordings.base.CaptureReader`). The file is read whole.

    The snapshot has no time: it takes that of the first update that has one.
    """
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such recording") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"{path}: not a document of Kraken books ({error}): copy the file again") from error
    messages = [_frame(raw) for raw in (document.init, *document.updates)]
    clock_ns = next((ns for text, _ in messages if (ns := time_ns(text))), 0)
    for number, (text, problem) in enumerate(messages, start=1):
        if problem:
            yield Unreadable(line=number, reason=problem, text=text[:TEXT_MAX])
        else:
            clock_ns = time_ns(text) or clock_ns
            yield Capture(line=number, received_ns=clock_ns, kind="received", text=text)


def _frame(raw: msgspec.Raw) -> tuple[str, str]:
    """Return the frame as it went over the wire, and what is wrong with it ("" if nothing)."""
    try:
        message = msgspec.json.decode(raw, type=_Message)
    except msgspec.DecodeError as error:
        return bytes(raw).decode(errors="replace"), str(error)
    data = [{**msgspec.structs.asdict(book), **_sides(book)} for book in message.data]
    for book in data:
        if book["timestamp"] is None:
            del book["timestamp"]
    frame = {"channel": message.channel, "type": message.type, "data": data}
    return msgspec.json.encode(frame).decode(), ""


def _sides(book: _Book) -> dict[str, Any]:
    return {side: [_exact(level) for level in getattr(book, side)] for side in ("bids", "asks")}


def _exact(level: _Level) -> dict[str, msgspec.Raw]:
    price, size = f"{level.price:.{PRICE_DECIMALS}f}", f"{level.qty:.{SIZE_DECIMALS}f}"
    return {"price": msgspec.Raw(price.encode()), "qty": msgspec.Raw(size.encode())}
