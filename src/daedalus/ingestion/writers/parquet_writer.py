"""`StreamingParquetWriter`: events to the journal, full journals to segments."""

import asyncio
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import structlog

import daedalus
from daedalus.ingestion.writers.base import RawPaths, Stream, WriterStats
from daedalus.ingestion.writers.columns import record_batches_of_all
from daedalus.ingestion.writers.journal import Head, JournalWriter, SealOptions, journal_id
from daedalus.ingestion.writers.recovery import journals_left_behind, take_lock
from daedalus.ingestion.writers.seal_queue import SealQueue
from daedalus.shared.clock import NS_PER_SECOND, Clock, SystemClock
from daedalus.shared.errors import ConfigError, StorageError
from daedalus.shared.events import Event
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS
from daedalus.shared.segment import RAW_TIER

log = structlog.get_logger(__name__)

_HOUR_NS = 3600 * NS_PER_SECOND


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
        Size of a segment, MiB; what is larger is split.
    journal_max_mb, max_unsealed_seconds
        Size and age at which a journal is sealed; it also is when its hour (UTC) ends.
    compression, compression_level
        Of the segments: one of `compressions`; a level counts for zstd and gzip.
    batch_size
        Events turned into columns at once, before other tasks get their turn.
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
        journal_max_mb: float = 64,
        max_unsealed_seconds: float = 3600,
        compression: str = "zstd",
        compression_level: int = 3,
        batch_size: int = 1000,
        tier_raw: str = RAW_TIER,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if compression not in self.compressions:
            raise ConfigError(f"compression {compression}: {self.format} takes {', '.join(self.compressions)}")
        self.paths = RawPaths(Path(base_dir), source, tier_raw)
        self.stats = WriterStats()
        self._batch_size = batch_size
        self._clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()
        self._journal_bytes_max, self._unsealed_ns = int(journal_max_mb * (1 << 20)), int(max_unsealed_seconds * 1e9)
        size = int(segment_max_mb * (1 << 20))
        self._seal_options = SealOptions(tuple(partition_by), size, compression, compression_level, self.format)
        self._events: list[Event] = []
        self._pending: dict[str, list[pa.RecordBatch]] = {}
        self._pending_bytes = 0
        self._acknowledged: dict[Stream, int] = {}
        self._journal: JournalWriter | None = None
        self._lock_fd = -1
        self._seal_queue = SealQueue(self.paths, self.stats)

    @property
    def acknowledged(self) -> dict[Stream, int]:
        """Return per stream the receive clock (ns) up to which its rows are on the device."""
        return dict(self._acknowledged)

    async def start(self) -> None:
        """Take the directory, begin a journal, and have what an earlier process left behind sealed.

        Raises
        ------
        StorageError
            If the directory cannot be written or another writer holds it.
        """
        self._lock_fd = take_lock(self.paths)
        left_behind = journals_left_behind(self.paths)
        try:
            self._journal = self._new_journal()
        except OSError as error:
            os.close(self._lock_fd)
            where, why = self.paths.active, error.strerror or error
            raise StorageError(f"cannot write into {where}: {why}. Make room, or mount the disk writable") from error
        self._seal_queue.start()
        for path in left_behind:
            log.warning("journal_left_behind", journal=path.name, action="sealing what it holds")
            self._seal_queue.put(path)

    async def write(self, events: Sequence[Event]) -> None:
        """Buffer events, as columns once there are `batch_size` of them. Durable after the next `flush`."""
        self._events += events
        while len(self._events) >= self._batch_size:
            self._convert(self._batch_size)
            await asyncio.sleep(0)

    def _convert(self, count: int) -> None:
        """Turn the oldest events into columns; a frame's few at a time would cost ten times as much."""
        events, self._events = self._events[:count], self._events[count:]
        for channel, batch in record_batches_of_all(events):
            self._pending.setdefault(channel, []).append(batch)
            self._pending_bytes += batch.nbytes
            self.stats.rows[channel] = self.stats.rows.get(channel, 0) + batch.num_rows

    @property
    def buffered_bytes(self) -> int:
        """Return how much memory the rows take that are not durable yet."""
        return self._pending_bytes

    async def flush(self) -> None:
        """Make the buffered rows durable, then begin a new journal if this one is full or its hour is over.

        Raises
        ------
        StorageError
            When the disk refuses. The rows stay buffered, and `flush` can be called again.
        """
        journal, now = self._open_journal(), self._clock.now_ns()
        if self._events:
            self._convert(len(self._events))
        hour = now - now % _HOUR_NS
        if journal.head.created_at < hour:
            # What still belongs to the hour that is over goes with it: one segment an hour and stream, not two.
            await self._append(journal, before=hour)
            journal = await self._rotate(journal)
        await self._append(journal)
        if self._is_due(journal, now):
            await self._rotate(journal)

    async def close(self) -> None:
        """Flush, end the journal and wait until everything is sealed. Idempotent."""
        if self._journal is None:
            return
        try:
            await self.flush()
            journal = self._open_journal()
            await asyncio.to_thread(journal.close)
            self._seal_queue.put(journal.path)
        finally:
            self._journal.close(ended=False)
            self._journal = None
            await self._seal_queue.close()
            os.close(self._lock_fd)

    def _is_due(self, journal: JournalWriter, now: int) -> bool:
        """Tell whether a journal is to be sealed before its hour is over. An empty one never is."""
        if journal.bytes_written >= self._journal_bytes_max:
            return True
        return now - journal.head.created_at >= self._unsealed_ns and not journal.is_empty

    def _open_journal(self) -> JournalWriter:
        if self._journal is None:
            raise StorageError("the writer is not started, or closed already")
        return self._journal

    async def _append(self, journal: JournalWriter, before: int | None = None) -> None:
        """Make what is buffered durable, or only what was received before a time (ns)."""
        if not self._pending:
            return
        try:
            await asyncio.to_thread(self._append_sorted, journal, before)
        except OSError as error:
            raise StorageError(f"cannot append to {journal.path}: {error.strerror or error}") from error
        self.stats.flushes += 1

    def _append_sorted(self, journal: JournalWriter, before: int | None) -> None:
        """Write one flush, each channel sorted by market; arrival order stays within a market."""
        taken: list[tuple[str, pa.RecordBatch]] = []
        kept: dict[str, list[pa.RecordBatch]] = {}
        for channel, batches in sorted(self._pending.items()):
            table = pa.Table.from_batches(batches)
            if before is not None:
                is_early = pc.less(table["collected_at"], before)
                kept[channel] = table.filter(pc.invert(is_early)).to_batches()
                table = table.filter(is_early)
            if table.num_rows:
                table = table.sort_by([("exchange", "ascending"), ("symbol", "ascending")])
                taken.append((channel, table.combine_chunks().to_batches()[0]))
        if taken:
            journal.append(taken)
        self.stats.journal_bytes = journal.bytes_written
        self._pending = {channel: batches for channel, batches in kept.items() if batches}
        self._pending_bytes = sum(batch.nbytes for batches in self._pending.values() for batch in batches)
        for channel, batch in taken:
            self._acknowledge(channel, batch)

    def _acknowledge(self, channel: str, batch: pa.RecordBatch) -> None:
        rows = pa.Table.from_batches([batch.select(["exchange", "symbol", "collected_at"])])
        markets = rows.group_by(["exchange", "symbol"]).aggregate([("collected_at", "max")])
        for market in markets.to_pylist():
            stream = (channel, market["exchange"], market["symbol"])
            self._acknowledged[stream] = max(market["collected_at_max"], self._acknowledged.get(stream, 0))

    def _new_journal(self) -> JournalWriter:
        now = self._clock.now_ns()
        head = Head(
            journal=journal_id(now, self._rng.getrandbits(32)),
            source=self.paths.source,
            created_at=now,
            writer_version=daedalus.__version__,
            seal=self._seal_options,
            streams=tuple(sorted(stream for stream in self._acknowledged if stream[0] != "gaps")),
            last_collected_at=max(self._acknowledged.values(), default=None),
        )
        return JournalWriter(self.paths.active, head)

    async def _rotate(self, old: JournalWriter) -> JournalWriter:
        """Begin the next journal before the old one is ended, so that a crash in between is still a crash."""
        try:
            new = self._journal = await asyncio.to_thread(self._new_journal)
        except OSError as error:
            raise StorageError(f"cannot begin a journal in {self.paths.active}: {error.strerror}") from error
        try:
            await asyncio.to_thread(old.close)
        except OSError as error:
            # Its rows are safe; without its end mark it counts as cut off, which the ledger then says too much of.
            log.error("journal_not_ended", journal=old.path.name, error=str(error))
        self._seal_queue.put(old.path)
        return new


class StreamingParquetWriter(JournaledWriter):
    """Writes events durably and seals them into Parquet segments: `JournaledWriter` says how."""

    format = "parquet"
    compressions = ("zstd", "gzip", "snappy", "none")
