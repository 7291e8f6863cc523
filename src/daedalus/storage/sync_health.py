"""The small file in which a continuous sync tells how it does."""

from pathlib import Path

import msgspec
import structlog

from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.errors import CorruptError, StorageError
from daedalus.storage.local import LocalStorage
from daedalus.storage.sync_report import Tally

log = structlog.get_logger(__name__)


class SyncHealth(msgspec.Struct):
    """How a sync that runs in the background does. Times in ns since the epoch.

    Attributes
    ----------
    pid
        Its process.
    store
        Where it syncs with.
    interval_s
        Seconds between two runs.
    last_run_at, last_success_at
        When the last run ended, and the last one that left nothing undone; None before the first.
    failed_runs
        Runs since then that left something undone.
    error
        What the last run stumbled over; None if nothing.
    uploaded, deleted
        Since the start.
    conflicts, failures
        Of the last run.
    """

    pid: int
    store: str
    interval_s: float
    last_run_at: int | None = None
    last_success_at: int | None = None
    failed_runs: int = 0
    error: str | None = None
    uploaded: Tally = msgspec.field(default_factory=Tally)
    deleted: Tally = msgspec.field(default_factory=Tally)
    conflicts: int = 0
    failures: int = 0

    def is_well(self, now_ns: int) -> bool:
        """Return whether a run left nothing undone within the last three intervals."""
        return self.last_success_at is not None and now_ns - self.last_success_at < 3 * self.interval_s * NS_PER_SECOND


def write_health(path: Path, health: SyncHealth) -> None:
    """Write the health file. That it cannot be written is logged, and stops nothing."""
    try:
        LocalStorage(path.parent).put(path.name, msgspec.json.encode(health), overwrite=True)
    except StorageError as error:
        log.warning("health not written", error=str(error))


def read_health(path: Path) -> SyncHealth | None:
    """Return what a health file says; None when there is none.

    Raises
    ------
    CorruptError
        If it is something else.
    """
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=SyncHealth)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptError(f"{path} is no health file: remove it ({error})") from error
