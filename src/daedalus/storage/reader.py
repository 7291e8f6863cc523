"""Objects as files that can be read anywhere, for libraries that want a file: Parquet's footer stands at the end."""

import io
from typing import BinaryIO, cast

from daedalus.storage.base import Place

#: Objects up to that size come with one request, larger ones piece by piece.
WHOLE_BYTES = 8 << 20
#: Least bytes of a request: a column chunk is often smaller, and its neighbour is wanted next.
PIECE_BYTES = 2 << 20


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


class _Ranges(io.RawIOBase):
    """Reads ranges of an object."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._size = place.storage.head(place.key).size
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
