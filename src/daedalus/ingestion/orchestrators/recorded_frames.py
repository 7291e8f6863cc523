"""Recorded frames and what the ledger says of them, read back from a lake in the order in which they came."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daedalus.shared.clock import utc
from daedalus.shared.errors import CorruptError, NotFoundError
from daedalus.shared.events import Gap
from daedalus.shared.segment import SegmentFooter

#: Frames read at once: a full book takes 5 MB.
BATCH = 256
_GAP_COLUMNS = list(Gap.__struct_fields__)


class FrameRow(msgspec.Struct, frozen=True, gc=False):
    """One recorded frame."""

    collected_at: int
    exchange: str
    connection_id: str
    is_sent: bool
    text: str


class ConnectionSpan(NamedTuple):
    """From when to when a connection has frames: receive clocks of the first and of the last, ns."""

    connection_id: str
    exchange: str
    first_ns: int
    last_ns: int


@dataclass(frozen=True)
class Segment:
    """A segment of frames, or of the ledger. `key` is its path below the ready directory, `hour` begins it."""

    path: Path
    key: str
    hour: dt.datetime
    first_ns: int
    last_ns: int
    rows: int
    channel: str


def find_segments(ready: Path) -> list[Segment]:
    """Return the segments of frames of a source, and those of its ledger, by time.

    Raises
    ------
    NotFoundError
        If there are no frames.
    CorruptError
        If a segment's footer cannot be read.
    """
    found = [_segment(path, ready) for path in ready.glob("frames/**/segment_*.parquet")]
    if not found:
        lines = any(ready.glob("frames/**/segment_*.ndjson*"))
        hint = "convert its NDJSON first (`daedalus convert`)" if lines else "record with frames among the channels"
        raise NotFoundError(f"no frames in {ready}: {hint}")
    found += [_segment(path, ready) for path in ready.glob("gaps/**/segment_*.parquet")]
    return sorted(found, key=lambda segment: (segment.first_ns, segment.channel, segment.path.name))


def _segment(path: Path, ready: Path) -> Segment:
    try:
        footer = SegmentFooter.of(pq.read_metadata(path).metadata)
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(f"{path}: cannot be read ({error}); `daedalus verify` says more") from error
    key, first, last = str(path.relative_to(ready)), footer.first_collected_at, footer.last_collected_at
    hour = utc(first).replace(minute=0, second=0, microsecond=0)
    return Segment(path, key, hour, first, last, footer.rows, footer.channel)


def frame_rows(segment: Segment, *, sent_only: bool = False) -> Iterator[FrameRow]:
    """Yield the frames of a segment in order."""
    for batch in _batches(segment.path, ["collected_at", "exchange", "connection_id", "direction", "frame"]):
        table = batch.filter(pc.equal(batch["direction"], "out")) if sent_only else batch
        columns = (table.column(name).to_pylist() for name in ("collected_at", "exchange", "connection_id"))
        sent = pc.equal(table["direction"], "out").to_pylist()
        for at, exchange, connection, is_sent, text in zip(*columns, sent, table["frame"].to_pylist(), strict=True):
            yield FrameRow(at, exchange, connection, is_sent, text)


def gap_rows(segment: Segment) -> Iterator[Gap]:
    """Yield the ledger's rows of a segment in order."""
    for batch in _batches(segment.path, _GAP_COLUMNS):
        for row in batch.to_pylist():
            yield Gap(**row)


def connections(segment: Segment) -> list[ConnectionSpan]:
    """Return from when to when each connection in a segment has frames."""
    table = pq.read_table(segment.path, columns=["connection_id", "exchange", "collected_at"])
    by_name = table.group_by(["connection_id", "exchange"]).aggregate(
        [("collected_at", "min"), ("collected_at", "max")]
    )
    return [ConnectionSpan(*row.values()) for row in by_name.to_pylist()]


def with_beginnings(segments: Sequence[Segment], first: int) -> int:
    """Return from which segment of frames on to read, so that every connection of segment `first` is read whole.

    Connections of one session of CCXT begin with its name (`ccxt_opening`) and count as one.
    """
    ids = _sessions(segments[first])
    while first > 0 and ids:
        ids &= _sessions(segments[first - 1])
        if ids:
            first -= 1
    return first


def _sessions(segment: Segment) -> set[str]:
    return {span.connection_id.partition(":")[0] for span in connections(segment)}


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield from file.iter_batches(batch_size=BATCH, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(f"{path}: cannot be read ({error}); `daedalus verify` says more") from error
