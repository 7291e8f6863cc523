"""`StreamingParquetWriter`: events to the journal, full journals to segments."""

import asyncio
import fcntl
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pyarrow as pa
import structlog

import daedalus
from daedalus.ingestion.writers.base import WriterStats
from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.journal import SUFFIX, Head, JournalWriter, SealOptions, journal_id
from daedalus.ingestion.writers.sealing import SealReport
from daedalus.shared.clock import NS_PER_SECOND, Clock, SystemClock
from daedalus.shared.errors import ConfigError, StorageError
from daedalus.shared.events import Event
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS
from daedalus.shared.segment import RAW_TIER
from daedalus.storage.local import make_dirs

log = structlog.get_logger(__name__)

_HOUR_NS = 3600 * NS_PER_SECOND
#: How often sealing one journal is tried within one run; it is tried again at the next start.
SEAL_ATTEMPTS = 3


class JournaledWriter:
    """Writes events durably and seals them into segments. Writers of it differ only in how a segment is encoded.

    Parameters
    ----------
    base_dir
        The lake's directory. Rows go to ``{tier_raw}/active/{source}``, then sealed to ``{tier_raw}/ready/{source}``.
    source
        The recorder's name, such as ``coinbase``. One writer at a time per source, over all processes.
    partition_by
        Columns of the directory layout, in order.
    segment_max_mb
        Size at which a journal is sealed, and of a segment, in MiB.
    compression, compression_level
        Of the segments: one of `compressions`; a level counts for zstd and gzip.
    batch_size
        Events turned into columns before other tasks get their turn.
    clock, rng
        The time and the randomness of journal ids.

    Raises
    ------
    ConfigError
        If the format knows no such compression.
    """

    #: A key of `segment_file.ENCODERS`, and what it can compress with.
    format: ClassVar[str]
    compressions: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *,
        base_dir: Path | str,
        source: str,
        partition_by: Sequence[str] = tuple(DEFAULT_PARTITION_COLUMNS),
        segment_max_mb: float = 50,
        compression: str = "zstd",
        compression_level: int = 3,
        batch_size: int = 1000,
        tier_raw: str = RAW_TIER,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if compression not in self.compressions:
            raise ConfigError(f"compression {compression}: {self.format} takes {', '.join(self.compressions)}")
        root = Path(base_dir) / tier_raw
        self.active, self.ready, self._quarantine = (root / n / source for n in ("active", "ready", "quarantine"))
        self.source = source
        self.stats = WriterStats()
        self._batch_size = batch_size
        self._clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()
        size = int(segment_max_mb * (1 << 20))
        self._seal_options = SealOptions(tuple(partition_by), size, compression, compression_level, self.format)
        self._pending: dict[str, list[pa.RecordBatch]] = {}
        self._streams: set[tuple[str, str, str]] = set()
        self._newest: int | None = None
        self._journal: JournalWriter | None = None
        self._lock_fd = -1
        self._seal_queue: asyncio.Queue[Path | None] = asyncio.Queue()
        self._sealer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the directory, begin a journal, and have what an earlier process left behind sealed.

        Raises
        ------
        StorageError
            If the directory cannot be written or another writer holds it.
        """
        for folder in (self.active, self.ready):
            make_dirs(folder)
        self._lock_fd = _lock(self.active / "writer.lock")
        left_behind = sorted(self.active.glob(f"*{SUFFIX}"))
        try:
            self._journal = self._new_journal()
        except OSError as error:
            raise StorageError(f"cannot write into {self.active}: {error.strerror}. Free or mount the disk") from error
        self._sealer = asyncio.create_task(self._seal_all(), name=f"seal-{self.source}")
        for path in left_behind:
            log.warning("journal_left_behind", journal=path.name, action="sealing what it holds")
            self._seal_queue.put_nowait(path)

    async def write(self, events: Sequence[Event]) -> None:
        """Buffer events as columns, all of them or none. Durable after the next `flush`."""
        converted = []
        for start in range(0, len(events), self._batch_size):
            converted += record_batches(events[start : start + self._batch_size])
            await asyncio.sleep(0)
        for channel, batch in converted:
            self._pending.setdefault(channel, []).append(batch)
            self.stats.rows[channel] = self.stats.rows.get(channel, 0) + batch.num_rows

    async def flush(self) -> None:
        """Make the buffered rows durable, then begin a new journal if this one is full or its hour is over.

        Raises
        ------
        StorageError
            When the disk refuses. The rows stay buffered, and `flush` can be called again.
        """
        journal = self._open_journal()
        if self._pending:
            try:
                await asyncio.to_thread(self._append, journal)
            except OSError as error:
                raise StorageError(f"cannot append to {journal.path}: {error.strerror or error}") from error
            self.stats.flushes += 1
        full = journal.bytes_written >= self._seal_options.segment_bytes_max
        if full or self._clock.now_ns() // _HOUR_NS != journal.head.created_at // _HOUR_NS:
            await self._rotate(journal)

    async def close(self) -> None:
        """Flush, end the journal and wait until everything is sealed. Idempotent."""
        if self._journal is None:
            return
        try:
            await self.flush()
            journal = self._open_journal()
            await asyncio.to_thread(journal.close)
            self._seal_queue.put_nowait(journal.path)
        finally:
            self._journal.close(ended=False)
            self._journal = None
            self._seal_queue.put_nowait(None)
            if self._sealer:
                await self._sealer
            os.close(self._lock_fd)

    def _open_journal(self) -> JournalWriter:
        if self._journal is None:
            raise StorageError("the writer is not started, or closed already")
        return self._journal

    def _append(self, journal: JournalWriter) -> None:
        """Write what is buffered as one flush, each channel sorted by market; arrival order stays within a market."""
        sorted_batches = []
        for channel, batches in sorted(self._pending.items()):
            table = pa.Table.from_batches(batches).sort_by([("exchange", "ascending"), ("symbol", "ascending")])
            sorted_batches.append((channel, table.combine_chunks().to_batches()[0]))
        journal.append(sorted_batches)
        self.stats.journal_bytes = journal.bytes_written
        self._pending.clear()
        for channel, batch in sorted_batches:
            self._note_streams(channel, batch)

    def _note_streams(self, channel: str, batch: pa.RecordBatch) -> None:
        if channel == "gaps":
            return
        names = batch.select(["exchange", "symbol"])
        markets = pa.Table.from_batches([names]).group_by(["exchange", "symbol"]).aggregate([])
        for market in markets.to_pylist():
            self._streams.add((channel, market["exchange"], market["symbol"]))
        newest = max(batch["collected_at"].to_numpy())
        self._newest = int(newest) if self._newest is None else max(self._newest, int(newest))

    def _new_journal(self) -> JournalWriter:
        now = self._clock.now_ns()
        head = Head(
            journal=journal_id(now, self._rng.getrandbits(32)),
            source=self.source,
            created_at=now,
            writer_version=daedalus.__version__,
            seal=self._seal_options,
            streams=tuple(sorted(self._streams)),
            last_collected_at=self._newest,
        )
        return JournalWriter(self.active, head)

    async def _rotate(self, old: JournalWriter) -> None:
        """Begin the next journal before the old one is ended, so that a crash in between is still a crash."""
        try:
            self._journal = await asyncio.to_thread(self._new_journal)
        except OSError as error:
            raise StorageError(f"cannot begin a journal in {self.active}: {error.strerror}") from error
        await asyncio.to_thread(old.close)
        self._seal_queue.put_nowait(old.path)

    async def _seal_all(self) -> None:
        """Seal journals one after another, each in a process of its own."""
        while (path := await self._seal_queue.get()) is not None:
            for _ in range(SEAL_ATTEMPTS):
                if await self._seal(path):
                    break
            else:
                log.error("sealing_failed", journal=path.name, action="kept; tried again at the next start")

    async def _seal(self, path: Path) -> bool:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "daedalus.ingestion.writers.sealing", str(path), str(self.ready), str(self._quarantine)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in the terminal must not cut sealing off: the recorder ends it in order.
            start_new_session=True,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            log.error("sealing_error", journal=path.name, error=err.decode(errors="replace").strip()[-500:])
            return False
        report = msgspec.json.decode(out, type=SealReport)
        self.stats.segments += len(report.segments)
        self.stats.segment_bytes += sum(segment.bytes for segment in report.segments)
        if report.quarantined:
            log.error("journal_unreadable", kept=report.quarantined, damage=report.damage)
        elif report.crashed:
            log.warning("journal_recovered", journal=path.name, segments=len(report.segments), damage=report.damage)
        return True


class StreamingParquetWriter(JournaledWriter):
    """Writes events durably and seals them into Parquet segments: `JournaledWriter` says how."""

    format = "parquet"
    compressions = ("zstd", "gzip", "snappy", "none")


def _lock(path: Path) -> int:
    """Take the lock of a directory; the system lets go of it when the process dies, however it dies."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise StorageError(
            f"another recorder (process {holder}) writes into {path.parent}: stop it or choose another storage.base_dir"
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd
