"""Quality of a lake, computed, kept as table `quality`, and summed up."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import daedalus
from daedalus.lake.quality.columns import ARROW, PARTITION, SCHEMA
from daedalus.lake.quality.ledger import FOREVER, Interval
from daedalus.lake.quality.reading import HOUR_NS
from daedalus.lake.quality.table import Recording, markets_of, quality_rows, recordings
from daedalus.lake.selecting import Choice
from daedalus.lake.tables import QUALITY, Layout, quality_root
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import ALL, GAP_REASONS
from daedalus.shared.partitioning import PartitionKey, sanitize_partition_value
from daedalus.shared.segment import FOOTER_PREFIX

_DAY_NS = 24 * HOUR_NS
_FILE = "quality.parquet"
GAPS = pl.Schema(
    {
        "source": pl.String(),
        "exchange": pl.String(),
        "symbol": pl.String(),
        "channel": pl.String(),
        "started_at": pl.Int64(),
        "ended_at": pl.Int64(),
        "reason": pl.String(),
        "missed": pl.Int64(),
        "detail": pl.String(),
    }
)


@dataclass(frozen=True)
class Quality:
    """What was found.

    Parameters
    ----------
    hours
        The rows of table `quality` and their `source`.
    gaps
        The gaps that begin in the range, each once, with cause and detail; `ended_at` is null while one is open.
    """

    hours: pl.DataFrame
    gaps: pl.DataFrame

    def summary(self) -> pl.DataFrame:
        """Return a row for each exchange, symbol and channel."""
        keys = ("exchange", "symbol", "channel")
        added = ("rows", "connected_s", "verified_s", "gaps", *(f"gaps_{r}" for r in GAP_REASONS), "gap_s", "missed")
        more = ("duplicates", "out_of_order", "crossed", "locked", "stale", "stale_s", "outliers")
        usual = ("spread_p50_bps", "latency_p50_ms", "latency_p99_ms", "clock_offset_ms")
        sums = [pl.when(pl.col(c).count() > 0).then(pl.col(c).sum()).alias(c) for c in (*added, *more)]
        checked, agree = pl.col("sides_checked").sum(), pl.col("sides_agree").sum()
        grouped = self.hours.group_by(keys, maintain_order=True)
        return grouped.agg(
            pl.len().alias("hours"),
            *sums,
            *(pl.col(name).median() for name in usual),
            pl.when(checked > 0).then(agree / checked).alias("side_agreement"),
        ).sort(keys)


def measure(layout: Layout, choice: Choice, *, save: bool) -> Quality:
    """Judge what is chosen, in bounded memory.

    Parameters
    ----------
    choice
        Exchange, symbol (that of a whole connection comes along) and range; hours that begin in the range count.
    save
        Whether to write the rows as table `quality`. Days are then judged whole, so that a file is always that of a
        whole day; each is replaced in one step, and a rerun gives the same rows.

    Raises
    ------
    ConfigError
        If nothing matches.
    CorruptError, SchemaError
        If a segment cannot be read.
    StorageError
        If the table cannot be written.
    """
    frames, gaps, there = [pl.DataFrame(schema={"source": pl.String(), **SCHEMA})], [], []
    wanted = None if choice.symbol is None else sanitize_partition_value(choice.symbol)
    start = 0 if choice.start is None else choice.start // HOUR_NS * HOUR_NS
    end = FOREVER // _DAY_NS * _DAY_NS if choice.end is None else choice.end
    for recording in recordings(layout, choice.exchange):
        for symbol in markets_of(recording):
            there.append(f"{recording.exchange} {symbol}")
            if wanted not in (None, symbol) and symbol != ALL:
                continue
            for day, rows in _days(recording, symbol, start, end, whole=save):
                if save:
                    _publish(layout, recording, symbol, day, rows)
                seen = rows.filter(pl.col("hour_start").is_between(start, end, closed="left"))
                frames.append(seen.select(pl.lit(recording.source).alias("source"), pl.all()))
            gaps += _gaps(recording, symbol, start, end)
    hours = pl.concat(frames)
    if hours.filter(pl.col("symbol") != ALL).is_empty():
        known = ", ".join(sorted(set(there))) or "nothing is recorded"
        raise ConfigError(f"{layout.base.url}: nothing matches {choice}. There is: {known}")
    return Quality(hours, pl.DataFrame(gaps, GAPS, orient="row").sort("started_at", maintain_order=True))


def _days(
    recording: Recording, symbol: str, start: int, end: int, *, whole: bool
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield (start of day, its rows)."""
    if whole:
        start, end = start // _DAY_NS * _DAY_NS, -(-end // _DAY_NS) * _DAY_NS
    held: dict[int, list[dict[str, object]]] = {}
    for row in quality_rows(recording, symbol, start, end):
        held.setdefault(int(str(row["hour_start"])) // _DAY_NS * _DAY_NS, []).append(row)
    for day, rows in sorted(held.items()):
        yield day, pl.DataFrame(rows, SCHEMA, orient="row").sort("hour_start", "channel")


def _publish(layout: Layout, recording: Recording, symbol: str, day: int, rows: pl.DataFrame) -> None:
    """Write the file of one market and day, replacing what was there in one step."""
    key = PartitionKey.of(recording.exchange, symbol, day)
    values = key.values(PARTITION)
    placed = rows.with_columns(pl.lit(values[name], pl.Int32()).alias(name) for name in ("year", "month", "day"))
    footer = {FOOTER_PREFIX + "writer_version": daedalus.__version__, FOOTER_PREFIX + "table": QUALITY}
    table = pa.table({name: placed[name].to_arrow().cast(ARROW.field(name).type) for name in ARROW.names}, ARROW)
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(footer), sink, compression="zstd", write_page_checksum=True)
    place = quality_root(layout, recording.source) / key.path(PARTITION) / _FILE
    place.storage.put(place.key, sink.getvalue(), overwrite=True)


def _gaps(recording: Recording, symbol: str, start: int, end: int) -> list[tuple[object, ...]]:
    streams = [stream for stream in recording.ledger.streams() if stream[0] == symbol]
    found = [gap for stream in streams for gap in recording.ledger.of(*stream) if start <= gap.started_at < end]
    return [(recording.source, *_shown(gap)) for gap in found]


def _shown(gap: Interval) -> tuple[object, ...]:
    end = None if gap.ended_at == FOREVER else gap.ended_at
    return gap.exchange, gap.symbol, gap.channel, gap.started_at, end, gap.reason, gap.missed, gap.detail
