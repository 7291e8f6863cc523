"""Events that can be had again, into segments: through the recorder's journal and sealing, in parts that repeat.

A recorder's rows exist once, so its journals are named by time and chance. What is imported can be read again: parts
are cut by what is in them, and the id of a part's journal follows from the run's key and its number. So a run that is
killed at any instant and done again writes the same rows under the same names, and sealing passes over what is there.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pyarrow as pa
import structlog

import daedalus
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.journal import SUFFIX, Head, JournalWriter, SealOptions, journal_id
from daedalus.ingestion.writers.sealing import SealReport, seal
from daedalus.shared.errors import SchemaError, StorageError
from daedalus.shared.events import Event, channel_of, event_bytes, row_count
from daedalus.storage.local import TEMP_SUFFIX, make_dirs

log = structlog.get_logger(__name__)

#: Journals of parts stand apart from those of recorders, so that no recovery takes them for cut off.
FOLDER = "importing"
#: A part ends when its events take so much memory as they come; sealed, it takes a tenth or less.
PART_BYTES = 256 << 20
#: Events are written to the journal when they take so much.
FLUSH_BYTES = 16 << 20


class PartWriter:
    """Writes events in parts. Not thread-safe.

    Parameters
    ----------
    paths, seal_options
        Where, and how segments are made.
    nonce
        Of the run.
    sealed
        Parts that are sealed already: their events are passed over.
    on_sealed
        Called with the number of parts that are sealed.

    Attributes
    ----------
    rows
        By channel, those of sealed parts included.
    refused
        Events that no column takes.
    segments, segment_bytes
        Of the parts sealed by this writer.
    """

    def __init__(
        self,
        paths: RawPaths,
        seal_options: SealOptions,
        *,
        nonce: int,
        sealed: int,
        on_sealed: Callable[[int], None],
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.rows: dict[str, int] = {}
        self.refused = self.segments = self.segment_bytes = 0
        self._paths, self._options, self._nonce = paths, seal_options, nonce
        self._sealed, self._on_sealed, self._part_bytes = sealed, on_sealed, part_bytes
        self._folder = paths.active / FOLDER
        self._part, self._bytes, self._began_ns = 0, 0, 0
        self._held: list[Event] = []
        self._held_bytes = 0
        self._journal: JournalWriter | None = None
        self._sealing: tuple[int, Future[SealReport]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seal")
        make_dirs(self._folder)
        for left in [*self._folder.glob(f"*{SUFFIX}"), *self._folder.glob(f"*{TEMP_SUFFIX}")]:
            left.unlink()  # by a run that was killed: what they hold comes again

    def add(self, events: Sequence[Event]) -> None:
        """Take events in order. Parts end between two calls, so a run that is repeated has to make the same ones."""
        if not events:
            return
        if not self._began_ns:
            self._began_ns = events[0].collected_at
        size = sum(map(event_bytes, events))
        self._bytes += size
        for event in events:
            channel = channel_of(event)
            self.rows[channel] = self.rows.get(channel, 0) + row_count(event)
        if self._part >= self._sealed:
            self._held += events
            self._held_bytes += size
            if self._held_bytes >= FLUSH_BYTES:
                self._flush()
        if self._bytes >= self._part_bytes:
            self._end_part()

    def close(self) -> None:
        """Seal what is left and wait for it."""
        if self._bytes:
            self._end_part()
        self._wait()
        self._thread.shutdown()
        with suppress(OSError):
            self._folder.rmdir()

    def abort(self) -> None:
        """Stop as it is; what is not sealed comes again."""
        self._thread.shutdown(cancel_futures=True)
        if self._journal is not None:
            self._journal.close(ended=False)
            self._journal.path.unlink(missing_ok=True)

    def _flush(self) -> None:
        batches: dict[str, list[pa.RecordBatch]] = {}
        for channel, batch in self._converted():
            batches.setdefault(channel, []).append(batch)
        self._held, self._held_bytes = [], 0
        market = [("exchange", "ascending"), ("symbol", "ascending")]
        if not batches:
            return
        tables = [(c, pa.Table.from_batches(b).sort_by(market)) for c, b in sorted(batches.items())]
        try:
            if self._journal is None:
                self._journal = JournalWriter(self._folder, self._head())
            self._journal.append([(channel, table.combine_chunks().to_batches()[0]) for channel, table in tables])
        except OSError as error:
            why = error.strerror or error
            raise StorageError(f"cannot write into {self._folder}: {why}. Make room and run it again") from error

    def _converted(self) -> list[tuple[str, pa.RecordBatch]]:
        """Turn what is held into columns; an event that no column takes costs itself alone."""
        try:
            return record_batches(self._held)
        except SchemaError:
            converted = []
            for event in self._held:
                try:
                    converted += record_batches([event])
                except SchemaError as error:
                    self.refused += 1
                    log.error("event_unwritable", error=str(error))
            return converted

    def _head(self) -> Head:
        return Head(
            journal=journal_id(self._began_ns + self._part, self._nonce),
            source=self._paths.source,
            created_at=self._began_ns,
            writer_version=daedalus.__version__,
            seal=self._options,
        )

    def _end_part(self) -> None:
        if self._held:
            self._flush()
        if self._journal is not None:
            self._journal.close()
            self._wait()
            self._sealing = self._part, self._thread.submit(seal, self._journal.path, self._paths)
            self._journal = None
        self._part, self._bytes = self._part + 1, 0

    def _wait(self) -> None:
        """Wait for the part that is being sealed, and note it."""
        if self._sealing is None:
            return
        part, sealing = self._sealing
        try:
            report = sealing.result()
        except OSError as error:
            raise StorageError(f"{self._paths.ready}: {error.strerror or error}. Make room and run it again") from error
        self._sealing = None
        self._sealed = part + 1
        self.segments += len(report.segments)
        self.segment_bytes += sum(segment.bytes for segment in report.segments)
        if report.unledgered:
            log.warning("ledger_not_written", error=report.unledgered, action="`daedalus verify --rebuild-ledger`")
        self._on_sealed(self._sealed)
