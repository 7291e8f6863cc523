"""A local disk, and durable writes on it: a file appears under its final name only when it is whole and synced.

Order of every publication: write under a temporary name, sync the file, give it its final name, sync the directories.
"""

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from daedalus.shared.errors import AlreadyExistsError, CorruptError, DeniedError, NotFoundError, StorageError
from daedalus.storage.base import TEMP_SUFFIX, ObjectInfo, Place, Storage, check_key, is_visible

__all__ = [
    "TEMP_SUFFIX",
    "LocalStorage",
    "as_storage",
    "explained",
    "file_pieces",
    "file_sha256",
    "local_place",
    "make_dirs",
    "publish",
    "publish_stream",
    "remove_temporaries",
    "sync_dir",
]

_COPY_BYTES = 1 << 20
# Characters of a name that its temporary one begins with: so that it is never too long.
_STEM_MAX = 50
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# How often a directory is read in a listing while files of it go.
_READS_MAX = 5
# File systems without hard links (exFAT, some network mounts) answer so.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def sync_file(path: Path) -> None:
    """Force a file's bytes to the device."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_dir(path: Path) -> None:
    """Force a directory's entries to the device, so that a new name survives a power cut."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_dirs(path: Path) -> None:
    """Create a directory and its missing parents, each of them durable. Raises `StorageError` with what to do."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for new in reversed(missing):
        try:
            new.mkdir(exist_ok=True)
            sync_dir(new.parent)
        except OSError as error:
            raise StorageError(
                f"cannot create {new}: {error.strerror}. Make it writable, or choose another storage.base_dir"
            ) from error


def publish(temp: Path, final: Path, *, overwrite: bool = False) -> None:
    """Give a finished temporary file its final name, durably and atomically.

    Parameters
    ----------
    temp
        A complete file on the same file system; gone afterwards.
    final
        Its name. Missing directories are created.
    overwrite
        Whether an existing file is replaced (readers see the old or the new one, never a half).

    Raises
    ------
    AlreadyExistsError
        If `final` exists and `overwrite` is False. Neither file is touched.
    """
    make_dirs(final.parent)
    sync_file(temp)
    if overwrite:
        temp.replace(final)
    else:
        _rename_new(temp, final)
    sync_dir(final.parent)
    if temp.parent != final.parent:
        sync_dir(temp.parent)


def _rename_new(temp: Path, final: Path) -> None:
    """Rename without ever replacing: POSIX rename would, a hard link does not."""
    try:
        final.hardlink_to(temp)
    except FileExistsError:
        raise AlreadyExistsError(f"{final} exists already and is never overwritten") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if final.exists():
            raise AlreadyExistsError(f"{final} exists already and is never overwritten") from None
        temp.rename(final)
        return
    temp.unlink()


def remove_temporaries(folder: Path, begin: str = "") -> list[Path]:
    """Remove what an interrupted writer left unfinished in a directory; return the names.

    Parameters
    ----------
    folder
        The directory.
    begin
        How the names of the files begin that were to be written; others may be a living writer's.
    """
    left = sorted(folder.glob(f"*{TEMP_SUFFIX}")) if folder.is_dir() else []
    left = [path for path in left if path.name.startswith(begin[:_STEM_MAX])]
    for path in left:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    return left


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading it piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_pieces(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, piece by piece."""
    with path.open("rb") as file:
        while piece := file.read(_COPY_BYTES):
            yield piece


