"""Outputs as Arrow: the one place where NaN and sentinels become null."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from daedalus.etl.features.base import F64, I64, NULL_INT, NULL_INT8, AnyArray, Outputs
from daedalus.etl.features.jit import kernel
from daedalus.shared.schemas import Column, arrow_type

if TYPE_CHECKING:
    from collections.abc import Iterable


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
    nulls = {
        "float64": _count_not_finite(outputs.f64, rows),
        "int64": _count_equal(outputs.i64, rows, NULL_INT),
        "int8": _count_equal(outputs.i8, rows, NULL_INT8),
    }
    matrices: dict[str, AnyArray] = {"float64": outputs.f64, "int64": outputs.i64, "int8": outputs.i8}
    buffers = {dtype: pa.py_buffer(matrix) for dtype, matrix in matrices.items()}
    arrays = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        dtype = outputs.plan.dtype_of[name]
        row, stride = outputs.plan.rows_of[name], matrices[dtype].strides[0]
        missing = int(nulls[dtype][row])
        valid = pa.py_buffer(_validity(outputs[name], dtype)) if missing else None
        values = buffers[dtype].slice(row * stride, stride)
        arrays.append(pa.Array.from_buffers(kind, rows, [valid, values], missing))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _validity(values: AnyArray, dtype: str) -> AnyArray:
    """Return Arrow's bitmap: a bit per value, least significant first, 1 where it is there."""
    known = np.isfinite(values) if dtype == "float64" else values != (NULL_INT if dtype == "int64" else NULL_INT8)
    return np.packbits(known, bitorder="little")


@kernel
def _count_not_finite(matrix: F64, rows: int) -> I64:
    """Return how many values of each column are NaN or infinite."""
    nulls = np.zeros(len(matrix), np.int64)
    for c in range(len(matrix)):
        known = 0
        for i in range(rows):
            known += abs(matrix[c, i]) < math.inf
        nulls[c] = rows - known
    return nulls


@kernel
def _count_equal(matrix: AnyArray, rows: int, null: int) -> I64:
    """Return how many values of each column are the sentinel."""
    nulls = np.zeros(len(matrix), np.int64)
    for c in range(len(matrix)):
        for i in range(rows):
            nulls[c] += matrix[c, i] == null
    return nulls
