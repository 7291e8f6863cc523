"""Which files of a lake another store holds a verified copy of: the ledger's memory of syncs with that store."""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import msgspec

from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import SchemaError
from daedalus.shared.segment import SegmentName
from daedalus.storage.base import ObjectInfo
from daedalus.storage.ledger import Ledger

_COLUMNS = "key, sha256, bytes, modified_at, etag, verified_at, deleted_at"
_PAGE = 1000
_UPSERT = f"INSERT OR REPLACE INTO copies (store, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)"  # noqa: S608


class Copy(msgspec.Struct, frozen=True):
    """A file and its verified copy.

    Attributes
    ----------
    key
        Of both.
    sha256, bytes
        Of both.
    modified_at
        Of the local file when it was compared, ns; another time means that it may have changed.
    etag
        The store's mark of the copy; another one means that it may have changed. None where the store has none.
    verified_at
        When the store was found to hold these bytes, ns.
    deleted_at
        When the local file was removed, None while it is here.
    """

    key: str
    sha256: str
    bytes: int
    modified_at: int
    etag: str | None
    verified_at: int = 0
    deleted_at: int | None = None


class Copies:
    """The copies in one store.

    Parameters
    ----------
    ledger
        Of the lake. Used by one thread.
    store
        The store's URL.
    clock
        Stamps what is recorded.
    """

    def __init__(self, ledger: Ledger, store: str, *, clock: Clock | None = None) -> None:
        self._ledger, self._store = ledger, store
        self._clock = clock or SystemClock()
        with ledger.transaction() as db:
            # Temporary: SQLite keeps a large one on disk, so that a long listing takes no memory.
            db.execute("CREATE TEMP TABLE IF NOT EXISTS listed (key TEXT PRIMARY KEY, bytes INTEGER, etag TEXT)")
            db.execute("DELETE FROM listed")

    def get(self, key: str) -> Copy | None:
        """Return what is known of a file's copy."""
        rows = self._ledger.rows(
            f"SELECT {_COLUMNS} FROM copies WHERE store = ? AND key = ?",  # noqa: S608
            (self._store, key),
        )
        return Copy(*rows[0]) if rows else None

    def is_empty(self) -> bool:
        """Return whether nothing is known to have been copied there, ever."""
        return not self._ledger.rows("SELECT 1 FROM copies WHERE store = ? LIMIT 1", (self._store,))

    def sealed(self, key: str) -> str | None:
        """Return the SHA-256 that a segment had when it was sealed; None when that is not known, or it is none."""
        entry = self._ledger.get(key) if is_segment(key) else None
        return entry.sha256 if entry else None

    def here(self, folder: str) -> Iterator[Copy]:
        """Yield the copies below a folder whose local file was not removed, by key."""
        prefix, after = f"{folder}/", ""
        query = (
            f"SELECT {_COLUMNS} FROM copies WHERE store = ? AND deleted_at IS NULL AND substr(key, 1, ?) = ?"  # noqa: S608
            f" AND key > ? ORDER BY key LIMIT {_PAGE}"
        )
        while rows := self._ledger.rows(query, (self._store, len(prefix), prefix, after)):
            yield from (Copy(*row) for row in rows)
            after = rows[-1][0]

    def announce(self, keys: Iterable[str]) -> None:
        """Record that segments are about to be sent, in one transaction: a run that dies may leave copies behind."""
        now = self._clock.now_ns()
        with self._ledger.transaction() as db:
            db.executemany(
                "UPDATE segments SET uploaded_at = coalesce(uploaded_at, ?) WHERE key = ?", [(now, key) for key in keys]
            )

    def record(self, copies: Iterable[Copy]) -> None:
        """Record verified copies, of segments also in the list of segments, in one transaction."""
        now = self._clock.now_ns()
        with self._ledger.transaction() as db:
            for copy in copies:
                db.execute(_UPSERT, (self._store, copy.key, copy.sha256, copy.bytes, copy.modified_at, copy.etag, now))
                if is_segment(copy.key):
                    _note_verified(db, copy, now)

    def record_deleted(self, keys: Iterable[str]) -> None:
        """Record that local files were removed on purpose, in one transaction; say so before they are."""
        now = self._clock.now_ns()
        with self._ledger.transaction() as db:
            for key in keys:
                db.execute("UPDATE copies SET deleted_at = ? WHERE store = ? AND key = ?", (now, self._store, key))
                db.execute("UPDATE segments SET deleted_at = ? WHERE key = ?", (now, key))

    def record_restored(self, copies: Iterable[Copy]) -> None:
        """Record segments that came back as segments of the lake."""
        for copy in copies:
            if is_segment(copy.key):
                self._ledger.record_restored(copy.key, copy.sha256, copy.bytes)

    def note_listed(self, page: Iterable[ObjectInfo]) -> None:
        """Remember for this run what the store says that it holds."""
        with self._ledger.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO listed VALUES (?, ?, ?)", [(info.key, info.size, info.etag) for info in page]
            )

    def all_listed(self) -> Iterator[ObjectInfo]:
        """Yield what was listed, by key."""
        after = ""
        query = f"SELECT key, bytes, etag FROM listed WHERE key > ? ORDER BY key LIMIT {_PAGE}"  # noqa: S608
        while rows := self._ledger.rows(query, (after,)):
            yield from (ObjectInfo(key, size, etag=etag) for key, size, etag in rows)
            after = rows[-1][0]

    def listed(self, key: str) -> tuple[int, str | None] | None:
        """Return size and mark of what the store listed under a key; None when it did not."""
        rows = self._ledger.rows("SELECT bytes, etag FROM listed WHERE key = ?", (key,))
        return (rows[0][0], rows[0][1]) if rows else None


def _note_verified(db: sqlite3.Connection, copy: Copy, now: int) -> None:
    db.execute(
        "UPDATE segments SET uploaded_at = coalesce(uploaded_at, ?), verified_at = ?, deleted_at = NULL"
        " WHERE key = ? AND sha256 = ?",
        (now, now, copy.key, copy.sha256),
    )


def is_segment(key: str) -> bool:
    """Return whether a key is that of a sealed segment, which never changes."""
    try:
        SegmentName.parse(PurePosixPath(key).name)
    except SchemaError:
        return False
    return True
