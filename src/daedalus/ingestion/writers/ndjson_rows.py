"""Rows as lines of JSON and back, value for value.

A line is one object with the columns of the schema in their order. JSON cannot say everything that a column can hold:

- a time is RFC 3339 text with microseconds, ``2025-06-19T14:00:00.123456Z``; one beyond the years 0001 to 9999, which
  RFC 3339 does not know, stays a number of microseconds since the epoch;
- NaN (any) and the infinities are the texts ``NaN``, ``Infinity`` and ``-Infinity``, where orjson would write null;
- a side of a book is ``[[price, size], ...]``, best first.

Floats are written in the fewest digits that read back as the same float, integers in full.
"""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from daedalus.shared.errors import CorruptError

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
#: What RFC 3339 can say, in microseconds since the epoch.
_TIME_MIN, _TIME_MAX = -62_135_596_800_000_000, 253_402_300_799_999_999
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def to_lines(rows: pa.RecordBatch) -> bytes:
    """Return rows as lines, each ended by a newline."""
    names = rows.schema.names
    columns = [_values(column) for column in rows.columns]
    return b"".join(
        [orjson.dumps(dict(zip(names, row, strict=True)), option=_OPTIONS) for row in zip(*columns, strict=True)]
    )


def _values(column: pa.Array) -> Sequence[Any]:
    """Return what orjson is given for a column, one value a row."""
    if pa.types.is_floating(column.type):
        return _float_values(column)
    if pa.types.is_timestamp(column.type):
        return _time_values(column)
    if pa.types.is_list(column.type):
        return _level_values(column)
    values: list[Any] = column.to_pylist()
    return values


def _float_values(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if pc.all(pc.is_finite(column)).as_py() is not False:
        return values
    return [value if value is None else _spelt(value) for value in values]


def _spelt(value: float) -> float | str:
    if value != value:
        return "NaN"
    return ("Infinity" if value > 0 else "-Infinity") if value in (float("inf"), float("-inf")) else value


def _time_values(column: pa.Array) -> list[Any]:
    numbers = column.cast(pa.int64())
    known = pc.and_(pc.greater_equal(numbers, _TIME_MIN), pc.less_equal(numbers, _TIME_MAX))
    texts: list[Any] = pc.strftime(pc.if_else(known, column, None), format="%Y-%m-%dT%H:%M:%SZ").to_pylist()
    if pc.all(known).as_py() is False:
        return [number if text is None else text for text, number in zip(texts, numbers.to_pylist(), strict=True)]
    return texts


def _level_values(column: pa.Array) -> list[Any]:
    assert column.null_count == 0, "a side of a book is empty, never null"
    levels = column.flatten()
    pairs = np.stack([levels.field(name).to_numpy(zero_copy_only=False) for name in ("price", "size")], axis=1)
    starts = (column.offsets.to_numpy() - column.offsets[0].as_py()).tolist()
    sides = [pairs[start:end] for start, end in pairwise(starts)]
    if np.isfinite(pairs).all():
        return sides
    return [[[_spelt(price), _spelt(size)] for price, size in side.tolist()] for side in sides]


def from_lines(lines: Sequence[bytes], schema: pa.Schema) -> pa.RecordBatch:
    """Return lines as rows of a schema.

    Raises
    ------
    CorruptError
        If a line is not JSON, has other columns, or a value does not fit its column.
    """
    names = schema.names
    rows = [_row(line, names) for line in lines]
    arrays = []
    for field in schema:
        try:
            arrays.append(_array([row[field.name] for row in rows], field.type))
        except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
            raise CorruptError(f"column {field.name}: {error}") from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _row(line: bytes, names: list[str]) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CorruptError(f"a line is not JSON ({error}): {line!r:.120}") from None
    if not isinstance(row, dict) or list(row) != names:
        raise CorruptError(f"a line has not the columns {', '.join(names)}: {line!r:.120}")
    return row


def _array(values: list[Any], dtype: pa.DataType) -> pa.Array:
    if pa.types.is_floating(dtype):
        return _floats(values)
    if pa.types.is_timestamp(dtype):
        return _times(values, dtype)
    if pa.types.is_list(dtype):
        return _levels(values)
    if pa.types.is_date(dtype):
        return pa.array(values, pa.string()).cast(dtype)
    if pa.types.is_integer(dtype):
        # Given the type at once, Arrow would cut 1.5 down to 1.
        return pa.array(values).cast(dtype)
    return pa.array(values, dtype)


def _floats(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.float64())
    except pa.ArrowException:
        # Texts are rare, so they are looked for only then.
        return pa.array([_NOT_FINITE[v] if isinstance(v, str) else v for v in values], pa.float64())


def _times(values: list[Any], dtype: pa.DataType) -> pa.Array:
    texts = pa.array([None if isinstance(value, int) else value for value in values], pa.string()).cast(dtype)
    if not any(isinstance(value, int) for value in values):
        return texts
    numbers = pa.array([value if isinstance(value, int) else None for value in values], pa.int64()).cast(dtype)
    return pc.coalesce(texts, numbers)


def _levels(values: list[Any]) -> pa.Array:
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(side) for side in values], out=offsets[1:])
    pairs = list(chain.from_iterable(values))
    if not set(map(len, pairs)) <= {2}:
        raise ValueError("a level is not [price, size]")
    flat = _floats(list(chain.from_iterable(pairs)))
    if flat.null_count:
        raise ValueError("a level without price or size")
    sides = [pa.array(flat.to_numpy()[i::2]) for i in (0, 1)]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(sides, ["price", "size"]))
