"""One measurement in a process of its own: ``python -m benchmarks.bronze_run NAME FOLDER``; prints JSON."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import structlog

from benchmarks.measure import ChildPeak, Cost, LoopProbe, counted_syncs, forget_peak, memory_kib, write_bytes
from benchmarks.mix import mixed, streams
from benchmarks.peers.base import Peer
from benchmarks.peers.file_per_flush import FilePerFlushPeer
from benchmarks.peers.ndjson import NdjsonPeer
from benchmarks.peers.open_parquet import OpenParquetPeer
from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared.events import BookSnapshot, Event

EACH = 200_000
#: Slow peers are measured on fewer records of the same mix.
PEER_EACH = 20_000
FRAME_EVENTS = 10
STREAMS, ROWS_PER_FLUSH = 300, 5
JOURNAL_MB = 50
#: Rows of a flush of the journal to seal: what a busy recorder gathers in five seconds.
FLUSH_ROWS = 20_000
PEERS: dict[str, Callable[[Path], Peer]] = {
    "ndjson": NdjsonPeer,
    "open ParquetWriter": OpenParquetPeer,
    "Parquet per flush": FilePerFlushPeer,
}


class Feed:
    """A collector whose market is in memory: a few events a frame, then control to the loop as a socket would give it.

    Parameters
    ----------
    events, per_s
        What it sends, and how many a second; None: as fast as they are taken.
    """

    name = "feed"

    def __init__(self, events: Sequence[Event], per_s: float | None = None) -> None:
        self._events, self._per_s = events, per_s
        self.gaps = OpenGaps("bench")
        self.done = asyncio.Event()
        self.resyncs = 0

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        began = time.perf_counter()
        for start in range(0, len(self._events), FRAME_EVENTS):
            yield self._events[start : start + FRAME_EVENTS]
            late = 0.0 if self._per_s is None else began + start / self._per_s - time.perf_counter()
            await asyncio.sleep(max(0.0, late))
        self.done.set()
        await asyncio.Event().wait()

    def streams(self) -> Iterable[Stream]:
        return []

    def resync(self, symbols: Iterable[str]) -> None:
        self.resyncs += 1


class Timed(StreamingParquetWriter):
    """The writer, with a look at the clock between the last flush and sealing."""

    durable: dict[str, float]
    cost: Cost
    journals: int = 0

    async def close(self) -> None:
        await self.flush()
        if not hasattr(self, "durable"):
            self.durable = self.cost.stop()
            self.durable["peak_kib"] = memory_kib("VmHWM")
            self.journals = self.stats.journal_bytes
        await super().close()


async def pipeline(folder: Path, events: Sequence[Event], per_s: float | None, **options) -> dict[str, float]:
    """Events through queue, pipeline and writer; everything until the last row is durable, then sealing by itself."""
    feed = Feed(events, per_s)
    writer = Timed(base_dir=folder, source="bench", **options)
    line = IngestionPipeline(source="bench", collectors=[feed], writer=writer)
    stop = asyncio.Event()
    start_kib = forget_peak()
    writer.cost = Cost()
    async with LoopProbe() as probe:
        running = asyncio.create_task(line.run(stop))
        await feed.done.wait()
        stop.set()
        stats = await running
    rows = sum(stats.rows.values())
    return {
        **writer.durable,
        **probe.summary(),
        "rows": rows,
        "dropped": stats.dropped,
        "rss_mib": (writer.durable["peak_kib"] - start_kib) / 1024,
        "total_s": writer.cost.stop()["wall_s"],
        "children_s": writer.cost.stop()["children_s"],
        "segments": stats.segments,
        "disk_bytes": stats.segment_bytes,
    }


def ours(folder: Path) -> dict[str, float]:
    """The mix as fast as it goes."""
    return asyncio.run(pipeline(folder, list(mixed(EACH, EACH)), None))


def steady(folder: Path) -> dict[str, float]:
    """5,000 events/s while the journal that `fill` left is being sealed."""
    return asyncio.run(pipeline(folder, list(mixed(25_000, 25_000, seed=2)), 5000.0))


def fill(folder: Path) -> dict[str, float]:
    """Leave a journal of 50 MB behind, as a process that died would: the next start seals it."""

    async def run() -> dict[str, float]:
        writer = StreamingParquetWriter(base_dir=folder, source="bench", journal_max_mb=2 * JOURNAL_MB)
        await writer.start()
        rows, market = 0, mixed(10 * EACH, 10 * EACH)
        while writer.stats.journal_bytes < JOURNAL_MB << 20:
            events = list(islice(market, FLUSH_ROWS))
            await writer.write(events)
            await writer.flush()
            rows += len(events)
        _leave(writer)
        return {"rows": rows, "journal_bytes": writer.stats.journal_bytes}

    return asyncio.run(run())


def _leave(writer: StreamingParquetWriter) -> None:
    """Let go of a writer without sealing, but for the mark that its journal was ended in order."""
    writer._journal.close(ended=True)
    writer._seal_queue._task.cancel()
    os.close(writer._lock_fd)


def seal(folder: Path) -> dict[str, float]:
    """Sealing the journal that `fill` left, as the recorder has it done: by a niced process."""

    async def run() -> None:
        writer = StreamingParquetWriter(base_dir=folder, source="bench")
        await writer.start()
        await writer.close()

    with ChildPeak() as peak:
        cost = Cost()
        asyncio.run(run())
    files = list((folder / "raw" / "ready").rglob("*.parquet"))
    size = sum(path.stat().st_size for path in files)
    return {**cost.stop(), "child_peak_mib": peak.mib, "segments": len(files), "disk_bytes": size}


def minute(folder: Path) -> dict[str, float]:
    """One minute of 300 streams: twelve flushes."""

    async def run() -> dict[str, float]:
        writer = StreamingParquetWriter(base_dir=folder, source="bench")
        await writer.start()
        rows, seconds = 0, 0.0
        with counted_syncs() as syncs:
            before = write_bytes()
            for events in streams(STREAMS, ROWS_PER_FLUSH):
                began = time.perf_counter()
                await writer.write(events)
                await writer.flush()
                seconds += time.perf_counter() - began
                rows += len(events)
            written, count = write_bytes() - before, sum(syncs.values())
        journal = writer.stats.journal_bytes
        await writer.close()
        return {"rows": rows, "syncs": count, "written": written, "journal_bytes": journal, "seconds": seconds}

    return asyncio.run(run())


def sealing_syncs(folder: Path) -> dict[str, float]:
    """What sealing an hour of 300 streams syncs, counted in this process."""
    from daedalus.ingestion.writers import sealing
    from daedalus.ingestion.writers.base import RawPaths

    async def leave() -> Path:
        writer = StreamingParquetWriter(base_dir=folder, source="bench")
        await writer.start()
        for events in streams(STREAMS, ROWS_PER_FLUSH):
            await writer.write(events)
            await writer.flush()
        _leave(writer)
        return writer._journal.path

    path = asyncio.run(leave())
    before = write_bytes()
    with counted_syncs() as syncs:
        report = sealing.seal(path, RawPaths(folder, "bench"))
    return {"segments": len(report.segments), "syncs": sum(syncs.values()), "written": write_bytes() - before}


def peer(name: str, folder: Path) -> dict[str, float]:
    """A peer on the mix."""
    events = list(mixed(PEER_EACH, PEER_EACH))
    start_kib = forget_peak()
    cost, writer = Cost(), PEERS[name](folder)
    for start in range(0, len(events), 1000):
        writer.write(events[start : start + 1000])
    writer.close()
    result = {**cost.stop(), "rows": len(events), "rss_mib": (memory_kib("VmHWM") - start_kib) / 1024}
    sizes = {True: 0, False: 0}
    for path in folder.rglob("*"):
        if path.is_file():
            sizes["orderbook" in path.parts] += path.stat().st_size
    is_book = sum(isinstance(event, BookSnapshot) for event in events)
    return {**result, "book_bytes": sizes[True] / is_book, "trade_bytes": sizes[False] / (len(events) - is_book)}


def peer_minute(name: str, folder: Path) -> dict[str, float]:
    """A peer for one minute of 300 streams, every flush made durable where it can be."""
    writer, rows, seconds = PEERS[name](folder), 0, 0.0
    with counted_syncs() as syncs:
        before = write_bytes()
        for events in streams(STREAMS, ROWS_PER_FLUSH):
            began = time.perf_counter()
            writer.write(events)
            writer.sync()
            seconds += time.perf_counter() - began
            rows += len(events)
        written, count = write_bytes() - before, sum(syncs.values())
    writer.close()
    return {"rows": rows, "syncs": count, "written": written, "seconds": seconds}


RUNS: dict[str, Callable[[Path], dict[str, float]]] = {
    "ours": ours,
    "steady": steady,
    "fill": fill,
    "seal": seal,
    "minute": minute,
    "sealing syncs": sealing_syncs,
    **{name: lambda folder, name=name: peer(name, folder) for name in PEERS},
    **{f"{name}, minute": lambda folder, name=name: peer_minute(name, folder) for name in PEERS},
}


def main() -> None:
    """Run what the command line names."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    result = RUNS[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
