"""Thin rows of one stream, hour by hour: only what quality looks at, in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from daedalus.shared.schemas import arrow_schema
from daedalus.storage.partitions import Partition
from daedalus.storage.segments import ReadStats, footers, read_chunks

HOUR_NS = 3_600 * 10**9
_COLUMNS = {
    "trades": ("collected_at", "timestamp", "trade_id", "side", "price", "amount"),
    "ticker": ("collected_at", "timestamp", "bid", "ask"),
    "orderbook": ("collected_at", "timestamp", "nonce", "bids", "asks"),
    "l2": ("collected_at", "timestamp", "nonce", "is_snapshot"),
}
#: Channels that quality looks at.
CHANNELS = tuple(_COLUMNS)
#: Columns of thin rows, `t` the receive clock and `ts` the exchange's time, ns; `n` rows of the channel.
_THIN = {
    "trades": ("trade_id", "side", "price", "amount"),
    "ticker": ("bid", "ask"),
    "orderbook": ("nonce", "bid", "ask"),
    "l2": ("nonce", "is_snapshot"),
}


@dataclass(frozen=True)
class Hour:
    """The rows of one stream in one hour, and their neighbours.

    Parameters
    ----------
    channel, start
        Of which channel, and when the hour begins, ns.
    rows
        Thin rows in arrival order; of `l2` one a frame.
    before, after
        The last row before and the first after it, a frame of one row each; None where there is none.
    """

    channel: str
    start: int
    rows: pl.DataFrame
    before: pl.DataFrame | None
    after: pl.DataFrame | None


def hours_of(channel: str, partitions: Sequence[Partition]) -> Iterator[Hour]:
    """Yield the hours of a stream that have rows, in order, each with its neighbours.

    Memory: the thin rows of two hours.

    Raises
    ------
    CorruptError, SchemaError
        If a segment cannot be read.
    """
    before: pl.DataFrame | None = None
    held: tuple[int, pl.DataFrame] | None = None
    for start, rows in _whole_hours(_thin_chunks(channel, partitions)):
        if held is not None:
            yield Hour(channel, *held, before, rows.head(1))
            before = held[1].tail(1)
        held = start, rows
    if held is not None:
        yield Hour(channel, *held, before, None)


def _thin_chunks(channel: str, partitions: Sequence[Partition]) -> Iterator[pl.DataFrame]:
    wanted = set(_COLUMNS[channel])
    schema = pa.schema([_prices_only(field) for field in arrow_schema(channel) if field.name in wanted])
    for chunk in read_chunks((part.segments() for part in partitions), schema, ReadStats()):
        rows = _thin(channel, chunk)
        del chunk
        # Of books little remains: without this the memory of decoded levels stays with Arrow's pool.
        pa.default_memory_pool().release_unused()
        yield rows


def _prices_only(field: pa.Field) -> pa.Field:
    """Return a side of books without its sizes, half of what there is to decode; other columns as they are."""
    if not pa.types.is_list(field.type):
        return field
    price = field.type.value_type.field("price")
    return field.with_type(pa.list_(field.type.value_field.with_type(pa.struct([price]))))


def _thin(channel: str, chunk: pa.Table) -> pl.DataFrame:
    if channel == "orderbook":
        touch = {side: _best_prices(chunk[f"{side}s"]) for side in ("bid", "ask")}
        chunk = chunk.drop_columns(["bids", "asks"])
        for side, prices in touch.items():
            chunk = chunk.append_column(side, prices)
    frame = pl.from_arrow(chunk)
    assert isinstance(frame, pl.DataFrame)
    clocks = (pl.col("collected_at").alias("t"), pl.col("timestamp").cast(pl.Int64).mul(1000).alias("ts"))
    rows = frame.select(*clocks, *_THIN[channel])
    if channel != "l2":
        return rows.with_columns(n=pl.lit(1, pl.Int64))
    number = pl.struct("t", "nonce", "is_snapshot").rle_id().alias("number")
    frames = rows.group_by(number, maintain_order=True)
    thin = frames.agg(pl.col("t", "nonce", "is_snapshot").first(), pl.col("ts").max(), n=pl.len().cast(pl.Int64))
    return thin.select("t", "ts", "nonce", "is_snapshot", "n")


def _best_prices(side: pa.ChunkedArray) -> pa.Array:
    """Return the first price of each book, null where the side is empty. The levels behind it are not copied."""
    levels = side.combine_chunks()
    starts = levels.offsets.to_numpy()
    return levels.values.field("price").take(pa.array(starts[:-1], mask=starts[1:] == starts[:-1]))


def _whole_hours(chunks: Iterable[pl.DataFrame]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Put the rows of each hour together."""
    held: list[pl.DataFrame] = []
    now: int | None = None
    for chunk in chunks:
        for (start,), rows in chunk.group_by(pl.col("t") // HOUR_NS * HOUR_NS, maintain_order=True):
            if now is not None and start != now:
                yield now, pl.concat(held)
                held = []
            now = int(str(start))
            held.append(rows)
    if now is not None:
        yield now, pl.concat(held)


def first_row(partition: Partition) -> int:
    """Return the receive clock of the first row of a partition, ns; footers tell."""
    return min(first for first, _ in _clocks(partition))


def last_row(partition: Partition) -> int:
    """Return the receive clock of the last row of a partition, ns; footers tell."""
    return max(last for _, last in _clocks(partition))


def row_after(partitions: Sequence[Partition], instant: int) -> int | None:
    """Return when the first row of a stream after an instant, ns, came; None if none did."""
    schema = pa.schema([("collected_at", pa.int64())])
    late = [part for part in partitions if part.end.timestamp() * 1e9 > instant]
    for chunk in read_chunks((part.segments() for part in late), schema, ReadStats()):
        clock = chunk["collected_at"].to_numpy()
        at = int(clock.searchsorted(instant, side="right"))
        if at < len(clock):
            return int(clock[at])
    return None


def _clocks(partition: Partition) -> Iterator[tuple[int, int]]:
    """Yield the first and last receive clock of every row group."""
    for metadata in footers(partition):
        at = next(i for i in range(metadata.num_columns) if metadata.schema.column(i).path == "collected_at")
        for number in range(metadata.num_row_groups):
            statistics = metadata.row_group(number).column(at).statistics
            if statistics is not None and statistics.has_min_max:
                yield statistics.min, statistics.max
