"""What a lake holds, from listings alone: names tell the rows of bronze, footers those of silver and gold."""

import datetime as dt
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from daedalus.lake.selecting import Choice, partitions_of
from daedalus.lake.tables import Table
from daedalus.shared.errors import SchemaError
from daedalus.shared.segment import SegmentName
from daedalus.storage.partitions import Partition
from daedalus.storage.segments import footers

SCHEMA = pl.Schema(
    {
        "table": pl.String(),
        "layer": pl.String(),
        "source": pl.String(),
        "exchange": pl.String(),
        "symbol": pl.String(),
        "start": pl.Datetime("us", "UTC"),
        "end": pl.Datetime("us", "UTC"),
        "hours": pl.Int64(),
        "segments": pl.Int64(),
        "rows": pl.Int64(),
        "bytes": pl.Int64(),
    }
)
#: Partitions whose footers are read at a time: each is a request where the lake is in an object store.
_READS_AT_ONCE = 8


def catalogue(tables: Iterable[Table], choice: Choice) -> pl.DataFrame:
    """Return a row for each table, source and market that is chosen.

    Returns
    -------
    pl.DataFrame
        `start` and `end` bound the partitions: hours, as a rule. `hours` counts the partitions, so that holes show.
        `rows` and `bytes` are those of the chosen partitions, whole.
    """
    lines = []
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        for table in tables:
            markets: dict[tuple[str, str, str], list[Partition]] = {}
            for source, part in partitions_of(table, choice):
                markets.setdefault((source, part.exchange, part.symbol), []).append(part)
            for market, parts in sorted(markets.items()):
                lines.append((table.name, table.layer, *market, *_summary(parts, pool)))
    return pl.DataFrame(lines, SCHEMA, orient="row")


def _summary(parts: list[Partition], pool: ThreadPoolExecutor) -> tuple[dt.datetime, dt.datetime, int, int, int, int]:
    rows = sum(pool.map(_rows, parts))
    files = [size for part in parts for size in part.sizes]
    start, end = min(part.start for part in parts), max(part.end for part in parts)
    return start, end, len(parts), len(files), rows, sum(files)


def _rows(partition: Partition) -> int:
    """Return how many rows a partition has."""
    try:
        names = map(SegmentName.parse, partition.names)
        return sum(name.last_row - name.first_row + 1 for name in names)
    except SchemaError:
        return sum(footer.num_rows for footer in footers(partition))
