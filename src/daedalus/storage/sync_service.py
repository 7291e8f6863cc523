"""Syncing again and again, for months: a run at each interval, and a small file that tells how it goes.

A store that does not answer, refuses, or is full costs a run and never the service: it waits longer, up to the
interval or `WAIT_MAX_S`, and tries anew.
"""

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import StorageError
from daedalus.storage.sync import Direction, StorageSync
from daedalus.storage.sync_health import SyncHealth, write_health
from daedalus.storage.sync_report import SyncReport

log = structlog.get_logger(__name__)

WAIT_FIRST_S = 5.0
WAIT_MAX_S = 3600.0


class SyncService:
    """Runs a sync until told to stop.

    Parameters
    ----------
    sync, direction
        What to do at each interval.
    store
        The other store's URL, for the health file.
    health_path
        The file that tells how it goes; replaced in one step after each run.
    interval_s
        Seconds between the ends of two runs.
    stop
        Ends it, and the run at hand.
    before
        Called before each run.
    clock
        Stamps the health.
    """

    def __init__(
        self,
        sync: StorageSync,
        direction: Direction,
        *,
        store: str,
        health_path: Path,
        interval_s: float,
        stop: threading.Event,
        before: Callable[[], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._sync, self._direction = sync, direction
        self._before = before or (lambda: None)
        self._path, self._stop = health_path, stop
        self._clock = clock or SystemClock()
        self.health = SyncHealth(os.getpid(), store, interval_s)

    def run(self) -> None:
        """Go on until told to stop. Raises nothing that a store may cause."""
        while not self._stop.is_set():
            self._once()
            write_health(self._path, self.health)
            self._stop.wait(self._wait_s())

    def _once(self) -> None:
        health, health.error = self.health, None
        try:
            self._before()
            report = self._sync.run(self._direction)
        except StorageError as error:
            health.failed_runs += 1
            health.error = str(error)
            log.error("sync failed", error=str(error), failed_runs=health.failed_runs)
        else:
            self._take(report)
        health.last_run_at = self._clock.now_ns()

    def _take(self, report: SyncReport) -> None:
        health = self.health
        health.conflicts, health.failures = report.conflict_count, report.failure_count
        for tally, more in ((health.uploaded, report.uploaded), (health.deleted, report.deleted)):
            tally.files += more.files
            tally.bytes += more.bytes
        if report.is_clean:
            health.failed_runs, health.last_success_at = 0, self._clock.now_ns()
        elif not report.is_cut_short:
            health.failed_runs += 1
            health.error = (report.conflicts + report.failures)[0]
        log.info(
            "synced",
            uploaded=report.uploaded.files,
            bytes=report.uploaded.bytes,
            deleted=report.deleted.files,
            conflicts=report.conflict_count,
            failures=report.failure_count,
        )

    def _wait_s(self) -> float:
        if not self.health.failed_runs:
            return self.health.interval_s
        longest = min(self.health.interval_s, WAIT_MAX_S)
        wait = min(WAIT_FIRST_S * 2.0 ** min(self.health.failed_runs - 1, 20), longest)
        return wait * random.uniform(0.5, 1.0)
