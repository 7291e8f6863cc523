"""Copies between a lake on a local disk and another store: segments, features, bars and manifests, under equal keys.

A copy counts when the store, asked after the transfer, told size and checksum of the file (`verifying`); the ledger
remembers it, so that a later run has nothing to send and little to ask. A local file goes only when that was asked
again. Nothing is overwritten but an older version of a feature or bar file that came from here.

Bounds: `workers` transfers at once, `transfers.BYTES_AT_ONCE` bytes of files in the air, `SETTLE_EVERY` moved files
not yet in the ledger (an interrupted run compares those again), one page of 1,000 objects of a listing.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

from daedalus.shared.clock import NS_PER_SECOND, Clock, SystemClock
from daedalus.shared.errors import AlreadyExistsError, CorruptError, NotFoundError, TransientStorageError
from daedalus.storage.base import TEMP_SUFFIX, ObjectInfo, Storage
from daedalus.storage.copies import Copies, Copy, is_segment
from daedalus.storage.ledger import Ledger
from daedalus.storage.local import LocalStorage, explained, make_dirs, publish, remove_temporaries
from daedalus.storage.lock import LAKE_LOCK, exclusive
from daedalus.storage.sync_report import Move, SyncReport
from daedalus.storage.transfers import Throttle, Transfers
from daedalus.storage.verifying import SMALL_BYTES, Sent, asked_for, copy_of, file_md5, held_by_listing

J = TypeVar("J", Move, Sent)
R = TypeVar("R")
Direction = Literal["upload", "download", "both"]
STAGING = ".sync"
"""What is being fetched; nothing in it outlives a run."""
#: Moved files are verified and recorded, and removed ones removed, so many together.
SETTLE_EVERY = 500
#: So many files in a row that the store does not answer for end a run: it is gone.
UNANSWERED_MAX = 16
_PAGE = 1000
_HOUR_NS = 3600 * NS_PER_SECOND


class StorageSync:
    """Syncs a lake with another store.

    Parameters
    ----------
    lake
        The lake on this machine.
    store
        The other store.
    paths
        Folders of the lake that are synced, such as ``raw/ready``.
    wanted
        Which keys below them are, beside; None: all.
    workers
        Transfers at once.
    bytes_per_second
        Limit of all of them together; None for none.
    trust_ledger
        Whether what the ledger knows is taken for what the store holds, so that uploading lists nothing.
    delete_after_transfer
        Whether local files that the store was found to hold are removed.
    keep_local_hours
        Hours since its last change that a local file stays at least.
    is_needed
        Whether a local file is still needed here, by its key, such as by a watcher that has not read it.
    clock, on_move, stop
        Time; called after each move; ends a run early when set, after the transfers at work.
    """

    def __init__(
        self,
        lake: LocalStorage,
        store: Storage,
        paths: Sequence[str],
        *,
        wanted: Callable[[str], bool] | None = None,
        workers: int = 8,
        bytes_per_second: float | None = None,
        trust_ledger: bool = False,
        delete_after_transfer: bool = False,
        keep_local_hours: float = 24.0,
        is_needed: Callable[[str], bool] | None = None,
        clock: Clock | None = None,
        on_move: Callable[[Move], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._lake, self._store, self._paths = lake, store, tuple(paths)
        self._wanted = wanted or (lambda key: True)
        self._workers, self._throttle = workers, Throttle(bytes_per_second)
        self._trust_ledger, self._delete = trust_ledger, delete_after_transfer
        self._keep_ns = round(keep_local_hours * _HOUR_NS)
        self._is_needed = is_needed or (lambda key: False)
        self._clock = clock or SystemClock()
        self._on_move = on_move or (lambda move: None)
        self._stop = stop or threading.Event()
        self._staging = lake.base_dir / STAGING
        self._is_alone = not isinstance(store, LocalStorage)

    def run(self, direction: Direction) -> SyncReport:
        """Sync once.

        Raises
        ------
        StorageError
            If the store cannot be used at all, there is no lake to upload, or another sync or a compaction is at work
            on it. What went wrong with single files is in the report.
        """
        report = SyncReport()
        self._check_lake(direction)
        make_dirs(self._staging)
        with exclusive(self._lake.base_dir / LAKE_LOCK, "sync or compaction"), Ledger(self._lake.base_dir) as ledger:
            remove_temporaries(self._staging)
            copies = self._copies(ledger)
            moves = _announced(copies, self._moves(copies, direction, report))
            sent = self._perform(moves, self._move, report)
            while batch := list(islice(sent, SETTLE_EVERY)):
                self._settle(copies, batch, report)
            if self._delete and direction != "download":
                self._remove(copies, report)
        report.is_cut_short |= self._stop.is_set()
        return report

    def plan(self, direction: Direction) -> tuple[list[Move], SyncReport]:
        """Return what `run` would move, and what it would find to be equal or in conflict; no file is changed."""
        report, moves = SyncReport(), list[Move]()
        self._check_lake(direction)
        base = self._lake.base_dir
        with TemporaryDirectory() as nothing, Ledger(base if base.is_dir() else Path(nothing)) as ledger:
            copies = self._copies(ledger)
            here = list[Move]()
            for settled in self._perform(self._moves(copies, direction, report), self._foresee, report):
                if isinstance(settled, Move):
                    moves.append(settled)
                else:
                    report.adopted.add(settled.bytes)
                    here.append(Move("compare", settled.key, settled.bytes, settled.sha256, settled.modified_at))
            if self._delete and direction != "download":
                known = self._perform(self._removable(copies), self._if_held, report)
                here += [move for move in moves if move.kind in ("upload", "replace")]
                going = {move.key: move for move in known if move}
                going |= {move.key: replace(move, kind="delete") for move in here if self._may_go(move)}
                moves += going.values()
        return moves, report

    def _check_lake(self, direction: Direction) -> None:
        base = self._lake.base_dir
        if direction == "upload" and not base.is_dir():
            raise NotFoundError(f"there is no lake in {base}: check --source, and that its disk is mounted")

    def _copies(self, ledger: Ledger) -> Copies:
        """Return what is known of the store. One on a disk that is not mounted would fill up the disk beneath it."""
        copies, store = Copies(ledger, self._store.url, clock=self._clock), self._store
        if isinstance(store, LocalStorage) and not store.base_dir.is_dir() and not copies.is_empty():
            raise NotFoundError(
                f"{store.base_dir} is gone, to which files were copied before: mount its disk; if it was removed on"
                f" purpose, create it (mkdir -p {store.base_dir}) and all goes there again"
            )
        return copies

    # What is to be done.

    def _moves(self, copies: Copies, direction: Direction, report: SyncReport) -> Iterator[Move]:
        if direction != "upload" or not self._trust_ledger:
            self._list(copies, report)
        if direction != "download":
            yield from self._uploads(copies, report, replaces=direction == "upload")
        if direction != "upload":
            yield from self._downloads(copies, report, restores=direction == "download")

    def _list(self, copies: Copies, report: SyncReport) -> None:
        for page in self._pages():
            report.listed_pages += 1
            copies.note_listed(page)
            if self._stop.is_set():
                return

    def _pages(self) -> Iterator[list[ObjectInfo]]:
        """Yield what the store holds: from one listing of all where it holds nothing else, else folder by folder."""
        if self._is_alone and len(self._paths) > 1:
            infos = self._store.list()
            while self._is_alone and (page := list(islice(infos, _PAGE))):
                ours = [info for info in page if any(info.key.startswith(f"{path}/") for path in self._paths)]
                self._is_alone = len(ours) == len(page)
                yield ours
            if self._is_alone:
                return
        for path in self._paths:
            infos = self._store.list(path)
            while page := list(islice(infos, _PAGE)):
                yield page

    def _uploads(self, copies: Copies, report: SyncReport, *, replaces: bool) -> Iterator[Move]:
        """Yield the local files that the store is not known to hold as they are."""
        for info in (info for path in self._paths for info in self._lake.list(path) if self._wanted(info.key)):
            known, there = copies.get(info.key), copies.listed(info.key)
            if (
                known is not None
                and _is_same_file(known, info)
                and (self._trust_ledger or there == (known.bytes, known.etag))
            ):
                report.unchanged.add(info.size)
                if known.deleted_at is not None:
                    copies.record([known])  # a run was killed between saying that it goes and removing it
                continue
            is_there = there is not None or (self._trust_ledger and known is not None)
            before = known.sha256 if known and replaces and not is_segment(info.key) else None
            sealed = copies.sealed(info.key)
            yield Move("compare" if is_there else "upload", info.key, info.size, sealed, info.modified_at or 0, before)

    def _downloads(self, copies: Copies, report: SyncReport, *, restores: bool) -> Iterator[Move]:
        """Yield the store's objects that are not here. What was removed here on purpose comes back only on request."""
        for theirs in copies.all_listed():
            if not self._wanted(theirs.key):
                continue
            known = copies.get(theirs.key)
            try:
                info = self._lake.head(theirs.key)
            except NotFoundError:
                if restores or known is None or known.deleted_at is None:
                    yield Move("download", theirs.key, theirs.size)
                continue
            if not restores:
                continue  # what is here was looked at on the way up
            if known is not None and _is_same_file(known, info) and known.etag == theirs.etag:
                report.unchanged.add(info.size)
            else:
                sealed = copies.sealed(info.key)
                yield Move("compare", info.key, info.size, sealed, info.modified_at or 0)

    # Doing it.

    def _perform(
        self, moves: Iterable[J], work: Callable[[J], R], report: SyncReport, *, to_the_end: bool = False
    ) -> Iterator[R]:
        """Do the moves, many at once, and yield what came of each; count the files that went wrong."""
        stop = threading.Event() if to_the_end else self._stop
        transfers = Transfers[J, R](work, _bytes_moved, workers=self._workers, throttle=self._throttle, stop=stop)
        unanswered = 0
        for move, result in transfers.run(moves):
            if not isinstance(result, Exception):
                unanswered = 0
                yield result
                continue
            unanswered = unanswered + 1 if isinstance(result, TransientStorageError) else 0
            _note(move.key, result, report)
            if unanswered >= UNANSWERED_MAX:
                raise result

    def _settle(self, copies: Copies, batch: Sequence[Sent], report: SyncReport) -> None:
        """Count and record what was moved, as far as the store says that it holds it."""
        open_ones = [sent for sent in batch if sent.md5 is not None]
        held = held_by_listing(self._store, open_ones)
        verified = [sent for sent in batch if sent.md5 is None]
        verified += [Sent(sent.move, held[sent.move.key]) for sent in open_ones if sent.move.key in held]
        rest = [sent for sent in open_ones if sent.move.key not in held]
        verified += self._perform(rest, partial(asked_for, self._store), report, to_the_end=True)
        copies.record_restored(sent.copy for sent in verified if sent.move.kind == "download")
        copies.record(sent.copy for sent in verified)
        for sent in verified:
            report.moved(sent.move)
            self._on_move(sent.move)

    def _move(self, move: Move) -> Sent:
        """Move one file. In a thread of its own."""
        settled = self._compare(move)
        if isinstance(settled, Copy):
            return Sent(move, settled)
        return self._receive(settled) if settled.kind == "download" else self._send(settled)

    def _compare(self, move: Move) -> Move | Copy:
        """Find out what a file that both sides have is: a copy, an older version to replace, or a conflict."""
        if move.kind != "compare":
            return move
        ours = self._lake.digest(move.key)
        try:
            theirs = self._store.head(move.key)
        except NotFoundError:
            return replace(move, kind="upload")
        held = theirs.sha256 or self._store.digest(move.key)
        self._check_sealed(move, ours)
        if held == ours:
            return copy_of(theirs, ours, move.modified_at)
        if held == move.before:
            return replace(move, kind="replace", sha256=ours)
        raise AlreadyExistsError(f"here it has SHA-256 {ours[:12]}..., in {self._store.url} {held[:12]}...")

    def _foresee(self, move: Move) -> Move | Copy:
        """Find out what would become of a move; a damaged segment would not go up."""
        settled = self._compare(move)
        if isinstance(settled, Move) and settled.kind == "upload" and settled.sha256 is not None:
            self._check_sealed(settled, self._lake.digest(settled.key))
        return settled

    def _check_sealed(self, move: Move, ours: str) -> None:
        if move.sha256 is not None and ours != move.sha256:
            raise CorruptError(f"{self._lake.local_path(move.key)} is damaged: it is not what was sealed")

    def _send(self, move: Move) -> Sent:
        if move.kind == "replace" and self._store.head(move.key).sha256 not in (move.before, move.sha256):
            raise AlreadyExistsError("the store's version changed meanwhile and is not overwritten")
        path = self._lake.local_path(move.key)
        sent = self._store.put_file(move.key, path, sha256=move.sha256, overwrite=move.kind == "replace")
        assert sent.sha256 is not None
        copy = copy_of(sent, sent.sha256, move.modified_at)
        if sent.size <= SMALL_BYTES:
            with explained(path):
                return Sent(move, copy, file_md5(path))
        return asked_for(self._store, Sent(move, copy))

    def _receive(self, move: Move) -> Sent:
        """Fetch one file, aside, so that an interrupted run leaves nothing among the segments."""
        aside, path = self._staging / f"{secrets.token_hex(8)}{TEMP_SUFFIX}", self._lake.local_path(move.key)
        with explained(path):
            try:
                got = self._store.get_file(move.key, aside)
                if got.sha256 is None or got.size != aside.stat().st_size:
                    raise CorruptError(f"{path}: {aside.stat().st_size} bytes arrived of {got.size}")
                publish(aside, path)
            finally:
                aside.unlink(missing_ok=True)
            return Sent(move, copy_of(got, got.sha256, path.stat().st_mtime_ns))

    # What may go.

    def _removable(self, copies: Copies) -> Iterator[Move]:
        """Yield the local files that may go and are known to be copied."""
        known = (copy for path in self._paths for copy in copies.here(path))
        moves = (Move("delete", copy.key, copy.bytes, copy.sha256, copy.modified_at) for copy in known)
        yield from filter(self._may_go, moves)

    def _may_go(self, move: Move) -> bool:
        """Return whether a file is old enough and not needed here."""
        is_old = move.modified_at <= self._clock.now_ns() - self._keep_ns
        return is_old and self._wanted(move.key) and not self._is_needed(move.key)

    def _remove(self, copies: Copies, report: SyncReport) -> None:
        """Remove local files, each after the store was asked once more whether it holds these very bytes."""
        confirmed = (move for move in self._perform(self._removable(copies), self._if_held, report) if move)
        while batch := list(islice(confirmed, SETTLE_EVERY)):
            copies.record_deleted(move.key for move in batch)
            for move in batch:
                self._lake.delete(move.key)
                report.moved(move)
                self._on_move(move)

    def _if_held(self, move: Move) -> Move | None:
        theirs, info = self._store.head(move.key), self._lake.head(move.key)
        held = theirs.sha256 or self._store.digest(move.key)
        return move if (theirs.size, held, info.modified_at) == (move.size, move.sha256, move.modified_at) else None


def _announced(copies: Copies, moves: Iterator[Move]) -> Iterator[Move]:
    """Yield the moves, each after the ledger knows that it may be under way: what is sent is not merged any more."""
    while batch := list(islice(moves, SETTLE_EVERY)):
        copies.announce(move.key for move in batch if move.kind != "download")
        yield from batch


def _bytes_moved(move: Move | Sent) -> int:
    return 0 if isinstance(move, Sent) or move.kind == "delete" else move.size


def _note(key: str, error: Exception, report: SyncReport) -> None:
    """Count what went wrong with one file. What would go wrong with all of them is raised: it ends the run."""
    if isinstance(error, NotFoundError):
        return  # one side was replaced or removed meanwhile: the next run sees what is there
    if isinstance(error, AlreadyExistsError):
        report.conflict(f"{key}: {error}")
    elif isinstance(error, CorruptError | TransientStorageError):
        report.failure(f"{key}: {error}")
    else:
        raise error


def _is_same_file(known: Copy, info: ObjectInfo) -> bool:
    return (known.bytes, known.modified_at) == (info.size, info.modified_at)
