"""`IngestionPipeline`: collectors, queue, writer. The only place that decides to try again."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from daedalus.ingestion.collectors.base import Collector
from daedalus.ingestion.collectors.pace import Backoff
from daedalus.ingestion.orchestrators.clocks import ClockWarnings, clock_figures, clock_readings
from daedalus.ingestion.orchestrators.event_queue import EventQueue
from daedalus.ingestion.orchestrators.memory import give_back
from daedalus.ingestion.orchestrators.stats import ConnectionStats, Stats
from daedalus.ingestion.writers.base import Writer
from daedalus.shared.clock import NS_PER_SECOND, Clock, SystemClock
from daedalus.shared.errors import RefusedError, StorageError, TransientCollectorError
from daedalus.shared.events import Event, Gap
from daedalus.shared.tasks import end_tasks

log = structlog.get_logger(__name__)

#: A connection that lived this long starts the backoff over when it ends.
HEALTHY_S = 30.0
#: Wait after the disk refused a flush.
DISK_RETRY_S = 1.0
#: Rows that are flushed before the interval is over, so that a burst does not fill the memory.
FLUSH_BYTES = 8 << 20
#: Seconds between two looks at the disk budget and at memory.
ROOM_INTERVAL_S = 60.0


@dataclass
class _Life:
    """One collector's connections: receive clock of the last event taken, and since when the present one delivers."""

    last_ns: int
    began: float | None = None
    is_up: bool = False

    def hear(self, events: Sequence[Event]) -> None:
        """Take note of events: rows of the ledger may be older than what came before them, and tell of nothing new."""
        heard = next((event for event in reversed(events) if not isinstance(event, Gap)), None)
        if heard is not None:
            self.last_ns = heard.collected_at

    def seconds(self, clock: Clock) -> float:
        """Return how long the present connection has delivered: connecting and waiting do not count."""
        return 0.0 if self.began is None else clock.monotonic() - self.began


