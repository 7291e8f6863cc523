"""Sealing: one journal becomes segments, one file a partition, and is then removed.

Runs in a niced process of its own (`python -m daedalus.ingestion.writers.sealing JOURNAL BASE SOURCE TIER`), so that
encoding never holds up the recorder. It may be cut off at any instant: names derive from the journal and from row
numbers, finished files stay, a repeat writes the rest. Memory is bounded: the journal is read in as many passes as it
takes for the rows of a pass to fit into `PASS_BYTES_MAX`.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.grouping import Group, group_rows
from daedalus.ingestion.writers.journal import JournalReader
from daedalus.ingestion.writers.segment_file import SealedSegment, SegmentFiles
from daedalus.shared.errors import CorruptError, DaedalusError, StorageError
from daedalus.shared.events import Gap
from daedalus.storage.ledger import Ledger
from daedalus.storage.local import publish, sync_dir

PASS_BYTES_MAX = 32 << 20
#: Rows that the first reading looks at together.
PLAN_BYTES = 8 << 20
NICENESS = 10


class SealReport(msgspec.Struct):
    """What sealing one journal came to."""

    journal: str
    segments: list[SealedSegment]
    crashed: bool = False
    damage: str | None = None
    quarantined: str | None = None
    unledgered: str | None = None


@dataclass
class _Plan:
    """What the first reading learns: rows and bytes of each directory, the streams, the newest row."""

    bytes: dict[Group, float] = field(default_factory=dict)
    streams: set[tuple[str, str, str]] = field(default_factory=set)
    newest: int | None = None


def seal(journal: Path, paths: RawPaths) -> SealReport:
    """Turn a journal into segments and remove it. Safe to repeat, and by two processes at once.

    A journal that was not left in order adds a `crash` interval to the gap ledger for every stream it knew. One whose
    first frame is unreadable is moved to quarantine.
    """
    name = journal.name.removesuffix(journal.suffix)
    with _exclusive(journal) as present:
        if not present:
            return SealReport(name, [])
        try:
            reader = JournalReader(journal)
        except CorruptError as error:
            kept = paths.quarantine / journal.name
            publish(journal, kept)
            return SealReport(name, [], crashed=True, damage=str(error), quarantined=str(kept))
        report = _seal_rows(reader, paths.ready)
        report.unledgered = _enter(report, paths)
        journal.unlink()
        sync_dir(journal.parent)
        return report


def _enter(report: SealReport, paths: RawPaths) -> str | None:
    """Enter the segments in the lake's ledger. Its failure is no reason to keep the journal: it can be rebuilt."""
    try:
        with Ledger(paths.base) as ledger:
            ledger.record_sealed(paths.ready / segment.path for segment in report.segments)
    except StorageError as error:
        return str(error)
    return None


@contextmanager
def _exclusive(journal: Path) -> Iterator[bool]:
    """Hold the journal for this process; yield whether it is still there once it is ours."""
    try:
        fd = os.open(journal, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield journal.exists()
    finally:
        os.close(fd)


def _seal_rows(reader: JournalReader, ready: Path) -> SealReport:
    plan, partition_by = _plan(reader), reader.head.seal.partition_by
    crash = _crash_rows(reader, plan) if not reader.ended else None
    if crash is not None:
        _note(plan, "gaps", crash, partition_by)
    files = SegmentFiles(reader.head, ready, reader.path.parent)
    passes = _passes(plan.bytes)
    for groups in passes:
        for channel, batch in _with(reader, crash):
            rows = batch if len(passes) == 1 else _of_groups(channel, batch, groups, partition_by)
            if rows.num_rows:
                files.add(channel, rows)
        files.finish()
    return SealReport(reader.head.journal, files.sealed, crashed=not reader.ended, damage=reader.damage)


def _of_groups(
    channel: str, batch: pa.RecordBatch, groups: set[Group], partition_by: tuple[str, ...]
) -> pa.RecordBatch:
    grouping = group_rows(channel, batch, partition_by)
    wanted = np.array([group in groups for group in grouping.groups])
    return batch if wanted.all() else batch.filter(pa.array(wanted[grouping.codes]))


def _with(reader: JournalReader, extra: pa.RecordBatch | None) -> Iterator[tuple[str, pa.RecordBatch]]:
    yield from reader.frames()
    if extra is not None:
        yield "gaps", extra


def _plan(reader: JournalReader) -> _Plan:
    plan = _Plan(streams=set(reader.head.streams), newest=reader.head.last_collected_at)
    held: dict[str, list[pa.RecordBatch]] = {}
    size = 0
    for channel, batch in reader.frames():
        held.setdefault(channel, []).append(batch)
        size += batch.nbytes
        if size > PLAN_BYTES:
            _note_all(plan, held, reader.head.seal.partition_by)
            size = 0
    _note_all(plan, held, reader.head.seal.partition_by)
    return plan


def _note_all(plan: _Plan, held: dict[str, list[pa.RecordBatch]], partition_by: tuple[str, ...]) -> None:
    """Note many flushes at once: each alone has few rows of each of many markets."""
    for channel, batches in held.items():
        _note(plan, channel, pa.Table.from_batches(batches), partition_by)
    held.clear()


def _note(plan: _Plan, channel: str, rows: pa.Table, partition_by: tuple[str, ...]) -> None:
    grouping = group_rows(channel, rows, partition_by)
    row_bytes = rows.nbytes / rows.num_rows
    counts = np.bincount(grouping.codes, minlength=len(grouping.groups))
    for group, count in zip(grouping.groups, counts.tolist(), strict=True):
        plan.bytes[group] = plan.bytes.get(group, 0.0) + row_bytes * count
    if channel != "gaps":
        plan.streams.update((channel, exchange, symbol) for exchange, symbol in grouping.markets)
        newest = pc.max(rows["collected_at"]).as_py()
        plan.newest = newest if plan.newest is None else max(plan.newest, newest)


def _passes(sizes: dict[Group, float]) -> list[set[Group]]:
    """Share the groups out so that each pass stays under the bound; one over it alone has a pass to itself."""
    passes: list[set[Group]] = []
    room = 0.0
    for group in sorted(sizes):
        if not passes or sizes[group] > room:
            passes.append(set())
            room = PASS_BYTES_MAX
        passes[-1].add(group)
        room -= sizes[group]
    return passes


def _crash_rows(reader: JournalReader, plan: _Plan) -> pa.RecordBatch | None:
    """Return the ledger's rows for a journal that was cut off: open, each ends with the next row of its stream."""
    since = plan.newest if plan.newest is not None else reader.head.created_at
    detail = f"the recorder stopped without closing journal {reader.head.journal}"
    if reader.damage:
        detail += f"; {reader.damage}"
    gaps = [
        Gap(
            collected_at=since,
            exchange=exchange,
            symbol=symbol,
            channel=channel,
            started_at=since,
            ended_at=None,
            reason="crash",
            detail=detail,
        )
        for channel, exchange, symbol in sorted(plan.streams)
    ]
    return record_batches(sorted(gaps, key=lambda gap: (gap.exchange, gap.symbol)))[0][1] if gaps else None


def main() -> int:
    """Seal the journal named on the command line; print the report as JSON."""
    os.nice(NICENESS)
    name, base, source, tier = sys.argv[1:5]
    paths = RawPaths(Path(base), source, tier)
    journal = paths.active / name
    try:
        report = seal(journal, paths)
    except (OSError, DaedalusError, pa.ArrowException) as error:
        sys.stderr.write(f"{journal.name}: {error}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
