"""Objects as files that can be read anywhere, for libraries that want a file: Parquet's footer stands at the end."""

import io
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self, cast

from daedalus.storage.base import Place

#: Objects up to that size come with one request, larger ones piece by piece.
WHOLE_BYTES = 8 << 20
#: Least bytes of a request: a column chunk is often smaller, and its neighbour is wanted next.
PIECE_BYTES = 2 << 20
#: Requests at a time while fetching ahead.
FETCHES_AT_ONCE = 4


def open_object(place: Place) -> BinaryIO:
    """Return an object as a file.

    One that is larger than `WHOLE_BYTES` and replaced meanwhile reads as damaged, which Parquet's checksums tell.

    Raises
    ------
    NotFoundError
        If there is nothing.
    StorageError
        If the store fails; reading may raise it too.
    """
    head = place.storage.get(place.key, length=WHOLE_BYTES)
    if len(head) < WHOLE_BYTES:
        return io.BytesIO(head)
    return cast(BinaryIO, io.BufferedReader(_Ranges(place), PIECE_BYTES))


def open_ranges(place: Place, size: int) -> io.RawIOBase:
    """Return an object of a known size as a file of which every read is a request, and nothing is kept."""
    return _Ranges(place, size)


@dataclass(frozen=True)
class Source:
    """A file to be read: what it is called, and how to get at it when its turn comes.

    Parameters
    ----------
    place
        Where it lies.
    open
        Returns its path on this machine, or an object as a file; raises as `open_object`.
    """

    place: Place
    open: Callable[[], Path | BinaryIO]


def source_of(place: Place) -> Source:
    """Return a file that is opened when its turn comes."""
    path = place.local_path
    return Source(place, (lambda: path) if path is not None else partial(open_object, place))


def sources_ahead(groups: Iterable[Sequence[Place]]) -> Generator[list[Source], None, None]:
    """Yield the files of group after group; objects of the next group are fetched while one is being used.

    Of files on this machine nothing is looked at ahead.
    """
    ready: deque[list[Source]] = deque()
    with _Fetcher() as fetcher:
        for places in groups:
            ready.append([fetcher.source(place) for place in places])
            kept = 0 if all(place.local_path is not None for place in places) else 1
            while len(ready) > kept:
                yield ready.popleft()
        yield from ready


class _Fetcher:
    """Fetches objects in threads, which start with the first object."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def source(self, place: Place) -> Source:
        if place.local_path is not None:
            return source_of(place)
        self._pool = self._pool or ThreadPoolExecutor(FETCHES_AT_ONCE, thread_name_prefix="fetch")
        return Source(place, self._pool.submit(open_object, place).result)


class _Ranges(io.RawIOBase):
    """Reads ranges of an object."""

    def __init__(self, place: Place, size: int | None = None) -> None:
        super().__init__()
        self._place = place
        self._size = place.storage.head(place.key).size if size is None else size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data = self._place.storage.get(self._place.key, start=self._at, length=len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