class IngestionPipeline:
    """Runs collectors into one writer until it is told to stop.

    Parameters
    ----------
    source
        The recorder's name, for logs.
    collectors
        One per connection.
    writer
        Where events go.
    queue_maxsize, queue_max_mb, queue_put_timeout_seconds
        Bounds of the queue, and how long a collector waits for room before the newest events are dropped.
    batch_size
        Events taken from the queue at once.
    flush_interval_seconds
        How often rows are made durable: what a power cut can cost.
    stats_interval_seconds
        How often `on_stats` is called and logged.
    reconnect_delay_seconds, reconnect_delay_max_seconds
        First and longest wait before connecting again.
    on_stats
        Called with the statistics.
    make_room
        Keeps the lake within its disk budget; called in a thread every `ROOM_INTERVAL_S`, and when the disk refuses.
    """

    def __init__(
        self,
        *,
        source: str,
        collectors: Sequence[Collector],
        writer: Writer,
        queue_maxsize: int = 50_000,
        queue_max_mb: float = 256,
        queue_put_timeout_seconds: float = 5.0,
        batch_size: int = 1000,
        flush_interval_seconds: float = 5.0,
        stats_interval_seconds: float = 60.0,
        reconnect_delay_seconds: float = 1.0,
        reconnect_delay_max_seconds: float = 60.0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        on_stats: Callable[[Stats], None] | None = None,
        make_room: Callable[[], None] | None = None,
    ) -> None:
        self.source = source
        self._collectors, self._writer = list(collectors), writer
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._queue = EventQueue(
            maxsize=queue_maxsize,
            max_bytes=int(queue_max_mb * (1 << 20)),
            put_timeout_s=queue_put_timeout_seconds,
            clock=self._clock,
        )
        self._batch_size, self._flush_s, self._stats_s = batch_size, flush_interval_seconds, stats_interval_seconds
        self._delays = (reconnect_delay_seconds, reconnect_delay_max_seconds)
        self._on_stats, self._make_room = on_stats, make_room
        self._draining = asyncio.Event()
        self._lives: dict[int, _Life] = {}
        self._open_gaps: set[tuple[str, str, int]] = set()
        self.stats = Stats(self._clock.monotonic())

    async def run(self, stop: asyncio.Event) -> Stats:
        """Record until `stop` is set; then close everything in order: connections, queue, journal, segments.

        Raises
        ------
        RefusedError
            When every connection was refused for good. What was recorded is sealed first.
        StorageError
            When the directory cannot be used at the start, or the disk refuses for good at the end.
        """
        await self._writer.start()
        self._lives = {id(collector): _Life(self._clock.now_ns()) for collector in self._collectors}
        writing = asyncio.create_task(self._write_all(), name="writer")
        reporting = asyncio.create_task(self._report(), name="stats")
        tidying = asyncio.create_task(self._keep_room(), name="retention")
        following = [asyncio.create_task(self._follow(c), name=c.name) for c in self._collectors]
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            refused = await self._until_stopped(stopping, following, writing)
        finally:
            await end_tasks(tasks := [stopping, reporting, tidying, *following])
            for task in tasks:
                with suppress(asyncio.CancelledError, RefusedError):
                    task.result()
            await self._queue.put(self._shutdown_gaps())
            self._draining.set()
            await writing
            await self._writer.close()
            self.refresh()
        if refused is not None:
            raise refused
        return self.stats

    async def _until_stopped(
        self, stopping: "asyncio.Task[bool]", following: list["asyncio.Task[None]"], writing: "asyncio.Task[None]"
    ) -> RefusedError | None:
        """Wait for the signal to stop; return the refusal if no connection is left."""
        alive: set[asyncio.Task[None]] = set(following)
        refused: RefusedError | None = None
        while alive:
            done, _ = await asyncio.wait({stopping, writing, *alive}, return_when=asyncio.FIRST_COMPLETED)
            if stopping in done:
                return None
            if writing in done:
                writing.result()
            for task in alive & done:
                try:
                    task.result()
                except RefusedError as error:
                    refused = error
                    log.error("connection_refused", collector=task.get_name(), error=str(error))
            alive -= done
        return refused

    # -- collectors ---------------------------------------------------------------------------------------------------

    async def _follow(self, collector: Collector) -> None:
        """Keep one connection up for as long as the process lives."""
        backoff, life = Backoff(*self._delays, self._rng), self._lives[id(collector)]
        while True:
            error = await self._live(collector, life)
            self.stats.disconnects += 1
            now, streams, detail = self._clock.now_ns(), list(collector.streams()), str(error)
            collector.gaps.note(streams, detail)
            rows = collector.gaps.open(streams, since=life.last_ns, now=now, reason=error.reason, detail=detail)
            await self._take(collector, rows)
            if life.seconds(self._clock) > HEALTHY_S:
                backoff.reset()
            delay = max(backoff.next(), error.retry_after or 0.0)
            log.warning("disconnected", collector=collector.name, error=detail, retry_in_seconds=round(delay, 2))
            await self._clock.sleep(delay)

    async def _live(self, collector: Collector, life: "_Life") -> TransientCollectorError:
        """Take a connection's events until it ends; return why it did. Raises `RefusedError` when it ended for good."""
        life.began = None
        stream = collector.events()
        try:
            async for events in stream:
                if life.began is None:
                    life.began, life.is_up = self._clock.monotonic(), True
                await self._take(collector, events)
                life.hear(events)
        except TransientCollectorError as error:
            return error
        except RefusedError:
            raise
        except Exception as unexpected:
            log.exception("collector_failed", collector=collector.name)
            return TransientCollectorError(f"{type(unexpected).__name__}: {unexpected}")
        finally:
            life.is_up = False
            # Not left to the collection of garbage: the socket has to be closed before there is another.
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()
        return TransientCollectorError("the collector ended")

    async def _take(self, collector: Collector, events: Sequence[Event]) -> None:
        heard = self.stats.heard
        for event in events:
            if isinstance(event, Gap):
                self._count_gap(event)
            else:
                heard[event.exchange, type(event)] = event.collected_at
        dropped = await self._queue.put(events)
        if dropped:
            collector.resync(dropped)
        self.stats.queue_high = max(self.stats.queue_high, len(self._queue))

    def _count_gap(self, gap: Gap) -> None:
        """Count each gap once: an open row and its end are one."""
        key = (gap.symbol, gap.channel, gap.started_at)
        if gap.ended_at is None:
            self._open_gaps.add(key)
        elif key in self._open_gaps:
            self._open_gaps.remove(key)
            return
        self.stats.gaps[gap.reason] = self.stats.gaps.get(gap.reason, 0) + 1

    def _shutdown_gaps(self) -> list[Event]:
        now = self._clock.now_ns()
        rows: list[Event] = []
        for collector in self._collectors:
            if (undelivered := getattr(collector, "undelivered", None)) is not None and (left := undelivered()):
                rows += left
                self._lives[id(collector)].hear(left)
            since = self._lives[id(collector)].last_ns
            rows += collector.gaps.open(
                collector.streams(), since=since, now=now, reason="shutdown", detail="the recorder was stopped"
            )
        return rows

    # -- writer -------------------------------------------------------------------------------------------------------

    async def _write_all(self) -> None:
        """Move events from the queue to the writer; flush at the interval, also when nothing came (hours end)."""
        due = self._clock.monotonic() + self._flush_s
        while True:
            ending, self.stats.beat = self._draining.is_set(), self._clock.monotonic()
            wait = 0.0 if ending else max(0.0, min(due - self._clock.monotonic(), 0.5))
            events = await self._queue.get(self._batch_size, wait)
            if events:
                self.stats.last_event_ns = events[-1].collected_at
                await self._writer.write(events)
            if self._clock.monotonic() >= due or self._writer.buffered_bytes > FLUSH_BYTES:
                await self._retry(self._writer.flush)
                self.stats.last_flush_ns = self._clock.now_ns()
                due = self._clock.monotonic() + self._flush_s
            if ending and not events:
                return

    async def _retry(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do it again until the disk takes it; meanwhile events wait in the bounded queue."""
        while True:
            self.stats.beat = self._clock.monotonic()
            try:
                await action()
                self._queue.is_disk_full = False
                return
            except StorageError as error:
                log.error("disk_refused", error=str(error), waiting=len(self._queue), retry_in_seconds=DISK_RETRY_S)
                if self._draining.is_set():
                    raise
                self._queue.is_disk_full = True
                await self._tidy()
                await self._clock.sleep(DISK_RETRY_S)

    async def _keep_room(self) -> None:
        while True:
            await self._tidy()
            await asyncio.to_thread(give_back)
            await self._clock.sleep(ROOM_INTERVAL_S)

    async def _tidy(self) -> None:
        if self._make_room is None:
            return
        try:
            await asyncio.to_thread(self._make_room)
        except StorageError as error:
            log.error("retention_failed", error=str(error))

    # -- statistics ---------------------------------------------------------------------------------------------------

    @property
    def queue_bounds(self) -> tuple[int, int]:
        """Return how many events and how many bytes may wait."""
        return self._queue.bounds

    def refresh(self) -> Stats:
        """Return the statistics as they are now."""
        stats, writer = self.stats, self._writer.stats
        stats.rows = dict(writer.rows)
        stats.queue, stats.queue_bytes, stats.dropped = len(self._queue), self._queue.nbytes, self._queue.dropped
        stats.flushes, stats.journal_bytes = writer.flushes, writer.journal_bytes
        stats.segments, stats.segment_bytes = writer.segments, writer.segment_bytes
        stats.clocks = clock_readings(self._collectors)
        stats.open_gaps, stats.is_disk_full = len(self._open_gaps), self._queue.is_disk_full
        if self._lives:
            stats.connections = [
                ConnectionStats(c.name, c.exchange, self._lives[id(c)].is_up, len(list(c.streams())))
                for c in self._collectors
            ]
        return stats

    async def _report(self) -> None:
        before: dict[str, int] = {}
        warnings = ClockWarnings()
        while True:
            await self._clock.sleep(self._stats_s)
            stats = self.refresh()
            warnings.look(stats.clocks)
            rates = {c: round((n - before.get(c, 0)) / self._stats_s, 1) for c, n in stats.rows.items()}
            before = dict(stats.rows)
            age = (self._clock.now_ns() - stats.last_event_ns) / NS_PER_SECOND if stats.last_event_ns else None
            log.info(
                "statistics",
                source=self.source,
                rows_per_second=rates,
                queue=stats.queue,
                queue_mb=round(stats.queue_bytes / 1e6, 2),
                gaps=stats.gaps,
                dropped=stats.dropped,
                journal_mb=round(stats.journal_bytes / 1e6, 2),
                segments=stats.segments,
                segment_mb=round(stats.segment_bytes / 1e6, 2),
                last_event_age_s=None if age is None else round(age, 2),
                **clock_figures(stats.clocks),
            )
            if self._on_stats:
                self._on_stats(stats)
