"""Putting one file in the place of all files of a partition, so that a reader sees the old ones or the new one.

Where one file was there, a rename does it, and in an object store one put. Where mode ``append`` has left several, on
a local disk the folder changes places with one that holds the new file alone. Object stores cannot do that, and some
file systems neither: there the new file comes first, and its footer names the files that it replaces, which
`storage.partitions` leaves out of every listing; then they are deleted.
"""

import contextlib
import fcntl
import filecmp
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from daedalus.shared.errors import StorageError
from daedalus.storage.base import TEMP_SUFFIX, Place
from daedalus.storage.exchange import exchange
from daedalus.storage.local import make_dirs, publish, remove_temporaries, sync_dir, sync_file
from daedalus.storage.partitions import replaced_by

#: Folder of the lake in which the new contents of a partition are made ready. No reader looks into it.
ASIDE = ".replacing"
#: Seconds that a listing of the old folder, begun before the exchange, has to come to its end.
LISTING_S = 0.05
_APPENDED = re.compile(r"-\d+-\d+(-\d+)?(?=\.[^.]+$)")


def appended(final: Place) -> list[Place]:
    """Return what mode ``append`` has put beside the one file of a partition, sorted."""
    there = (info.key.rpartition("/")[2] for info in final.storage.list(final.parent.key))
    return [final.parent / name for name in sorted(there) if name != final.name and whole_name(name) == final.name]


def whole_name(name: str) -> str:
    """Return the name of the one file of a partition, by that of one that was appended to it.

    Examples
    --------
    >>> whole_name("features-17-23.parquet"), whole_name("features.parquet")
    ('features.parquet', 'features.parquet')
    """
    return _APPENDED.sub("", name)


def appended_name(final: Place, first: int | None, last: int) -> str:
    """Return a name for rows beside a partition's file, by their times: a rerun replaces its own.

    Names that the file has replaced are not taken again: readers would leave them out.
    """
    stem, dot, suffix = final.name.rpartition(".")
    gone = replaced_by(final) if final.exists() else frozenset()
    name, number = f"{stem}-{first}-{last}", 1
    while f"{name}{dot}{suffix}" in gone:
        number += 1
        name = f"{stem}-{first}-{last}-{number}"
    return f"{name}{dot}{suffix}"


def temporary(final: Place) -> Path:
    """Return where a file is written: beside its final place, or among this machine's temporary files.

    What an interrupted writer of the partition has left is removed.
    """
    local = final.local_path
    if local is None:
        return Path(tempfile.gettempdir(), f"daedalus-{secrets.token_hex(8)}{TEMP_SUFFIX}")
    make_dirs(local.parent)
    with held(local.parent):
        remove_temporaries(local.parent)
        sweep(final.parent)
    return local.with_name(f"{local.name}.{os.getpid()}{TEMP_SUFFIX}")


def replace(temp: Path, final: Place, beside: Sequence[Place]) -> None:
    """Put a finished file in the place of a partition's file and of what was appended to it.

    Parameters
    ----------
    temp
        The file; gone afterwards. Its footer names the files beside: see `storage.partitions.replaced_by`.
    final
        Its place.
    beside
        What `appended` returned.
    """
    local = final.local_path
    if local is None:
        final.storage.put_file(final.key, temp, overwrite=True)
        temp.unlink()
    else:
        with held(local.parent):
            beside = [place for place in beside if place.exists()]
            if beside and exchanged(temp, final, [place.name for place in beside]):
                return
            if not beside and local.exists() and filecmp.cmp(temp, local, shallow=False):
                temp.unlink()  # A rerun: who is reading the file is left in peace, and a sync has nothing to send.
                sync_dir(local.parent)  # Whoever published it may have been killed before that.
                return
            publish(temp, local, overwrite=True)
    for place in beside:
        place.storage.delete(place.key)


def put_new(temp: Path, final: Place) -> None:
    """Put a finished file where none is. Raises `AlreadyExistsError` if one is there."""
    if (local := final.local_path) is not None:
        publish(temp, local)
    else:
        final.storage.put_file(final.key, temp)
        temp.unlink()


def exchanged(temp: Path, final: Place, names: Sequence[str]) -> bool:
    """Exchange a partition's folder, which is `held`, with one that holds a new file in the place of some.

    Returns whether the system can do that; if not, nothing has changed.
    """
    local = final.local_path
    assert local is not None
    stage = stage_of(final.parent)
    new = stage / "new"
    make_dirs(new)
    left_out = {temp.name, local.name, *names}
    _link_others(local.parent, new, left_out)
    (new / local.name).hardlink_to(temp)
    sync_file(temp)
    sync_dir(new)
    with held(new):  # so that the next writer waits until the old folder is gone
        try:
            exchange(new, local.parent)
        except StorageError:
            shutil.rmtree(stage)
            return False
        # What another writer has begun meanwhile lies in the old folder; who is listing that should see all of it.
        _link_others(new, local.parent, left_out)
        time.sleep(LISTING_S)
        temp.unlink(missing_ok=True)
        shutil.rmtree(stage)
    return True


def _link_others(source: Path, target: Path, left_out: Collection[str]) -> None:
    for other in source.iterdir():
        if other.name not in left_out:
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                (target / other.name).hardlink_to(other)


def stage_of(folder: Place) -> Path:
    """Return where the next contents of a partition on this machine are made ready; one writer is there at a time."""
    base = folder.storage.local_path("x")
    assert base is not None
    return base.parent / ASIDE / hashlib.sha256(folder.key.encode()).hexdigest()[:16]


def sweep(folder: Place) -> None:
    """Remove what an interrupted exchange of a partition, which is `held`, has left: the old files, or the new one."""
    stage = stage_of(folder)
    if stage.exists():
        shutil.rmtree(stage)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for the length of a block: its files are replaced by one process at a time, others wait.

    The system lets go of it when the process dies.
    """
    while True:
        fd = os.open(folder, os.O_RDONLY)
        try:
            # Where the file system has no locks there is no waiting either.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_ino == folder.stat().st_ino:
                yield
                return
        finally:
            os.close(fd)
