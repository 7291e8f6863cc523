"""One process at a time: a lock file that the system lets go of when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daedalus.shared.errors import StorageError

#: What copies a lake and what rearranges it exclude each other by this file in its directory.
LAKE_LOCK = ".sync.lock"


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the length of a block; its directory must exist.

    Parameters
    ----------
    path
        The file; it stays.
    what
        Who holds such a lock, for the message: "sync".

    Raises
    ------
    StorageError
        If another process holds it, or it cannot be written.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}. Make the directory writable") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            raise StorageError(
                f"another {what} (process {holder}) is at work on {path.parent}: wait for its end, or stop it"
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)


def holder(path: Path) -> int | None:
    """Return the process that holds a lock file, None when nobody does. It looks only: taking the lock would disturb.

    Where the system does not list its locks, the process that wrote its number into the file counts, if there is one.
    """
    try:
        pid, inode = int(path.read_text().strip()), path.stat().st_ino
        locks = Path("/proc/locks")
        if locks.exists():
            held = (line.split() for line in locks.read_text().splitlines())
            return pid if any(f[1] == "FLOCK" and f[5].endswith(f":{inode}") for f in held if len(f) > 5) else None
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid
