"""Sessions of the older Coinbase Exchange feed, kept as CSV (plain or gzip) by a document database's export.

Columns: `_id, asks, bids, changes, channels, maker_order_id, message, price, product_id, reason, sequence, side, size,
taker_order_id, time, trade_id, type`. Row order is arrival order. Cells that hold lists are Python literals. The first
8 hex digits of `_id` are the receive second. The snapshot carries no time. `side` of a match is the maker's.
"""

import ast
import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import IO, cast

from daedalus.recordings.base import Book, Change, Changes, Control, Level, Match, Message, Unreadable
from daedalus.shared.clock import NS_PER_SECOND, parse_rfc3339_us
from daedalus.shared.errors import CorruptError, NotFoundError
from daedalus.shared.events import BookSide, Side

#: Longest cell that is read: a book of 44,000 levels takes about 1.5 MB.
CELL_BYTES_MAX = 64 * 1024 * 1024
_TEXT_MAX = 200
_NEEDED = ("_id", "asks", "bids", "changes", "price", "product_id", "side", "size", "time", "trade_id", "type")
_BOOK_SIDES: MappingProxyType[str, BookSide] = MappingProxyType({"buy": "bid", "sell": "ask"})
_SIDES: MappingProxyType[str, Side] = MappingProxyType({"buy": "buy", "sell": "sell"})

Row = dict[str, str]
_Cells = list[list[str]]


def read_coinbase_exchange(path: Path) -> Iterator[Message]:
    """Yield the messages of one session (see `recordings.base.Reader`).

    A row that cannot be read becomes `Unreadable`; its neighbours are not touched.

    Raises
    ------
    NotFoundError
        There is no such file.
    CorruptError
        The file is not such a CSV, or breaks off.
    """
    try:
        with _open(path) as lines:
            yield from _messages(path, lines)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such recording") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise CorruptError(f"{path}: not a whole Coinbase Exchange CSV ({error}): copy the file again") from error


def _open(path: Path) -> IO[str]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _messages(path: Path, lines: IO[str]) -> Iterator[Message]:
    # The csv module's limit is one for the process and 128 KiB at first; a full book is a single cell.
    csv.field_size_limit(max(csv.field_size_limit(), CELL_BYTES_MAX))
    rows = csv.DictReader(lines, restval="")
    missing = [name for name in _NEEDED if name not in (rows.fieldnames or ())]
    if missing:
        raise CorruptError(f"{path}: no column {', '.join(missing)}: not a Coinbase Exchange session")
    for line, row in enumerate(rows, start=1):
        yield _message(line, row)


def _message(line: int, row: Row) -> Message:
    kind = row["type"]
    try:
        received_ns = int(row["_id"][:8], 16) * NS_PER_SECOND
        return _BUILDERS.get(kind, _control)(line, received_ns, row)
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        text = ",".join(map(str, row.values()))[:_TEXT_MAX]
        return Unreadable(line=line, reason=f"{kind or 'row'}: {error!r}"[:_TEXT_MAX], text=text)


def _cells(text: str) -> _Cells:
    """Return a cell that holds a list of lists of text. Raises ValueError if it holds anything else."""
    value: object = ast.literal_eval(text)
    if not isinstance(value, list) or not all(isinstance(item, list) for item in value):
        raise ValueError("not a list of lists")
    if not all(isinstance(part, str) for item in value for part in item):
        raise ValueError("a price or size that is not text")
    return cast(_Cells, value)


def _number(text: str) -> str:
    """Return the text of a price or size as it stands. Raises ValueError unless it is a finite number, not negative."""
    if not 0.0 <= float(text) < math.inf:
        raise ValueError(f"{text!r} is no price or size")
    return text


def _levels(text: str) -> tuple[Level, ...]:
    return tuple((_number(price), _number(size)) for price, size in _cells(text))


def _changes(text: str) -> tuple[Change, ...]:
    return tuple((_BOOK_SIDES[side], _number(price), _number(size)) for side, price, size in _cells(text))


def _book(line: int, received_ns: int, row: Row) -> Message:
    bids, asks = _levels(row["bids"]), _levels(row["asks"])
    time_us = parse_rfc3339_us(row["time"])
    return Book(line=line, received_ns=received_ns, product=row["product_id"], bids=bids, asks=asks, time_us=time_us)


def _update(line: int, received_ns: int, row: Row) -> Message:
    changes, time_us = _changes(row["changes"]), parse_rfc3339_us(row["time"])
    return Changes(line=line, received_ns=received_ns, product=row["product_id"], changes=changes, time_us=time_us)


def _match(line: int, received_ns: int, row: Row) -> Message:
    return Match(
        line=line,
        received_ns=received_ns,
        product=row["product_id"],
        # The export wrote whole numbers as floats: 41766820.0.
        trade_id=row["trade_id"].removesuffix(".0"),
        price=_number(row["price"]),
        size=_number(row["size"]),
        maker_side=_SIDES[row["side"]],
        time_us=parse_rfc3339_us(row["time"]),
        is_past=row["type"] == "last_match",
    )


def _control(line: int, received_ns: int, row: Row) -> Message:
    text = " ".join(value for name in ("message", "reason", "channels") if (value := row.get(name, "")))
    return Control(line=line, received_ns=received_ns, type=row["type"], text=text)


_BUILDERS: MappingProxyType[str, Callable[[int, int, Row], Message]] = MappingProxyType(
    {"snapshot": _book, "l2update": _update, "match": _match, "last_match": _match}
)
