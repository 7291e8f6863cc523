"""The status of a recorder: one record that its file, `daedalus status`, the metrics and the health checks all show.

It is light: reading a status imports neither the collectors nor the writers.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.errors import CorruptError, StorageError

#: In the folder of a recorder's journals, which never leaves the machine.
STATUS_NAME = "status.json"
#: A status that is older than so many of its intervals, and than so many seconds, is not kept up.
STALE_INTERVALS, STALE_S = 4, 20.0
#: A writer that did not go round for so long hangs.
HANG_S = 60.0
QUEUE_SHARE_MAX = 0.8
DAYS_LEFT_MIN = 2.0
OFFSET_MS_MAX = 1000.0

Phase = Literal["starting", "recording", "stopping", "stopped"]
Liveness = Literal["running", "silent", "stopped", "died"]


class Connection(msgspec.Struct, frozen=True):
    """One connection, and whether it delivers."""

    name: str
    exchange: str
    is_up: bool
    streams: int


class Clocks(msgspec.Struct, frozen=True):
    """The machine's clock against an exchange's, ms, as `collectors.skew` measures it."""

    offset_ms: float
    latency_ms_p50: float
    latency_ms_p99: float


class Queue(msgspec.Struct, frozen=True):
    """Events between collectors and writer, and the bounds."""

    events: int = 0
    bytes: int = 0
    events_high: int = 0
    events_max: int = 0
    bytes_max: int = 0
    dropped: int = 0


class Journal(msgspec.Struct, frozen=True):
    """The durable end. `waiting` are journals that are not sealed yet, beside the one in use. Times in ns."""

    bytes: int = 0
    flushes: int = 0
    last_flush_at: int | None = None
    waiting: int = 0
    is_disk_full: bool = False


class Disk(msgspec.Struct, frozen=True):
    """The lake's disk. `bytes_per_day` is what was sealed, null until ten minutes are known.

    `room_bytes` is what may still be written: free space, or what is left of the budget; `days_left` how long that
    lasts. `last_upload_at` is when a copy in another store was last found to be equal, ns.
    """

    total_bytes: int
    free_bytes: int
    room_bytes: int
    bytes_per_day: float | None = None
    days_left: float | None = None
    last_upload_at: int | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a recorder of one source does. Times are receive clocks, ns since the epoch; None: not yet.

    Attributes
    ----------
    pid, pid_born
        The process, and when it began by the system's own count, which tells it from a later one of the same number.
    phase, interval_s, written_at
        What it is about; how often this is written, and when it was.
    rows, rows_per_second
        By channel: since the start, and over the last minute.
    heard
        Newest event by ``exchange/channel``.
    beat_age_s
        Seconds since the writer went round.
    gaps, open_gaps
        Entries of the ledger by cause, and streams that are in one now.
    """

    version: str
    source: str
    pid: int
    pid_born: int | None
    phase: Phase
    started_at: int
    written_at: int
    interval_s: float
    rows: dict[str, int] = {}
    rows_per_second: dict[str, float] = {}
    heard: dict[str, int] = {}
    connections: list[Connection] = []
    disconnects: int = 0
    queue: Queue = Queue()
    journal: Journal = Journal()
    segments: int = 0
    segment_bytes: int = 0
    gaps: dict[str, int] = {}
    open_gaps: int = 0
    clocks: dict[str, Clocks] = {}
    disk: Disk | None = None
    beat_age_s: float = 0.0
    memory_bytes: int | None = None
    cpu_seconds: float = 0.0

    def liveness(self, now_ns: int) -> Liveness:
        """Return whether the recorder runs: `silent` is one that is there and does not write its status."""
        if self.phase == "stopped":
            return "stopped"
        if not _is_alive(self.pid, self.pid_born):
            return "died"
        patience = max(STALE_S, STALE_INTERVALS * self.interval_s)
        return "running" if now_ns - self.written_at < patience * NS_PER_SECOND else "silent"

    @property
    def hangs(self) -> bool:
        """Whether the writer does not go round: waiting for a disk that refuses is no hang, one that is stuck is."""
        return self.phase == "recording" and self.beat_age_s > HANG_S

    def faults(self) -> list[str]:
        """Return why not everything is recorded at the moment, in words; empty when all is."""
        found = ["it is starting"] if self.phase == "starting" else []
        found += ["it is stopping"] if self.phase in ("stopping", "stopped") else []
        if self.hangs:
            found.append(f"the writer did not go round for {self.beat_age_s:.0f} s: the disk does not answer")
        if self.journal.is_disk_full:
            found.append("the disk refuses rows: make room, or see the log for its error")
        if down := [connection.name for connection in self.connections if not connection.is_up]:
            found.append(f"{len(down)} of {len(self.connections)} connections do not deliver: {', '.join(down[:5])}")
        return found

    def warnings(self) -> list[str]:
        """Return what will become a fault, or spoils the data."""
        found, queue = [], self.queue
        share = max(queue.events / max(1, queue.events_max), queue.bytes / max(1, queue.bytes_max))
        if share > QUEUE_SHARE_MAX:
            found.append(f"the queue is {share:.0%} full: the machine or its disk is too slow for these markets")
        if queue.dropped:
            found.append(f"{queue.dropped:,} events were dropped since the start: the gaps channel says which")
        if self.disk is not None and self.disk.days_left is not None and self.disk.days_left < DAYS_LEFT_MIN:
            found.append(f"the disk is full in {self.disk.days_left:.1f} days: upload and remove, or add room")
        for name, clock in self.clocks.items():
            if abs(clock.offset_ms) > OFFSET_MS_MAX:
                found.append(f"this clock and that of {name} are {clock.offset_ms / 1000:+.1f} s apart: timedatectl")
        return found


def write_status(folder: Path, status: Status) -> None:
    """Replace the status file in one step. It is not synced: a crash costs nothing but it.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    final = folder / STATUS_NAME
    temp = final.with_name(f".{STATUS_NAME}.{os.getpid()}")
    try:
        temp.write_bytes(msgspec.json.encode(status))
        temp.replace(final)
    except OSError as error:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        raise StorageError(f"cannot write {final}: {error.strerror or error}") from error


def read_status(path: Path) -> Status:
    """Read a status file.

    Raises
    ------
    CorruptError
        If it is something else, or of another version.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptError(f"{path} is no status of this version: the next start writes it anew ({error})") from error


def statuses(base: Path, tier: str) -> Iterator[Status]:
    """Yield the status of every recorder that ran in a lake, by source."""
    for path in sorted((base / tier / "active").glob(f"*/{STATUS_NAME}")):
        yield read_status(path)


def born(pid: int) -> int | None:
    """Return when a process began, in the system's ticks; None where that is not told, and of one that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in brackets may hold anything; behind it the state is the first field, the start the 20th.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _is_alive(pid: int, since: int | None) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return since is None or born(pid) == since
