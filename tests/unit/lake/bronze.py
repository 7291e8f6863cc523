"""Small lakes for tests: events through the real writer's columns, sealed as segments with their footer."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.ingestion.writers.columns import record_batches
from daedalus.shared.events import BookDelta, Event, Gap, pack_changes
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PartitionKey
from daedalus.shared.schemas import CHANNELS, arrow_schema
from daedalus.shared.segment import SegmentFooter, SegmentName

S = 10**9
HOUR = 3600 * S
#: 2025-06-19 14:00 UTC
T0 = 1_750_341_600 * S


def write_events(base: Path, events: Iterable[Event], *, source: str = "coinbase", row_group: int = 7) -> None:
    """Write events as one sealed journal: a segment for every channel, market and hour."""
    by_place: dict[tuple[str, str, PartitionKey], list[Event]] = {}
    for event in events:
        key = PartitionKey.of(event.exchange, event.symbol, event.collected_at)
        channel = str(type(event).__struct_config__.tag)
        by_place.setdefault((channel, event.symbol, key), []).append(event)
    for (channel, symbol, key), own in by_place.items():
        _write(base / "raw" / "ready" / source / channel / key.path(), channel, symbol, key, own, row_group)


def _write(folder: Path, channel: str, symbol: str, key: PartitionKey, events: Sequence[Event], row_group: int) -> None:
    ((_, batch),) = record_batches(events)
    table = pa.Table.from_batches([batch])
    schema = arrow_schema(channel, tuple(DEFAULT_PARTITION_COLUMNS))
    for name, value in key.values().items():
        column = pa.repeat(pa.scalar(value, schema.field(name).type), table.num_rows)
        has = name in table.schema.names
        table = (
            table.set_column(table.schema.get_field_index(name), name, column)
            if has
            else table.append_column(name, column)
        )
    name = SegmentName("20250619T000000Z-00000001", 0, table.num_rows - 1)
    clock = table["collected_at"]
    footer = SegmentFooter(
        channel,
        CHANNELS[channel].version,
        "0",
        name.journal,
        clock[0].as_py(),
        clock[-1].as_py(),
        table.num_rows,
        symbol,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / name.file_name(), schema) as writer:
        writer.write_table(table.cast(schema), row_group_size=row_group)
        writer.add_key_value_metadata(footer.metadata())


def delta(
    at: int, *changes: tuple[str, float, float], whole: bool = False, nonce: int | None = None, symbol: str = "BTC-USD"
) -> BookDelta:
    """Return changes of a book: ("bid", price, size) ..."""
    packed = pack_changes([(at // 1000, side, price, size) for side, price, size in changes])  # type: ignore[misc]
    return BookDelta(
        collected_at=at, exchange="coinbase", symbol=symbol, nonce=nonce, is_snapshot=whole, changes=packed
    )


def gap(at: int, since: int, until: int | None, reason: str = "disconnect", channel: str = "l2") -> Gap:
    """Return an entry of the ledger."""
    return Gap(
        collected_at=at,
        exchange="coinbase",
        symbol="BTC-USD" if channel != "ALL" else "ALL",
        channel=channel,
        started_at=since,
        ended_at=until,
        reason=reason,
    )
