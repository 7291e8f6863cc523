"""The contract of a store: bytes under keys, on a disk or in an object store. Every method may be called from threads.

A key is a relative path with ``/`` on every platform, the same locally and in a bucket: ``raw/ready/coinbase/...``.
All methods may be repeated: what an earlier call did already is a success, not an error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from daedalus.shared.errors import NotFoundError, StorageError

TEMP_SUFFIX = ".tmp"
"""Unfinished files and objects end so. No listing shows them, no reader's glob matches them."""
#: Limits of a key and of one part of it, in UTF-8 bytes: those of S3 and of Linux.
KEY_BYTES_MAX, NAME_BYTES_MAX = 1024, 255


class ObjectInfo(msgspec.Struct, frozen=True):
    """What a store says of an object.

    Attributes
    ----------
    key
        Its key.
    size
        Bytes.
    modified_at
        When it was written, by the store's clock, ns since the epoch; None in what a put returns.
    etag
        The store's own version mark; None on local disks. Not a checksum: that of a multipart upload is something else.
    sha256
        Of the bytes, in hexadecimal, as recorded when they were put; None in listings, and where none was recorded.
    """

    key: str
    size: int
    modified_at: int | None = None
    etag: str | None = None
    sha256: str | None = None


class Storage(Protocol):
    """A store. Implementations: `LocalStorage`, and those of `object_store`; `factory` makes them.

    Every method may raise, with a text that says what to do and never holds a secret:

    - `DeniedError`: credentials are missing, wrong or expired, or lack the right. Never reported as missing.
    - `TransientStorageError`: the store did not answer as it should, though the call was repeated as the store's retry
      policy says. Trying again later may help.
    - `StorageError`: anything else: no such bucket, wrong region, the store is full, a key that is none.
    """

    @property
    def url(self) -> str:
        """Return where it is, for messages and scans: ``s3://bucket/prefix``, or a local directory."""

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> ObjectInfo:
        """Store bytes under a key, with their SHA-256 (it is in the result and in every later `head`).

        Atomic: nobody ever sees a part of them. Durable at return.

        Parameters
        ----------
        key
            Where to.
        data
            What.
        overwrite
            Whether other bytes under that key are replaced, in one step.

        Raises
        ------
        AlreadyExistsError
            If other bytes are there and `overwrite` is False; they are not touched. Equal bytes are a success.
        CorruptError
            If the store refused the bytes because they were damaged on the way.
        """

    def put_file(self, key: str, path: Path, *, sha256: str | None = None, overwrite: bool = False) -> ObjectInfo:
        """Store a file's bytes under a key: as `put`, in bounded memory, in parts where the file is large.

        Parameters
        ----------
        sha256
            What the file must have; None takes it as it is.

        Raises
        ------
        CorruptError
            If the file is not the one with that SHA-256, or changed while it was read; nothing is stored.
        NotFoundError
            If there is no such file.
        AlreadyExistsError
            As `put`.
        """

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of an object from `start` on, `length` of them at most; what lies beyond its end is empty.

        Raises
        ------
        NotFoundError
            If there is nothing under that key.
        """

    def get_file(self, key: str, path: Path, *, sha256: str | None = None, overwrite: bool = False) -> ObjectInfo:
        """Copy an object into a local file, which appears when it is whole, verified and synced. In bounded memory.

        Parameters
        ----------
        sha256
            What the bytes must have; None means what the store recorded, if it did.
        overwrite
            Whether a file with other bytes is replaced.

        Returns
        -------
        ObjectInfo
            With the SHA-256 of the bytes that arrived.

        Raises
        ------
        CorruptError
            If other bytes arrived; no file is left.
        AlreadyExistsError
            If a file with other bytes is there and `overwrite` is False. Equal bytes are a success.
        NotFoundError
            If there is nothing under that key.
        """

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects below a folder, at any depth; nothing when there are none. One request a 1,000 objects.

        Each object that is there all the time comes once; one put or deleted meanwhile may come or not. The order is
        the store's own and does not change: that of the keys' bytes everywhere but in SeaweedFS, which lists folder by
        folder (``a/x`` before ``a-b``). So merge by a lookup, not side by side.

        Parameters
        ----------
        prefix
            A folder, by whole parts: ``a/b`` holds ``a/b/c`` and not ``a/bc``; "" is everything.
        after
            The last key that an earlier listing of the same folder yielded: go on behind it.
        """

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Return the names, not keys, of the folders directly below a folder, sorted; none when it is not there."""

    def head(self, key: str) -> ObjectInfo:
        """Return what the store knows of an object, with the SHA-256 recorded at its put.

        A local disk records none: there `sha256` is None, and `digest` reads the file.

        Raises
        ------
        NotFoundError
            If there is nothing under that key.
        """

    def digest(self, key: str) -> str:
        """Return the SHA-256 of the bytes that are there now, in hexadecimal, by reading all of them.

        Raises
        ------
        NotFoundError
            If there is nothing under that key.
        """

    def delete(self, key: str) -> None:
        """Remove an object, durably; nothing happens when there is none."""

    def local_path(self, key: str) -> Path | None:
        """Return the file that holds an object, whether it exists or not; None when the store is not a local disk."""

    def scan_options(self) -> dict[str, str]:
        """Return the `storage_options` with which Polars reads ``{url}/{key}``. Holds secrets: never print it."""


@dataclass(frozen=True)
class Place:
    """A folder or an object of a store, as `Path` is of a disk: ``place / name`` is what lies below it.

    Parameters
    ----------
    storage
        The store.
    key
        The folder's or the object's; "" is the store itself.
    """

    storage: Storage
    key: str = ""

    def __truediv__(self, name: str) -> "Place":
        """Return what lies below, by name or by several parts of a path."""
        return Place(self.storage, "/".join(part for part in (self.key, name) if part))

    def __str__(self) -> str:
        """Return where it is, for messages."""
        return f"{self.storage.url}/{self.key}" if self.key else self.storage.url

    @property
    def name(self) -> str:
        """Return the last part."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def parent(self) -> "Place":
        """Return the folder that it lies in."""
        return Place(self.storage, self.key.rpartition("/")[0])

    @property
    def local_path(self) -> Path | None:
        """Return the file or directory on this machine; None when it is not on this machine."""
        return self.storage.local_path(self.key)

    def folders(self) -> Sequence[str]:
        """Return the names of the folders directly below. See `Storage.folders`."""
        return self.storage.folders(self.key)

    def exists(self) -> bool:
        """Return whether there is an object; a folder is none."""
        try:
            self.storage.head(self.key)
        except NotFoundError:
            return False
        return True


def check_key(key: str) -> str:
    """Return a key that every store can hold.

    Raises
    ------
    StorageError
        If it is absolute, has empty parts, ``.`` or ``..``, a backslash or control characters, ends as unfinished
        files do, or is too long.

    Examples
    --------
    >>> check_key("raw/ready/a.parquet")
    'raw/ready/a.parquet'
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise StorageError(f"{key!r} is no key: it must be relative, without empty parts, `.` and `..`")
    if "\\" in key or any(ord(char) < 0x20 or ord(char) == 0x7F for char in key):
        raise StorageError(f"{key!r} is no key: no backslash and no control characters")
    if not is_visible(key):
        raise StorageError(f"{key!r} is no key: {TEMP_SUFFIX} is the end of unfinished files")
    if len(key.encode()) > KEY_BYTES_MAX or any(len(part.encode()) > NAME_BYTES_MAX for part in parts):
        raise StorageError(f"{key[:80]!r}... is too long: {KEY_BYTES_MAX} bytes, {NAME_BYTES_MAX} a part")
    return key


def is_visible(key: str) -> bool:
    """Return whether a listing shows a key: unfinished ones are hidden."""
    return not key.endswith(TEMP_SUFFIX)
