"""Two directories that swap places in one step, so that a reader sees all of the old files or all of the new ones."""

import ctypes
import errno
import os
from pathlib import Path

from daedalus.shared.errors import StorageError
from daedalus.storage.local import sync_dir

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNKNOWN = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV}


def exchange(first: Path, second: Path) -> None:
    """Swap two directories of one file system, durably.

    Raises
    ------
    StorageError
        If the system or the file system cannot (Linux with ext4, XFS, Btrfs or tmpfs can), or refuses.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise StorageError("this system cannot exchange two directories in one step, which compaction needs")
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        why = "the file system cannot exchange two directories" if number in _UNKNOWN else os.strerror(number)
        raise StorageError(f"{second}: {why}: not compacted")
    for folder in {first.parent, second.parent}:
        sync_dir(folder)
