"""Object stores behind the contract of `base`: S3 and what is compatible, Google Cloud Storage, Azure, memory.

The requests are obstore's. Here are the promises that it does not make: puts that may be repeated, a SHA-256 kept with
each object and checked at each copy, create-only also for objects that go up in parts, errors that say what to do.
"""

import contextlib
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar

import obstore
from obstore.store import ObjectStore

from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.errors import (
    AlreadyExistsError,
    CorruptError,
    DeniedError,
    NotFoundError,
    StorageError,
    TransientStorageError,
)
from daedalus.storage.base import TEMP_SUFFIX, ObjectInfo, check_key, is_visible
from daedalus.storage.local import explained, file_pieces, file_sha256, publish_stream
from daedalus.storage.retry import RetryPolicy
from daedalus.storage.store_errors import explain

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

T = TypeVar("T")
#: Larger files go up in parts of `PART_BYTES`, at most `PARTS_AT_ONCE` in memory; smaller ones in one request.
MULTIPART_BYTES = 64 << 20
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 4
#: Files larger than a part that a store has in hand at a time, however many threads put: they bound its memory.
LARGE_AT_ONCE = 2
UPLOADS = ".uploads"
"""Folder of what goes up in parts, until it is whole: a lifecycle rule may clear it of what a crash left."""
_SHA256 = "sha256"
_PIECE_BYTES = 1 << 20
_PAGE = 1000
_LIBRARY_ERRORS = (obstore.exceptions.BaseError, FileNotFoundError, PermissionError)


