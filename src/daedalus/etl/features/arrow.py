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


#: Of the bits of a float64 that is infinite or NaN, those of the exponent are all ones.
_EXPONENT = 0x7FF0 << 48
_ALL = -1


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
        "float64": _Matrix(outputs.f64, *_present(outputs.f64.view(np.int64), rows, _EXPONENT, _EXPONENT)),
        "int64": _Matrix(outputs.i64, *_present(outputs.i64, rows, _ALL, NULL_INT)),
        "int8": _Matrix(outputs.i8, *_present(outputs.i8, rows, _ALL, NULL_INT8)),
    }
    arrays = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        part, row = parts[outputs.plan.dtype_of[name]], outputs.plan.rows_of[name]
        arrays.append(pa.Array.from_buffers(kind, rows, part.buffers(row), part.nulls[row]))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class _Matrix:
    """The columns of one dtype as Arrow buffers."""

    def __init__(self, values: AnyArray, bits: npt.NDArray[np.uint64], nulls: I64) -> None:
        self._values, self._bits = pa.py_buffer(values), pa.py_buffer(bits)
        self._stride, self._bits_stride = values.strides[0], bits.strides[0]
        self.nulls: list[int] = nulls.tolist()

    def buffers(self, row: int) -> list[pa.Buffer | None]:
        """Return the bitmap, if there is a null, and the values of a column."""
        stride = self._bits_stride
        valid = self._bits.slice(row * stride, stride) if self.nulls[row] else None
        return [valid, self._values.slice(row * self._stride, self._stride)]


@kernel
def _present(matrix: AnyArray, rows: int, mask: int, null: int) -> tuple[npt.NDArray[np.uint64], I64]:
    """Return Arrow's bitmap of every column and how many nulls it has: values that are `null` in the bits of `mask`.

    A bit per value, least significant first, 1 where it is there.
    """
    bits, nulls = np.empty((len(matrix), (rows + 63) // 64), np.uint64), np.zeros(len(matrix), np.int64)
    for c in range(len(matrix)):
        for word in range(bits.shape[1]):
            start, missing = 64 * word, 0
            stop = min(start + 64, rows)
            for i in range(start, stop):
                missing += (matrix[c, i] & mask) == null
            nulls[c] += missing
            # Whole numbers without sign all along: mixed with others they would become floats.
            there = np.uint64(0)
            if missing == 0:
                there = ~there
            elif missing < stop - start:
                for i in range(start, stop):
                    there |= np.uint64((matrix[c, i] & mask) != null) << np.uint64(i - start)
            bits[c, word] = there
    return bits, nulls
