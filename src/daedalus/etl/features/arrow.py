"""Outputs as Arrow: the one place where NaN and sentinels become null."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from daedalus.etl.features.base import F64, I8, I64, NULL_INT, NULL_INT8, Outputs
from daedalus.etl.features.jit import kernel
from daedalus.shared.schemas import Column, arrow_type

if TYPE_CHECKING:
    from collections.abc import Iterable

Bits = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


def schema_of(columns: "Iterable[Column]", fingerprint: str) -> pa.Schema:
    """Return the Arrow schema of feature columns, with unit and meaning as metadata of each field."""
    fields = [
        pa.field(column.name, arrow_type(column.dtype), metadata={"unit": column.unit, "doc": column.doc})
        for column in columns
    ]
    return pa.schema(fields, metadata={"daedalus.features": fingerprint})


def record_batch(outputs: Outputs, schema: pa.Schema) -> pa.RecordBatch:
    """Return the outputs as a record batch that shares their memory; values that are not finite are null."""
    rows = outputs.rows
    bitmaps: dict[str, Bits] = {}
    nulls: dict[str, I64] = {}
    for dtype, matrix, mark in (
        ("float64", outputs.f64, _finite),
        ("int64", outputs.i64, _known),
        ("int8", outputs.i8, _known8),
    ):
        bits = np.zeros((len(matrix), (rows + 7) // 8), np.uint8)
        nulls[dtype] = mark(matrix, rows, bits)
        bitmaps[dtype] = bits
    arrays = []
    for name in schema.names:
        dtype, row = outputs.plan.dtype_of[name], outputs.plan.rows_of[name]
        missing = int(nulls[dtype][row])
        valid = pa.py_buffer(bitmaps[dtype][row]) if missing else None
        buffers = [valid, pa.py_buffer(outputs[name])]
        arrays.append(pa.Array.from_buffers(arrow_type(dtype), rows, buffers, missing))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@kernel
def _finite(matrix: F64, rows: int, bits: Bits) -> I64:
    """Set a bit for every value that is a number; return how many of each column are not."""
    nulls = np.zeros(len(matrix), np.int64)
    for c in range(len(matrix)):
        for i in range(rows):
            good = np.isfinite(matrix[c, i])
            bits[c, i >> 3] |= np.uint8(good) << np.uint8(i & 7)
            nulls[c] += not good
    return nulls


@kernel
def _known(matrix: I64, rows: int, bits: Bits) -> I64:
    nulls = np.zeros(len(matrix), np.int64)
    for c in range(len(matrix)):
        for i in range(rows):
            good = matrix[c, i] != NULL_INT
            bits[c, i >> 3] |= np.uint8(good) << np.uint8(i & 7)
            nulls[c] += not good
    return nulls


@kernel
def _known8(matrix: I8, rows: int, bits: Bits) -> I64:
    nulls = np.zeros(len(matrix), np.int64)
    for c in range(len(matrix)):
        for i in range(rows):
            good = matrix[c, i] != NULL_INT8
            bits[c, i >> 3] |= np.uint8(good) << np.uint8(i & 7)
            nulls[c] += not good
    return nulls
