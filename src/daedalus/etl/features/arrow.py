"""Outputs as Arrow: the one place where NaN and sentinels become null."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from daedalus.etl.features.base import I64, NULL_INT, NULL_INT8, AnyArray, Outputs
from daedalus.etl.features.jit import kernel
from daedalus.shared.schemas import Column, arrow_type

if TYPE_CHECKING:
    from collections.abc import Iterable


_EXPONENT = 0x7FF0 << 48


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
    parts = {
        "float64": _Matrix(outputs.f64, *_finite(outputs.f64.view(np.int64), rows)),
        "int64": _Matrix(outputs.i64, *_other_than(outputs.i64, rows, NULL_INT)),
        "int8": _Matrix(outputs.i8, *_other_than(outputs.i8, rows, NULL_INT8)),
    }
    arrays = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        part, row = parts[outputs.plan.dtype_of[name]], outputs.plan.rows_of[name]
        arrays.append(pa.Array.from_buffers(kind, rows, part.buffers(row), part.nulls[row]))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class _Matrix:
    """The columns of one dtype as Arrow buffers."""

    def __init__(self, values: AnyArray, bits: npt.NDArray[np.uint8], nulls: I64) -> None:
        self._values, self._bits = pa.py_buffer(values), pa.py_buffer(bits)
        self._stride, self._bits_stride = values.strides[0], bits.strides[0]
        self.nulls: list[int] = nulls.tolist()

    def buffers(self, row: int) -> list[pa.Buffer | None]:
        """Return the bitmap, if there is a null, and the values of a column."""
        stride = self._bits_stride
        valid = self._bits.slice(row * stride, stride) if self.nulls[row] else None
        return [valid, self._values.slice(row * self._stride, self._stride)]


@kernel
def _finite(matrix: I64, rows: int) -> tuple[npt.NDArray[np.uint8], I64]:
    """Return Arrow's bitmap of every column and how many nulls it has; `matrix` holds the bits of float64.

    A bit per value, least significant first, 1 where it is there: where the exponent is not all ones.
    """
    bits, nulls = np.zeros((len(matrix), (rows + 63) // 64 * 8), np.uint8), np.zeros(len(matrix), np.int64)
    for c in range(len(matrix)):
        for start in range(0, rows, 64):
            stop, missing = min(start + 64, rows), 0
            for i in range(start, stop):
                missing += (matrix[c, i] & _EXPONENT) == _EXPONENT
            nulls[c] += missing
            if missing == 0:
                bits[c, start // 8 : start // 8 + 8] = 255
            elif missing < stop - start:
                for i in range(start, stop):
                    there = (matrix[c, i] & _EXPONENT) != _EXPONENT
                    bits[c, i // 8] |= np.uint8(there) << np.uint8(i % 8)
    return bits, nulls


@kernel
def _other_than(matrix: AnyArray, rows: int, null: int) -> tuple[npt.NDArray[np.uint8], I64]:
    """Return the same, of values other than the sentinel."""
    bits, nulls = np.zeros((len(matrix), (rows + 63) // 64 * 8), np.uint8), np.zeros(len(matrix), np.int64)
    for c in range(len(matrix)):
        for i in range(rows):
            there = matrix[c, i] != null
            nulls[c] += not there
            bits[c, i // 8] |= np.uint8(there) << np.uint8(i % 8)
    return bits, nulls
