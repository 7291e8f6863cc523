"""How a segment is encoded: one table of what measured smallest for each kind of column (figures: docs/BRONZE.md).

What is behind the table:

- Clocks, sequence numbers and the numbers of the partition move in small steps: DELTA_BINARY_PACKED.
- Trade ids count up, so each shares most of its digits with the one before: DELTA_BYTE_ARRAY.
- A book repeats the row before it but for a level or two. zstd sees that in plain values, also when a new level moves
  the others on by one place, but not in dictionary indices of, say, 9 bits: moved on, they no longer fall on whole
  bytes. It sees it again where an index is just one byte wide.
- Book sides and frames repay a deeper search of zstd; nothing else does.
- A dictionary pays for text and trade sizes of few values, and costs where most are new.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ROW_GROUP_ROWS = 32_768
#: Added to the compression level of book sides and frames.
DEEP_LEVELS = 3
ZSTD_LEVEL_MAX = 22
#: A dictionary index is one byte wide for so many distinct values.
_BYTE_INDEX = range(129, 257)

DELTA = "DELTA_BINARY_PACKED"
DELTA_TEXT = "DELTA_BYTE_ARRAY"
PLAIN = "PLAIN"


def _always(distinct: int, values: int) -> bool:
    return True


def _never(distinct: int, values: int) -> bool:
    return False


def _byte_wide(distinct: int, values: int) -> bool:
    return distinct in _BYTE_INDEX


def _few(share: float) -> Callable[[int, int], bool]:
    return lambda distinct, values: 0 < distinct <= share * values


@dataclass(frozen=True)
class Encoding:
    """How a column is written.

    Attributes
    ----------
    otherwise
        The encoding where no dictionary is used.
    dictionary
        Tells from the number of distinct values and of all values whether a dictionary is used.
    is_deep
        Whether zstd searches `DEEP_LEVELS` deeper.
    statistics
        Whether minimum and maximum are kept: for text of no order they help no reader, and a frame's may take 8 kB.
    """

    otherwise: str
    dictionary: Callable[[int, int], bool] = _never
    is_deep: bool = False
    statistics: bool = True


_NAME = Encoding(PLAIN, _always)
_NOTES = Encoding(DELTA_TEXT, _few(1 / 8), statistics=False)
_BOOK = Encoding(PLAIN, _byte_wide, is_deep=True, statistics=False)
#: By column.
_COLUMNS = {
    "trade_id": Encoding(DELTA_TEXT),
    "amount": Encoding(PLAIN, _few(1 / 4)),
    "info_json": _NOTES,
    "detail": _NOTES,
    "frame": Encoding(PLAIN, is_deep=True, statistics=False),
}
#: Of every other column, by type.
_TYPES: tuple[tuple[Callable[[pa.DataType], bool], Encoding], ...] = (
    (pa.types.is_string, _NAME),
    (pa.types.is_date, _NAME),
    (pa.types.is_list, _BOOK),
    (pa.types.is_integer, Encoding(DELTA)),
    (pa.types.is_timestamp, Encoding(DELTA)),
)
_OTHER = Encoding(PLAIN)


def parquet_options(
    schema: pa.Schema, compression: str, level: int | None, rows: pa.Table | None = None
) -> dict[str, Any]:
    """Return the arguments of `pyarrow.parquet.ParquetWriter` for rows of a schema.

    Data page v1 and page checksums; minimum and maximum where a reader can skip by them. The Arrow schema is left out:
    Parquet's own says the same, and it is a third of the footer.

    Parameters
    ----------
    schema
        Columns of a channel, with those of the partition.
    compression, level
        zstd, gzip, snappy or none; the level counts for zstd and gzip.
    rows
        The rows, or some that stand for them: their first row group decides where a dictionary pays. Without rows a
        column that may go either way has none.
    """
    dictionary: list[str] = []
    encodings, levels = {}, {}
    for leaf, field in _leaves(schema):
        encoding = encoding_of(field)
        if encoding.dictionary(*_counts(encoding, leaf, rows)):
            dictionary.append(leaf)
        else:
            encodings[leaf] = encoding.otherwise
        levels[leaf] = _level(compression, level, encoding.is_deep)
    return {
        "compression": compression,
        "compression_level": levels if compression in ("zstd", "gzip") and level is not None else None,
        "use_dictionary": dictionary,
        "column_encoding": encodings,
        "data_page_version": "1.0",
        "write_statistics": [leaf for leaf, field in _leaves(schema) if encoding_of(field).statistics],
        "write_page_checksum": True,
        "store_schema": False,
        "dictionary_pagesize_limit": 8 << 20,
        "max_rows_per_page": ROW_GROUP_ROWS,
    }


def encoding_of(field: pa.Field) -> Encoding:
    """Return how a column is written."""
    by_type = (encoding for is_type, encoding in _TYPES if is_type(field.type))
    return _COLUMNS.get(field.name) or next(by_type, _OTHER)


def _leaves(schema: pa.Schema) -> list[tuple[str, pa.Field]]:
    """Return the path in Parquet of everything that is stored, and the column that it belongs to."""
    leaves: list[tuple[str, pa.Field]] = []
    for field in schema:
        if pa.types.is_list(field.type):
            leaves += [(f"{field.name}.list.element.{part.name}", field) for part in field.type.value_type]
        else:
            leaves.append((field.name, field))
    return leaves


def _level(compression: str, level: int | None, is_deep: bool) -> int | None:
    if level is None or compression != "zstd" or not is_deep:
        return level
    return min(level + DEEP_LEVELS, ZSTD_LEVEL_MAX)


def _counts(encoding: Encoding, leaf: str, rows: pa.Table | None) -> tuple[int, int]:
    """Return how many distinct values and how many values a leaf has, (1, 0) where nobody asks or nothing is known."""
    if rows is None or not rows.num_rows or encoding.dictionary in (_always, _never):
        return 1, 0
    name, *parts = leaf.split(".")
    values = rows[name].slice(0, ROW_GROUP_ROWS)
    if parts:
        values = pc.struct_field(pc.list_flatten(values), parts[-1])
    return pc.count_distinct(values).as_py(), len(values) - values.null_count
