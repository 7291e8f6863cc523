"""Events to Arrow: one function a channel, without a Python loop over levels or changes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.ma
import pyarrow as pa

from daedalus.shared.errors import SchemaError
from daedalus.shared.events import (
    NO_TIME,
    BookDelta,
    BookSnapshot,
    Event,
    Gap,
    channel_of,
    row_count,
)
from daedalus.shared.packing import CHANGE_RECORD, levels_array
from daedalus.shared.schemas import CHANNELS, arrow_schema

_BOOK_SIDES = pa.array(["bid", "ask"])


def record_batches(events: Iterable[Event]) -> list[tuple[str, pa.RecordBatch]]:
    """Turn events into (channel, rows), each channel in arrival order.

    Raises
    ------
    SchemaError
        If an event belongs to no channel or a value does not fit its column. The message names the event.
    """
    by_channel: dict[str, list[Any]] = {}
    for event in events:
        by_channel.setdefault(channel_of(event), []).append(event)
    return [(channel, _batch(channel, rows)) for channel, rows in by_channel.items()]


def record_batches_of_all(events: Sequence[Event]) -> list[tuple[str, pa.RecordBatch]]:
    """Turn events into (channel, rows); one that no column takes is replaced by its entry in the gap ledger."""
    try:
        return record_batches(events)
    except SchemaError:
        return record_batches([event if _fits(event) else _unwritable(event) for event in events])


def _fits(event: Event) -> bool:
    try:
        record_batches([event])
    except SchemaError:
        return False
    return True


def _unwritable(event: Event) -> Gap:
    return Gap(
        collected_at=event.collected_at,
        exchange=event.exchange,
        symbol=event.symbol,
        channel=channel_of(event),
        started_at=event.collected_at - 1,
        ended_at=event.collected_at,
        reason="parse_error",
        missed=row_count(event),
        detail=f"a value that its column cannot hold: {event!r:.300}",
    )


def _batch(channel: str, events: list[Any]) -> pa.RecordBatch:
    if channel not in CHANNELS:
        raise SchemaError(f"{channel}: events of this kind belong to no channel")
    schema = arrow_schema(channel)
    special = _SPECIAL.get(channel, {})
    repeat = _rows_per_event(events) if channel == "l2" else None
    arrays = []
    for field in schema:
        if field.name in special:
            arrays.append(special[field.name](events))
            continue
        array = _plain(events, field)
        arrays.append(array if repeat is None else array.take(repeat))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _plain(events: Sequence[Any], field: pa.Field) -> pa.Array:
    if field.name == "capture_ts":
        return pa.array([event.collected_at // 1000 for event in events], field.type)
    name = field.name
    try:
        return pa.array([getattr(event, name) for event in events], field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise SchemaError(f"column {name}: {error}; first event of the batch: {events[0]!r:.200}") from error


def _levels(side: str) -> Callable[[Sequence[BookSnapshot]], pa.Array]:
    def build(events: Sequence[BookSnapshot]) -> pa.Array:
        return levels_array([getattr(event, side) for event in events])

    return build


def _rows_per_event(events: Sequence[BookDelta]) -> pa.Array:
    """Return the event index of every row."""
    counts = [len(event.changes) // CHANGE_RECORD.itemsize for event in events]
    return pa.array(np.repeat(np.arange(len(events), dtype=np.int32), counts))


def _changes(name: str) -> Callable[[Sequence[BookDelta]], pa.Array]:
    def build(events: Sequence[BookDelta]) -> pa.Array:
        rows = np.frombuffer(b"".join([event.changes for event in events]), CHANGE_RECORD)
        values = np.ascontiguousarray(rows[name])
        if name == "side":
            return _BOOK_SIDES.take(pa.array(values))
        if name == "timestamp":
            return pa.array(values, pa.timestamp("us", tz="UTC"), mask=values == NO_TIME)
        return pa.array(values)

    return build


_SPECIAL: dict[str, dict[str, Callable[[Any], pa.Array]]] = {
    "orderbook": {"bids": _levels("bids"), "asks": _levels("asks")},
    "l2": {name: _changes(name) for name in ("timestamp", "side", "price", "size")},
}
