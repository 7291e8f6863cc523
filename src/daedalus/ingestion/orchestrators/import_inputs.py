"""The files of an import: what they are, and their content in the order in which it was received.

Several files may be one session (a new file at midnight, websocket and REST apart) or have nothing to do with each
other: they are merged by receive clock, each opened when its time comes and closed when it is read.
"""

import gzip
import hashlib
import heapq
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

from daedalus.recordings.base import Unreadable
from daedalus.shared.errors import CorruptError, NotFoundError

_CHUNK = 1 << 20
#: Items looked at for a file's first receive clock.
_PEEKED = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class Broken:
    """A file that breaks off, or is not of its format: why. What came before it has been given."""

    reason: str


@dataclass(frozen=True)
class InputFile:
    """A file to import.

    Attributes
    ----------
    sha256, size
        Of its bytes.
    lines
        How many it holds, packed or not: to show progress.
    about
        What its first item that can be read says of it, None if there is none among its first 1,000.
    first_ns
        The first receive clock among these, ns.
    problem
        Why not even its beginning can be read; empty if it can.
    """

    path: Path
    sha256: str
    size: int
    lines: int
    about: Any = None
    first_ns: int | None = None
    problem: str = ""


def survey(path: Path, read: Callable[[Path], Iterator[Any]], about: Callable[[Path, Any], T]) -> InputFile:
    """Read a file once through and look at its beginning.

    Parameters
    ----------
    read
        The reader of its format.
    about
        What to keep of its first item.

    Raises
    ------
    NotFoundError
        If it cannot be read at all.
    """
    try:
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        lines = _count_lines(path)
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror or error}") from error
    first: T | None = None
    first_ns, problem = None, ""
    try:
        for item in islice(read(path), _PEEKED):
            if not isinstance(item, Unreadable):
                first = about(path, item) if first is None else first
                first_ns = item.received_ns
                if first_ns is not None:
                    break
    except CorruptError as error:
        problem = "" if first is not None else str(error)
    return InputFile(path, digest.hexdigest(), size, lines, first, first_ns, problem)


def _count_lines(path: Path) -> int:
    lines = 0
    with _unpacked(path) as file, suppress(EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError):
        while chunk := file.read(_CHUNK):
            lines += chunk.count(b"\n")
    return lines


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return lzma.open(path, "rb") if head == b"\xfd7zXZ\x00" else path.open("rb")


def items(file: InputFile, read: Callable[[Path], Iterator[Any]]) -> Iterator[tuple[int, Any]]:
    """Yield (receive clock, item); what has no clock takes the one before it. A break ends it with `Broken`."""
    clock = file.first_ns or 0
    try:
        for item in read(file.path):
            if not isinstance(item, Unreadable):
                clock = item.received_ns if item.received_ns is not None else clock
            yield clock, item
    except CorruptError as error:
        yield clock, Broken(str(error))


def merged(starts: Sequence[int], open_: Callable[[int], Iterator[tuple[int, T]]]) -> Iterator[tuple[int, int, T]]:
    """Yield (number of the input, clock, item) of several inputs by clock.

    Parameters
    ----------
    starts
        The first clock of each input.
    open_
        Opens an input by its number. Its order is kept, also where its clock steps back.
    """
    waiting = sorted(range(len(starts)), key=lambda number: (starts[number], number), reverse=True)
    heap: list[tuple[int, int, int, T, Iterator[tuple[int, T]]]] = []

    def push(number: int, at: int, source: Iterator[tuple[int, T]]) -> None:
        for clock, item in islice(source, 1):
            heapq.heappush(heap, (max(at, clock), number, clock, item, source))

    while waiting or heap:
        while waiting and (not heap or starts[waiting[-1]] <= heap[0][0]):
            number = waiting.pop()
            push(number, starts[number], open_(number))
        if heap:
            at, number, clock, item, source = heapq.heappop(heap)
            yield number, clock, item
            push(number, at, source)
