"""What a recorder that ended badly left behind: the lock that shows whether it still runs, its journals, its halves."""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.journal import SUFFIX, JournalReader
from daedalus.ingestion.writers.sealing import SealReport, seal
from daedalus.shared.errors import CorruptError, StorageError
from daedalus.storage.local import TEMP_SUFFIX, make_dirs

LOCK_NAME = "writer.lock"


class JournalContent(msgspec.Struct):
    """What a journal holds, without touching it. `rows` per channel; `damage` None where it is whole to its end."""

    path: str
    bytes: int
    rows: dict[str, int]
    ended: bool
    damage: str | None


def take_lock(paths: RawPaths) -> int:
    """Take a recorder's directories for this process; return the descriptor that holds them.

    The system lets go of the lock when the process dies, however it dies.

    Raises
    ------
    StorageError
        If another process holds it, or the directories cannot be made.
    """
    for folder in (paths.active, paths.ready):
        make_dirs(folder)
    path = paths.active / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}. Make the directory writable") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise StorageError(
            f"another recorder (process {holder}) writes into {paths.active}: "
            "stop it or choose another storage.base_dir"
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


@contextmanager
def locked(paths: RawPaths) -> Iterator[None]:
    """Hold a recorder's directories for a while. Raises `StorageError` as `take_lock` does."""
    fd = take_lock(paths)
    try:
        yield
    finally:
        os.close(fd)


def journals_left_behind(paths: RawPaths) -> list[Path]:
    """Return the journals of earlier processes, oldest first, and remove unfinished files that belong to none.

    Files of a journal that is still there are its sealer's to remove: it may be at work.
    """
    journals = sorted(paths.active.glob(f"*{SUFFIX}"))
    known = {journal.stem for journal in journals}
    for path in paths.active.glob(f"*{TEMP_SUFFIX}"):
        if path.name.split(".")[0] not in known:
            path.unlink(missing_ok=True)
    return journals


def inspect(journal: Path) -> JournalContent:
    """Read a journal to its last whole frame and count."""
    rows: Counter[str] = Counter()
    size = journal.stat().st_size
    try:
        reader = JournalReader(journal)
    except CorruptError as error:
        return JournalContent(str(journal), size, {}, ended=False, damage=str(error))
    for channel, batch in reader.frames():
        rows[channel] += batch.num_rows
    return JournalContent(str(journal), size, dict(rows), ended=reader.ended, damage=reader.damage)


def recover(paths: RawPaths) -> Iterator[SealReport]:
    """Seal every journal left behind, one report each.

    Raises
    ------
    StorageError
        If a recorder is at work there, or the disk refuses.
    """
    with locked(paths):
        for journal in journals_left_behind(paths):
            try:
                yield seal(journal, paths)
            except OSError as error:
                raise StorageError(f"{journal}: {error.strerror or error}. Make room and run it again") from error
