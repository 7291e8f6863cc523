"""The ledger of a lake: which segments were sealed, with which bytes, and what became of them. SQLite, one small file.

It is a memory, not the truth: the files are, and the ledger can be made anew from them (`Ledger.rebuild`). What only
the ledger knows is the SHA-256 of a segment when it was sealed, and that a missing one was removed on purpose.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import CorruptError, SchemaError, StorageError, TransientStorageError
from daedalus.shared.segment import SegmentName
from daedalus.storage.local import file_sha256, make_dirs

LEDGER_NAME = "ledger.sqlite"
#: How long to wait for another process that writes.
TIMEOUT_S = 30.0
_REBUILD_BATCH = 256
_VERSION = 2
_CREATE = """
CREATE TABLE IF NOT EXISTS segments (
    key TEXT PRIMARY KEY, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, rows INTEGER NOT NULL,
    sealed_at INTEGER NOT NULL, uploaded_at INTEGER, verified_at INTEGER, deleted_at INTEGER
) WITHOUT ROWID
"""
# Which files of the lake another store holds a verified copy of; segments and everything else that is synced.
_CREATE_COPIES = """
CREATE TABLE IF NOT EXISTS copies (
    store TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, modified_at INTEGER NOT NULL,
    etag TEXT, verified_at INTEGER NOT NULL, deleted_at INTEGER, PRIMARY KEY (store, key)
) WITHOUT ROWID
"""
_INSERT = "INSERT INTO segments (key, sha256, bytes, rows, sealed_at) VALUES (?, ?, ?, ?, ?)"
# The same bytes are still uploaded and verified; other bytes are not.
_REPLACE = f"""{_INSERT} ON CONFLICT (key) DO UPDATE SET
    uploaded_at = CASE WHEN sha256 = excluded.sha256 THEN uploaded_at END,
    verified_at = CASE WHEN sha256 = excluded.sha256 THEN verified_at END,
    deleted_at = NULL, sha256 = excluded.sha256, bytes = excluded.bytes, rows = excluded.rows
