"""Bytes a row: events through the real writer into segments, and beside them the same rows as lines of JSON."""

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared.events import Event
from daedalus.storage.ledger import lake_segments


@dataclass
class Size:
    """What rows take on disk. `footer` is what the files' footers take of it."""

    rows: int = 0
    bytes: int = 0
    footer: int = 0
    segments: int = 0
    columns: dict[str, int] | None = None

    @property
    def per_row(self) -> float:
        """Bytes a row, footers included."""
        return self.bytes / self.rows


def segment_sizes(events: Sequence[Event], **options) -> dict[tuple[str, str], Size]:
    """Sizes by channel and symbol, of the segments that the real writer makes of events."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_record(Path(folder), events, options))
        found: dict[tuple[str, str], Size] = {}
        for path in lake_segments(Path(folder)):
            _measure(path, found)
        return found


async def _record(folder: Path, events: Sequence[Event], options: dict) -> None:
    writer = StreamingParquetWriter(base_dir=folder, source="bench", **options)
    await writer.start()
    for start in range(0, len(events), 5000):
        await writer.write(events[start : start + 5000])
        await writer.flush()
    await writer.close()


def _measure(path: Path, found: dict[tuple[str, str], Size]) -> None:
    metadata = pq.read_metadata(path)
    keys = {key.decode(): value.decode() for key, value in metadata.metadata.items()}
    channel, symbol = keys["daedalus.channel"], keys["daedalus.symbol"]
    if channel == "gaps":
        return
    size = found.setdefault((channel, symbol), Size(columns={}))
    size.rows += metadata.num_rows
    size.bytes += path.stat().st_size
    size.footer += metadata.serialized_size
    size.segments += 1
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            name = column.path_in_schema.replace(".list.element", "")
            size.columns[name] = size.columns.get(name, 0) + column.total_compressed_size


def total(sizes: Iterable[Size]) -> Size:
    """Add sizes up."""
    out = Size(columns={})
    for size in sizes:
        out.rows, out.bytes, out.footer = out.rows + size.rows, out.bytes + size.bytes, out.footer + size.footer
        out.segments += size.segments
        for name, count in (size.columns or {}).items():
            out.columns[name] = out.columns.get(name, 0) + count
    return out


def ndjson_bytes(events: Sequence[Event]) -> int:
    """What the same rows take as lines of JSON: each column once, a level as [price, size], no partition columns."""
    count = 0
    for _, batch in record_batches(events):
        for start in range(0, batch.num_rows, 1000):
            count += sum(len(orjson.dumps(line(row))) + 1 for row in batch.slice(start, 1000).to_pylist())
    return count


def line(row: dict) -> dict:
    """A row as it stands in a line of JSON."""
    for side in ("bids", "asks"):
        if side in row:
            row[side] = [(level["price"], level["size"]) for level in row[side]]
    return row