class ObjectStorage:
    """Any store that obstore speaks to. It goes to other processes by what it was made from.

    Parameters
    ----------
    store
        The store, with the prefix of all keys.
    url
        Where it is, for messages: no secrets.
    policy
        How often and how long it is asked again.
    scan_options
        For Polars. Holds secrets.
    multipart_bytes
        Files larger than that go up in parts.
    is_ordered
        Whether it lists in the order of keys, so that what it lists again can be told and left out: Azure's servers may
        begin a listing earlier than asked.
    """

    def __init__(
        self,
        store: ObjectStore,
        url: str,
        *,
        policy: RetryPolicy | None = None,
        scan_options: dict[str, str] | None = None,
        multipart_bytes: int = MULTIPART_BYTES,
        is_ordered: bool = True,
    ) -> None:
        self._store = store
        self._url = url
        self._policy = policy or RetryPolicy()
        self._scan_options = scan_options or {}
        self._multipart_bytes = multipart_bytes
        self._is_ordered = is_ordered
        self._large = threading.BoundedSemaphore(LARGE_AT_ONCE)

    _again: "partial[ObjectStorage]"

    def __new__(cls, *args: object, **options: object) -> Self:
        """Remember what it is made from: in another process it is made again."""
        made = super().__new__(cls)
        made._again = partial(cls, *args, **options)  # type: ignore[assignment, arg-type]
        return made

    def __reduce__(self) -> "tuple[partial[ObjectStorage], tuple[()]]":
        """Return how to make it again. Holds its keys, where it was given any."""
        return self._again, ()

    @property
    def url(self) -> str:
        """Return where it is."""
        return self._url

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> ObjectInfo:
        """Store bytes. See `Storage.put`."""
        check_key(key)
        sha256 = hashlib.sha256(data).hexdigest()
        self._create(key, sha256, lambda: self._upload(key, data, sha256, overwrite=overwrite))
        return ObjectInfo(key, len(data), sha256=sha256)

    def put_file(self, key: str, path: Path, *, sha256: str | None = None, overwrite: bool = False) -> ObjectInfo:
        """Store a file. See `Storage.put_file`."""
        check_key(key)
        with explained(path):
            size = path.stat().st_size
        with self._large if size > PART_BYTES else contextlib.nullcontext():
            return self._put_file(key, path, size, sha256, overwrite)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Return bytes. See `Storage.get`."""
        check_key(key)
        if length == 0:
            self.head(key)
            return b""
        options: GetOptions = {}
        if start or length is not None:
            options["range"] = {"offset": start} if length is None else (start, start + length)
        try:
            return self._call(key, lambda: bytes(obstore.get(self._store, key, options=options).bytes()))
        except (NotFoundError, DeniedError, TransientStorageError):
            raise
        except StorageError:
            # Stores disagree about how to say that a range begins behind the end.
            if not start or start < self.head(key).size:
                raise
            return b""

    def get_file(self, key: str, path: Path, *, sha256: str | None = None, overwrite: bool = False) -> ObjectInfo:
        """Copy out an object. See `Storage.get_file`."""
        check_key(key)

        def copy() -> ObjectInfo:
            result = self._explained(key, lambda: obstore.get(self._store, key))
            info = _info(key, result.meta, result.attributes)
            pieces = self._pieces(key, result.stream(min_chunk_size=_PIECE_BYTES), info.size)
            with explained(path):
                got = publish_stream(pieces, path, sha256=sha256 or info.sha256, overwrite=overwrite)
            return ObjectInfo(key, info.size, info.modified_at, info.etag, got)

        return self._policy.call(copy)

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[ObjectInfo]:
        """Yield objects. See `Storage.list`."""
        place = check_key(prefix) if prefix else ""
        stream: Iterator[Sequence[ObjectMeta]] | None = None

        def page() -> "Sequence[ObjectMeta]":
            """Take the next page; after a failure, begin anew behind the last object that was seen."""
            nonlocal stream
            if stream is None:
                stream = iter(obstore.list(self._store, prefix or None, offset=after, chunk_size=_PAGE))
            try:
                return next(stream, ())
            except _LIBRARY_ERRORS:
                stream = None
                raise

        while metas := self._call(place, page):
            for meta in metas:
                key = meta["path"]
                if self._is_ordered and after is not None and key <= after:
                    continue
                after = key
                if is_visible(key):
                    yield _info(key, meta)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Return names of folders. See `Storage.folders`."""
        place = check_key(prefix) if prefix else ""
        listed = self._call(place, lambda: obstore.list_with_delimiter(self._store, prefix or None))
        names = (path.rsplit("/", 1)[-1] for path in listed["common_prefixes"])
        return sorted(name for name in names if name != UPLOADS)

    def head(self, key: str) -> ObjectInfo:
        """Return what is known. See `Storage.head`."""
        check_key(key)
        result = self._call(key, lambda: obstore.get(self._store, key, options={"head": True}))
        return _info(key, result.meta, result.attributes)

    def digest(self, key: str) -> str:
        """Return the SHA-256 of what is there. See `Storage.digest`."""
        check_key(key)

        def read() -> str:
            digest = hashlib.sha256()
            for piece in obstore.get(self._store, key).stream(min_chunk_size=_PIECE_BYTES):
                digest.update(piece)
            return digest.hexdigest()

        return self._call(key, read)

    def delete(self, key: str) -> None:
        """Remove an object. See `Storage.delete`."""
        check_key(key)
        with contextlib.suppress(NotFoundError):
            self._call(key, lambda: obstore.delete(self._store, key))

    def local_path(self, key: str) -> Path | None:
        """Return None: nothing is on this machine."""
        return None

    def scan_options(self) -> dict[str, str]:
        """Return Polars' options. See `Storage.scan_options`."""
        return dict(self._scan_options)

    def _put_file(self, key: str, path: Path, size: int, sha256: str | None, overwrite: bool) -> ObjectInfo:
        with explained(path):
            data = path.read_bytes() if size <= self._multipart_bytes else None
            got = hashlib.sha256(data).hexdigest() if data is not None else file_sha256(path)
        if sha256 is not None and got != sha256:
            raise CorruptError(
                f"{path}: its SHA-256 is {got[:12]}..., not {sha256[:12]}...: it was damaged; not stored"
            )
        if data is None:
            self._put_large(key, path, got, overwrite)
        else:
            self._create(key, got, lambda: self._upload(key, data, got, overwrite=overwrite))
        return ObjectInfo(key, size if data is None else len(data), sha256=got)

    def _put_large(self, key: str, path: Path, sha256: str, overwrite: bool) -> None:
        """Put a file in parts, aside: a store's own multipart knows no create-only, but its copy does."""
        if not overwrite and self._is_there(key, sha256):
            return
        aside = f"{UPLOADS}/{secrets.token_hex(8)}{TEMP_SUFFIX}"
        try:
            self._call(key, lambda: self._upload_parts(aside, path, sha256))
            self._create(key, sha256, lambda: obstore.copy(self._store, aside, key, overwrite=overwrite))
        finally:
            with contextlib.suppress(StorageError):
                self._call(key, lambda: obstore.delete(self._store, aside))

    def _upload(self, key: str, data: bytes, sha256: str, *, overwrite: bool) -> None:
        mode: Literal["create", "overwrite"] = "overwrite" if overwrite else "create"
        obstore.put(self._store, key, data, attributes={_SHA256: sha256}, mode=mode, use_multipart=False)

    def _upload_parts(self, key: str, path: Path, sha256: str) -> None:
        digest = hashlib.sha256()

        def pieces() -> Iterator[bytes]:
            for piece in file_pieces(path):
                digest.update(piece)
                yield piece

        obstore.put(
            self._store,
            key,
            pieces(),
            attributes={_SHA256: sha256},
            use_multipart=True,
            chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        )
        if digest.hexdigest() != sha256:
            raise CorruptError(f"{path} changed while it was read: not stored")

    def _create(self, key: str, sha256: str, operation: Callable[[], object]) -> None:
        """Do what creates an object. That the same bytes are there already, perhaps by an attempt before, is fine."""
        try:
            self._call(key, operation)
        except AlreadyExistsError:
            if not self._is_there(key, sha256):
                raise TransientStorageError(f"{self._url}/{key}: it came and went meanwhile: try again") from None

    def _is_there(self, key: str, sha256: str) -> bool:
        """Return whether an object has these bytes, False when there is none. Raises when it has others."""
        try:
            known = self.head(key).sha256 or self.digest(key)
        except NotFoundError:
            return False
        if known != sha256:
            raise AlreadyExistsError(f"{self._url}/{key} exists already, with other bytes, and is never overwritten")
        return True

    def _pieces(self, key: str, stream: Iterator[bytes], size: int) -> Iterator[bytes]:
        """Yield a body piece by piece; one that ends early is an error also where no SHA-256 would tell."""
        while (piece := self._explained(key, lambda: next(stream, None))) is not None:
            size -= len(piece)
            yield piece
        if size:
            raise TransientStorageError(
                f"{self._url}/{key}: {abs(size):,} bytes too {'few' if size > 0 else 'many'} came"
            )

    def _call(self, key: str, operation: Callable[[], T]) -> T:
        """Do something with the store, again and again where that may help."""
        return self._policy.call(lambda: self._explained(key, operation))

    def _explained(self, key: str, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except _LIBRARY_ERRORS as error:
            # Not chained: the library's own text quotes addresses, which may hold signatures.
            raise explain(error, f"{self._url}/{key}" if key else self._url) from None


def _info(key: str, meta: "ObjectMeta", attributes: Mapping[str, str] | None = None) -> ObjectInfo:
    written = int(meta["last_modified"].timestamp() * NS_PER_SECOND)
    return ObjectInfo(key, meta["size"], written, meta["e_tag"], (attributes or {}).get(_SHA256))