"""
_FORGET = """
DELETE FROM segments WHERE deleted_at IS NULL AND sealed_at < ? AND key NOT IN (SELECT key FROM present)
"""
# Whether a store holds what a lost ledger knew is not known any more: such segments stay as they are.
_MAYBE_SENT = "UPDATE segments SET uploaded_at = sealed_at WHERE key = ?"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}

Event = Literal["uploaded", "verified", "deleted"]


class Entry(msgspec.Struct, frozen=True):
    """What the ledger knows of a segment. Times in ns since the epoch; None: it did not happen.

    Attributes
    ----------
    key
        Its path relative to the lake's directory, with ``/``.
    sha256
        Of the whole file, in hexadecimal.
    uploaded_at, verified_at, deleted_at
        When it was first sent to another store (or may have been, as far as a ledger that was made anew can tell),
        when the copy was found to be equal, when the local file was removed.
    """

    key: str
    sha256: str
    bytes: int
    rows: int
    sealed_at: int
    uploaded_at: int | None = None
    verified_at: int | None = None
    deleted_at: int | None = None


class Ledger:
    """The ledger of one lake. Safe for several processes, each with an instance of its own; not for several threads.

    Parameters
    ----------
    base
        The lake's directory. The ledger is made where there is none.
    clock
        Stamps what is recorded.
    timeout_s
        How long to wait for another process.

    Raises
    ------
    CorruptError
        If the file is damaged.
    TransientStorageError
        If another process holds it for longer than the time-out. Any method may raise these two.
    StorageError
        If it cannot be opened or written.
    """

    def __init__(self, base: Path, *, clock: Clock | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.base = base
        self.path = base / LEDGER_NAME
        self._clock = clock or SystemClock()
        make_dirs(base)
        with self._translated():
            # Transactions are begun by hand: the module's own would begin too late, after the read they depend on.
            self._db = sqlite3.connect(self.path, timeout=timeout_s, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    @classmethod
    def existing(cls, base: Path) -> "Ledger | None":
        """Return the ledger of a lake, None where there is none."""
        return cls(base) if (base / LEDGER_NAME).exists() else None

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        """Return the ledger; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def record_sealed(self, segments: Iterable[Path]) -> int:
        """Record published segments, all in one transaction that is on the device at return; return how many were new.

        A segment that is known keeps its first SHA-256, so that recording all segments of a journal may be repeated,
        and a later damage is not blessed.

        Parameters
        ----------
        segments
            Paths of segments below the lake's directory. Each new one is read once.

        Raises
        ------
        SchemaError
            If one is not named as a segment, or lies elsewhere.
        """
        keyed = [(self.key_of(path), path) for path in segments]
        new = [self._row(key, path, self._clock.now_ns()) for key, path in keyed if self.get(key) is None]
        with self.transaction():
            before = self._db.total_changes
            self._db.executemany(f"{_INSERT} ON CONFLICT DO NOTHING", new)
            return self._db.total_changes - before

    def record(self, key: str, event: Event) -> None:
        """Record that a segment was uploaded, verified or deleted. Raises `StorageError` if it is not known."""
        with self.transaction():
            # The column's name comes from a closed set.
            done = self._db.execute(
                f"UPDATE segments SET {event}_at = ? WHERE key = ?",  # noqa: S608
                (self._clock.now_ns(), key),
            )
            if not done.rowcount:
                raise StorageError(f"{key} is not in {self.path}: `daedalus verify --rebuild-ledger` makes it anew")

    def record_restored(self, key: str, sha256: str, size: int) -> None:
        """Record a segment that came back from another store: its bytes were verified on the way."""
        name = SegmentName.parse(Path(key).name)
        now, rows = self._clock.now_ns(), name.last_row - name.first_row + 1
        with self.transaction() as db:
            db.execute(_REPLACE, (key, sha256, size, rows, now))
            db.execute("UPDATE segments SET uploaded_at = ?, verified_at = ? WHERE key = ?", (now, now, key))

    def get(self, key: str) -> Entry | None:
        """Return what is known of a segment."""
        with self._translated():
            row = self._db.execute("SELECT * FROM segments WHERE key = ?", (key,)).fetchone()
        return Entry(*row) if row else None

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Yield what is known of all segments whose keys begin so, by key."""
        with self._translated():
            rows = self._db.execute(
                "SELECT * FROM segments WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
            )
            for row in rows:
                yield Entry(*row)

    def may_be_elsewhere(self, key: str) -> bool:
        """Return whether another store may hold a copy of a segment: it is unknown here, or was sent once."""
        entry = self.get(key)
        return entry is None or entry.uploaded_at is not None or self.was_sent(key)

    def was_sent(self, key: str) -> bool:
        """Return whether another store has a verified copy of a file, a segment or not."""
        return bool(self.rows("SELECT 1 FROM copies WHERE key = ? LIMIT 1", (key,)))

    def last_copies(self) -> dict[str, int]:
        """Return by store when a copy in it was last found to be equal, ns since the epoch."""
        return dict(self.rows("SELECT store, max(verified_at) FROM copies GROUP BY store"))

    def live_bytes(self) -> int:
        """Return the bytes of all segments that were not deleted."""
        with self._translated():
            row = self._db.execute("SELECT coalesce(sum(bytes), 0) FROM segments WHERE deleted_at IS NULL").fetchone()
        return int(row[0])

    def oldest(self, *, verified: bool) -> Iterator[Entry]:
        """Yield the segments that are here, oldest first: those whose uploaded copy was verified, or those without."""
        condition = "IS NOT NULL" if verified else "IS NULL"
        with self._translated():
            # The condition is one of two constants.
            rows = self._db.execute(
                f"SELECT * FROM segments WHERE deleted_at IS NULL AND verified_at {condition} ORDER BY sealed_at, key"  # noqa: S608
            ).fetchall()
        yield from (Entry(*row) for row in rows)

    def key_of(self, path: Path) -> str:
        """Return the key of a file. Raises `SchemaError` if it lies outside the lake."""
        try:
            return path.absolute().relative_to(self.base.absolute()).as_posix()
        except ValueError:
            raise SchemaError(f"{path} is not below {self.base}: it belongs to another lake") from None

    @classmethod
    def rebuild(cls, base: Path) -> int:
        """Make the ledger anew from the sealed files; return how many there are.

        What the old one knew is kept where it still holds: uploads of the same bytes, and removals. A damaged one is
        kept beside, its name ending in ``.damaged``. Do it on files that are known to be good: their bytes become the
        ones that `daedalus verify` compares with.
        """
        try:
            ledger = cls(base)
        except CorruptError:
            _set_aside(base / LEDGER_NAME)
            ledger = cls(base)
        with ledger:
            return ledger._take_all()

    def _take_all(self) -> int:
        """Hash outside of transactions, so that a recorder that seals meanwhile never waits for long."""
        started = self._clock.now_ns()
        self._db.execute("CREATE TEMP TABLE present (key TEXT PRIMARY KEY)")
        count, segments = 0, lake_segments(self.base)
        while paths := list(islice(segments, _REBUILD_BATCH)):
            rows = [self._row(self.key_of(path), path, path.stat().st_mtime_ns) for path in paths]
            new = [row[:1] for row in rows if self.get(row[0]) is None]
            with self.transaction():
                self._db.executemany(_REPLACE, rows)
                self._db.executemany(_MAYBE_SENT, new)
                self._db.executemany("INSERT INTO present VALUES (?)", [row[:1] for row in rows])
            count += len(paths)
        with self.transaction():
            # What was sealed since the start may lie in a directory that was passed already.
            self._db.execute(_FORGET, (started,))
        return count

    def _row(self, key: str, path: Path, sealed_at: int) -> tuple[str, str, int, int, int]:
        name = SegmentName.parse(path.name)
        rows = name.last_row - name.first_row + 1
        return key, file_sha256(path), path.stat().st_size, rows, sealed_at

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StorageError(f"{self.path} was written by a newer version of Daedalus: use that one")
        if version < _VERSION:
            with self.transaction():
                self._db.execute(_CREATE)
                self._db.execute(_CREATE_COPIES)
                self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return what a query of the ledger's tables yields."""
        with self._translated():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; all of it counts, or nothing."""
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # The extended code holds the basic one in its lowest byte.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _BUSY:
                raise TransientStorageError(f"{self.path} is held by another process: try again") from error
            if code in _CORRUPT:
                advice = "`daedalus verify --rebuild-ledger` makes it anew from the segments"
                raise CorruptError(f"{self.path} is damaged ({error}): {advice}") from error
            raise StorageError(f"{self.path}: {error}. Is the disk full or read-only?") from error


def lake_segments(base: Path) -> Iterator[Path]:
    """Yield the sealed segments of a lake, those in ``{tier}/ready``, whatever its raw tier is called."""
    for ready in sorted(base.glob("*/ready")):
        yield from segments_below(ready)


def segments_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a directory that are named as segments, directory by directory in order."""
    for directory, names, files in os.walk(folder):
        names.sort()
        yield from (Path(directory, name) for name in sorted(files) if _is_segment(name))


def _is_segment(name: str) -> bool:
    try:
        SegmentName.parse(name)
    except SchemaError:
        return False
    return True


def _set_aside(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.rename(path.with_name(f"{path.name}.damaged"))