def publish_stream(pieces: Iterable[bytes], final: Path, *, sha256: str | None = None, overwrite: bool = False) -> str:
    """Write bytes into a file that appears when it is whole, synced and verified; return their SHA-256.

    Parameters
    ----------
    pieces
        The bytes, piece by piece.
    final
        The file. Missing directories are created.
    sha256
        What the bytes must have; None takes them as they are.
    overwrite
        Whether a file with other bytes is replaced.

    Raises
    ------
    CorruptError
        If the bytes have another SHA-256; no file is left.
    AlreadyExistsError
        If a file with other bytes is there and `overwrite` is False. Equal bytes are a success.
    """
    make_dirs(final.parent)
    digest = hashlib.sha256()
    temp = final.with_name(f"{final.name[:_STEM_MAX]}.{secrets.token_hex(8)}{TEMP_SUFFIX}")
    try:
        with temp.open("xb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
        got = digest.hexdigest()
        if sha256 is not None and got != sha256:
            raise CorruptError(f"{final}: the bytes have SHA-256 {got[:12]}..., not {sha256[:12]}...; nothing was kept")
        try:
            publish(temp, final, overwrite=overwrite)
        except AlreadyExistsError:
            if file_sha256(final) != got:
                raise
    finally:
        temp.unlink(missing_ok=True)
    return got


@dataclass(frozen=True)
class LocalStorage:
    """The files below a directory of this machine. Keys are paths relative to it.

    Parameters
    ----------
    base_dir
        The directory; it is made by the first put.
    """

    base_dir: Path

    @property
    def url(self) -> str:
        """Return the directory."""
        return str(self.base_dir)

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> ObjectInfo:
        """Write a file. See `Storage.put`."""
        return self._publish(key, (data,), None, overwrite)

    def put_file(self, key: str, path: Path, *, sha256: str | None = None, overwrite: bool = False) -> ObjectInfo:
        """Copy a file. See `Storage.put_file`."""
        with explained(path):
            return self._publish(key, file_pieces(path), sha256, overwrite)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a file. See `Storage.get`."""
        path = self.local_path(key)
        with explained(path), path.open("rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)

    def get_file(self, key: str, path: Path, *, sha256: str | None = None, overwrite: bool = False) -> ObjectInfo:
        """Copy out a file. See `Storage.get_file`."""
        source = self.local_path(key)
        with explained(source):
            info = self.head(key)
            got = publish_stream(file_pieces(source), path, sha256=sha256, overwrite=overwrite)
        return ObjectInfo(key, info.size, info.modified_at, sha256=got)

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[ObjectInfo]:
        """Yield the files below a folder in the order of their keys. See `Storage.list`."""
        yield from self._walk(self._folder(prefix), f"{prefix}/" if prefix else "", after)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Return the directories in a directory. See `Storage.folders`."""
        return sorted(entry.name for entry in _entries(self._folder(prefix)) if entry.is_dir())

    def head(self, key: str) -> ObjectInfo:
        """Return what is known of a file. See `Storage.head`."""
        path = self.local_path(key)
        with explained(path):
            stat = path.stat()
        if not path.is_file():
            raise NotFoundError(f"{path} is a directory, not a file")
        return ObjectInfo(key, stat.st_size, stat.st_mtime_ns)

    def digest(self, key: str) -> str:
        """Return the SHA-256 of a file. See `Storage.digest`."""
        path = self.local_path(key)
        with explained(path):
            return file_sha256(path)

    def delete(self, key: str) -> None:
        """Remove a file. See `Storage.delete`."""
        path = self.local_path(key)
        with explained(path), contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
            sync_dir(path.parent)

    def local_path(self, key: str) -> Path:
        """Return the file of a key."""
        return self.base_dir / check_key(key)

    def scan_options(self) -> dict[str, str]:
        """Return none: a local disk needs none."""
        return {}

    def _folder(self, prefix: str) -> Path:
        return self.base_dir / check_key(prefix) if prefix else self.base_dir

    def _publish(self, key: str, pieces: Iterable[bytes], sha256: str | None, overwrite: bool) -> ObjectInfo:
        final = self.local_path(key)
        with explained(final):
            got = publish_stream(pieces, final, sha256=sha256, overwrite=overwrite)
            return ObjectInfo(key, final.stat().st_size, sha256=got)

    def _walk(self, folder: Path, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        """Walk in the order of keys: a directory's name counts with the ``/`` that follows it."""
        entries = ((f"{prefix}{name}{'' if stat else '/'}", name, stat) for name, stat in _described(folder))
        for key, name, stat in sorted(entries, key=lambda entry: entry[0]):
            if stat is None:
                if after is None or key > after or after.startswith(key):
                    yield from self._walk(folder / name, key, after)
            elif is_visible(key) and (after is None or key > after):
                yield ObjectInfo(key, stat.st_size, stat.st_mtime_ns)


def as_storage(store: Path | Storage) -> Storage:
    """Return the store that a directory is, or the store itself."""
    return LocalStorage(store) if isinstance(store, Path) else store


def local_place(path: Path) -> Place:
    """Return a file or directory of this machine as a place."""
    return Place(LocalStorage(path.parent), path.name)


def _described(folder: Path) -> list[tuple[str, os.stat_result | None]]:
    """Return the names in a directory, each with what is known of the file; None: it is a directory.

    A directory that another one took the place of meanwhile (`exchange`), or that lost a file, is read anew.
    """
    found: list[tuple[str, os.stat_result | None]] = []
    for _ in range(_READS_MAX):
        found, before, entries = [], _inode(folder), _entries(folder)
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                found.append((entry.name, None if entry.is_dir() else entry.stat()))
        if len(found) == len(entries) and _inode(folder) == before:
            break
    return found


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a directory; nothing when there is none."""
    with explained(folder):
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the disk says about a file or directory into an error of the one tree."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            raise NotFoundError(f"there is no file {path}") from error
        if error.errno in _DENIED:
            raise DeniedError(f"{path}: {why}. Give the user that runs this the right to it") from error
        if error.errno in _FULL:
            raise StorageError(f"{path}: {why}. Make room, or choose another directory") from error
        raise StorageError(f"{path}: {why}") from error
