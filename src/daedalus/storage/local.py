"""Durable writes on a local disk: a file appears under its final name only when it is whole and synced.

Order of every publication: write under a temporary name, sync the file, give it its final name, sync the directories.
"""

import contextlib
import errno
import os
from pathlib import Path

from daedalus.shared.errors import AlreadyExistsError, StorageError

TEMP_SUFFIX = ".tmp"
"""Unfinished files end so. No reader's glob matches them, and whoever starts next removes them."""

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


def remove_temporaries(folder: Path) -> list[Path]:
    """Remove what an interrupted writer left unfinished in a directory; return the names."""
    left = sorted(folder.glob(f"*{TEMP_SUFFIX}")) if folder.is_dir() else []
    for path in left:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    return left
