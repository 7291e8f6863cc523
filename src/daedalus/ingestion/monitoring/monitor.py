"""`Monitor`: looks at the pipelines of a process, writes their status, and tells systemd that they live."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

import daedalus
from daedalus.ingestion.monitoring.notify import Notifier
from daedalus.ingestion.monitoring.status import (
    Clocks,
    Connection,
    Disk,
    Journal,
    Phase,
    Queue,
    Status,
    born,
    write_status,
)
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.orchestrators.stats import Stats
from daedalus.ingestion.writers.journal import SUFFIX
from daedalus.shared.clock import NS_PER_SECOND, Clock
from daedalus.shared.errors import StorageError
from daedalus.shared.events import channel_of_kind

log = structlog.get_logger(__name__)

#: How often it looks until all has started, seconds.
START_S = 0.2
#: Rates are means over so many seconds.
RATE_S = 60.0
#: Seconds between two looks at the disk and the ledger, which read all of the latter.
DISK_INTERVAL_S = 120.0


class Monitor:
    """The one that looks. Its statuses are what the file, the metrics and the health checks show.

    Parameters
    ----------
    pipelines
        By the folder of their journals, where their status goes.
    interval_s
        How often it looks.
    look_at_disk
        Tells how full the disk is; called in a thread.
    notifier
        systemd, or nobody.
    """

    def __init__(
        self,
        pipelines: Sequence[tuple[Path, IngestionPipeline]],
        *,
        interval_s: float,
        clock: Clock,
        look_at_disk: Callable[[], Disk],
        notifier: Notifier,
    ) -> None:
        self._clock, self._interval_s, self._notifier = clock, interval_s, notifier
        self._watched = [_Watched(folder, pipeline, interval_s, clock) for folder, pipeline in pipelines]
        self._look_at_disk = look_at_disk
        self._disk: Disk | None = None
        self._disk_due = 0.0
        self._is_ready = False

    def statuses(self) -> list[Status]:
        """Return the statuses as they are now."""
        return [watched.status(self._disk) for watched in self._watched]

    async def run(self, stop: asyncio.Event) -> None:
        """Look until cancelled; from `stop` on, the pipelines are said to be stopping."""
        while True:
            if stop.is_set():
                self._begin_end()
            try:
                await self._look()
            except Exception:
                # Whoever only looks must not be what ends a recording; without signs of life systemd will.
                log.exception("monitor_failed")
            pause = self._interval_s if self._is_ready else min(START_S, self._interval_s)
            # It wakes once for the stop, and keeps looking while the last journals are sealed. Not `wait_for`, which
            # swallows a cancellation that comes together with the stop.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await (asyncio.Event() if stop.is_set() else stop).wait()

    async def close(self) -> None:
        """Write that it is over."""
        for watched in self._watched:
            watched.phase = "stopped"
        await self._write()

    def _begin_end(self) -> None:
        if any(watched.phase != "stopping" for watched in self._watched):
            self._notifier.stopping()
        for watched in self._watched:
            watched.phase = "stopping"

    async def _look(self) -> None:
        if self._clock.monotonic() >= self._disk_due:
            self._disk_due = self._clock.monotonic() + DISK_INTERVAL_S
            try:
                self._disk = await asyncio.to_thread(self._look_at_disk)
            except (StorageError, OSError) as error:
                log.warning("disk_not_measured", error=str(error))
        await self._write()
        now = self.statuses()
        if not self._is_ready and all(status.phase != "starting" for status in now):
            self._is_ready = True
            self._notifier.ready()
        # A writer that hangs is silent here, so that systemd ends the process and starts another.
        if not any(status.hangs for status in now):
            self._notifier.alive(_line(now))

    async def _write(self) -> None:
        for watched in self._watched:
            # The folder is there once the writer holds its lock; before, it may be another recorder's.
            if watched.has_begun:
                try:
                    await asyncio.to_thread(write_status, watched.folder, watched.status(self._disk))
                except StorageError as error:
                    log.warning("status_not_written", error=str(error))


class _Watched:
    """One pipeline, with what is remembered of it between two looks."""

    def __init__(self, folder: Path, pipeline: IngestionPipeline, interval_s: float, clock: Clock) -> None:
        self.folder, self._pipeline, self._interval_s, self._clock = folder, pipeline, interval_s, clock
        self.phase: Phase = "starting"
        self._began, self._born = clock.monotonic(), born(os.getpid())
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    @property
    def has_begun(self) -> bool:
        """Whether the writer holds its folder."""
        return self._pipeline.stats.beat > 0

    def status(self, disk: Disk | None) -> Status:
        """Return the pipeline's status as it is now."""
        stats, bounds, now = self._pipeline.refresh(), self._pipeline.queue_bounds, self._clock.now_ns()
        if self.phase == "starting" and self.has_begun:
            self.phase = "recording"
        return Status(
            version=daedalus.__version__,
            source=self._pipeline.source,
            pid=os.getpid(),
            pid_born=self._born,
            phase=self.phase,
            # By the steady clock: a Pi starts without the time and is told it later.
            started_at=now - int((self._clock.monotonic() - self._began) * 1000) * (NS_PER_SECOND // 1000),
            written_at=now,
            interval_s=self._interval_s,
            rows=stats.rows,
            rows_per_second=self._rates(stats),
            heard={f"{exchange}/{channel_of_kind(kind)}": at for (exchange, kind), at in stats.heard.items()},
            connections=[Connection(c.name, c.exchange, c.is_up, c.streams) for c in stats.connections],
            disconnects=stats.disconnects,
            queue=Queue(stats.queue, stats.queue_bytes, stats.queue_high, *bounds, stats.dropped),
            journal=self._journal(stats),
            segments=stats.segments,
            segment_bytes=stats.segment_bytes,
            gaps=dict(stats.gaps),
            open_gaps=stats.open_gaps,
            clocks={n: Clocks(c.offset_ms, c.latency_ms_p50, c.latency_ms_p99) for n, c in stats.clocks.items()},
            disk=disk,
            beat_age_s=self._clock.monotonic() - stats.beat if self.has_begun else 0.0,
            memory_bytes=memory_bytes(),
            cpu_seconds=time.process_time(),
        )

    def _rates(self, stats: Stats) -> dict[str, float]:
        now = self._clock.monotonic()
        if not self._seen or now - self._seen[-1][0] >= self._interval_s / 2:
            self._seen.append((now, dict(stats.rows)))
        while len(self._seen) > 1 and now - self._seen[1][0] >= RATE_S:
            self._seen.popleft()
        then, before = self._seen[0]
        seconds = now - then
        return {c: round((n - before.get(c, 0)) / seconds, 2) if seconds else 0.0 for c, n in stats.rows.items()}

    def _journal(self, stats: Stats) -> Journal:
        journals = sum(1 for _ in self.folder.glob(f"*{SUFFIX}")) if self.has_begun else 0
        # While it records, one of them is in use.
        waiting = max(0, journals - (self.phase == "recording"))
        return Journal(stats.journal_bytes, stats.flushes, stats.last_flush_ns or None, waiting, stats.is_disk_full)


def memory_bytes() -> int | None:
    """Return the resident memory of this process, None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _line(statuses: Sequence[Status]) -> str:
    parts = []
    for status in statuses:
        faults = "; ".join(status.faults()) or "all connections deliver"
        parts.append(f"{status.source}: {sum(status.rows_per_second.values()):,.1f} rows/s, {faults}")
    return " | ".join(parts)
