"""Sealing in the background: one process at a time, tried again until it works."""

import asyncio
import sys
from pathlib import Path

import msgspec
import structlog

from daedalus.ingestion.writers.base import RawPaths, WriterStats
from daedalus.ingestion.writers.sealing import SealReport

log = structlog.get_logger(__name__)

#: Wait before sealing a journal again after a failure (a full disk), seconds: the first time, and at the most.
RETRY_S, RETRY_MAX_S = 5.0, 300.0
#: How long closing waits for the last journals; what is not sealed by then is sealed at the next start.
CLOSE_S = 600.0


class SealQueue:
    """Journals that wait to become segments. Their number is bounded by the disk alone: each is a file.

    Parameters
    ----------
    paths
        Of the recorder.
    stats
        Where sealed segments are counted.
    """

    def __init__(self, paths: RawPaths, stats: WriterStats) -> None:
        self._paths, self._stats = paths, stats
        self._queue: asyncio.Queue[Path | None] = asyncio.Queue()
        self._failures: dict[Path, int] = {}
        self._later: dict[Path, asyncio.TimerHandle] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._run(), name=f"seal-{self._paths.source}")

    def put(self, journal: Path) -> None:
        """Have a journal sealed after those that came before."""
        self._queue.put_nowait(journal)

    async def close(self) -> None:
        """Try what failed once more, finish, and stop. What cannot be sealed stays for the next start."""
        for journal, timer in self._later.items():
            timer.cancel()
            self._queue.put_nowait(journal)
        self._queue.put_nowait(None)
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._task, CLOSE_S)
        except TimeoutError:
            log.error("sealing_unfinished", action="left for the next start, or for `daedalus recover`")
        for timer in self._later.values():
            timer.cancel()

    async def _run(self) -> None:
        while (journal := await self._queue.get()) is not None:
            self._later.pop(journal, None)
            if await self._seal(journal):
                self._failures.pop(journal, None)
                continue
            count = self._failures[journal] = self._failures.get(journal, 0) + 1
            delay = min(RETRY_MAX_S, RETRY_S * 2 ** (count - 1))
            self._later[journal] = asyncio.get_running_loop().call_later(delay, self._queue.put_nowait, journal)
            log.error("sealing_failed", journal=journal.name, kept=True, retry_in_seconds=delay)

    async def _seal(self, journal: Path) -> bool:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daedalus.ingestion.writers.sealing", journal.name, *self._paths.arguments()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in the terminal must not cut sealing off: the recorder ends it in order.
            start_new_session=True,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            log.error("sealing_error", journal=journal.name, error=err.decode(errors="replace").strip()[-500:])
            return False
        self._note(journal, msgspec.json.decode(out, type=SealReport))
        return True

    def _note(self, journal: Path, report: SealReport) -> None:
        self._stats.segments += len(report.segments)
        self._stats.segment_bytes += sum(segment.bytes for segment in report.segments)
        if report.quarantined:
            log.error("journal_unreadable", kept=report.quarantined, damage=report.damage)
        elif report.crashed:
            log.warning("journal_recovered", journal=journal.name, segments=len(report.segments), damage=report.damage)
        if report.unledgered:
            log.warning("ledger_not_written", error=report.unledgered, action="`daedalus verify --rebuild-ledger`")
