"""Which rows share a directory: markets and hours told apart in whole columns, never row by row."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.partitioning import PartitionKey

HOUR_NS = 3600 * NS_PER_SECOND


@dataclass(frozen=True, order=True)
class Group:
    """The rows that share a directory."""

    channel: str
    path: str


@dataclass(frozen=True)
class Grouping:
    """The groups of some rows.

    Attributes
    ----------
    groups, keys, markets
        Each group with the key of its first row and its (exchange, symbol) as the exchange spells them.
    codes
        int64[n]: the index of each row's group.
    """

    groups: list[Group]
    keys: list[PartitionKey]
    markets: list[tuple[str, str]]
    codes: npt.NDArray[np.int64]


@lru_cache(maxsize=65536)
def _place(
    channel: str, exchange: str, symbol: str, hour: int, partition_by: tuple[str, ...]
) -> tuple[Group, PartitionKey]:
    key = PartitionKey.of(exchange, symbol, hour * HOUR_NS)
    return Group(channel, key.path(partition_by)), key


def group_rows(channel: str, rows: pa.Table, partition_by: tuple[str, ...]) -> Grouping:
    """Tell the directories of a channel's rows apart. Rows of at least one market."""
    exchanges, exchange_codes = _encoded(rows, "exchange")
    symbols, symbol_codes = _encoded(rows, "symbol")
    hours = rows["collected_at"].to_numpy() // HOUR_NS
    base, span = int(hours.min()), int(hours.max() - hours.min()) + 1
    mixed = (exchange_codes * len(symbols) + symbol_codes) * span + (hours - base)
    values, codes = np.unique(mixed, return_inverse=True)
    index: dict[Group, int] = {}
    keys: list[PartitionKey] = []
    markets: list[tuple[str, str]] = []
    merged = np.empty(len(values), np.int64)
    for number, value in enumerate(values.tolist()):
        market, hour = divmod(value, span)
        exchange, symbol = exchanges[market // len(symbols)], symbols[market % len(symbols)]
        group, key = _place(channel, exchange, symbol, base + hour, partition_by)
        # Without a level for the hour, several hours share a directory.
        merged[number] = index.setdefault(group, len(index))
        if merged[number] == len(keys):
            keys.append(key)
            markets.append((exchange, symbol))
    return Grouping(list(index), keys, markets, merged[codes])


def _encoded(rows: pa.Table, name: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    column = rows[name]
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    encoded = array.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def by_directory(
    channel: str, table: pa.Table, partition_by: tuple[str, ...]
) -> Iterator[tuple[Group, PartitionKey, pa.Table]]:
    """Yield the rows of each directory, by receive clock; rows of one instant keep their order."""
    grouping = group_rows(channel, table, partition_by)
    clock = table["collected_at"].to_numpy()
    order = np.lexsort((clock, grouping.codes))
    table = table.take(pa.array(order))
    ends = np.cumsum(np.bincount(grouping.codes, minlength=len(grouping.groups)))
    start = 0
    for group, key, end in zip(grouping.groups, grouping.keys, ends.tolist(), strict=True):
        yield group, key, table.slice(start, end - start)
        start = end
