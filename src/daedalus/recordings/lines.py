"""Lines of a text file, plain, gzip or xz, one at a time, with the errors that all readers raise alike."""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from daedalus.shared.errors import CorruptError, NotFoundError

#: The beginning of a line that an `Unreadable` quotes.
TEXT_MAX = 200
#: Bytes that are no text become lone surrogates, which no JSON decoder takes: they cost their line, not the file.
_STRAY = "surrogateescape"
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"


def numbered_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end) of every line that is not empty.

    Parameters
    ----------
    path
        The file; how it is packed is read from its first bytes.
    what
        What it should be, for messages: "a capture of Binance".

    Raises
    ------
    NotFoundError
        There is no such file.
    CorruptError
        It breaks off. What came before the break has been yielded.
    """
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if text := line.rstrip("\r\n"):
                    yield number, text
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such recording") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise CorruptError(f"{path}: not {what}, or not the whole of it ({error}): copy the file again") from error


def _open(path: Path) -> IO[str]:
    with path.open("rb") as file:
        head = file.read(len(_XZ))
    if head.startswith(_GZIP):
        return gzip.open(path, "rt", encoding="utf-8", errors=_STRAY, newline="\n")
    if head == _XZ:
        return lzma.open(path, "rt", encoding="utf-8", errors=_STRAY, newline="\n")
    return path.open(encoding="utf-8", errors=_STRAY, newline="\n")
