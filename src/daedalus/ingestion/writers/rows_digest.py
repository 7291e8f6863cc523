"""A fingerprint of rows, for telling whether two files in different formats hold the same ones."""

import hashlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class RowsDigest:
    """Folds batches into a digest that does not depend on how the rows were cut into batches.

    Floats count by their bits, so that -0.0 is not 0.0 and NaN is NaN. Columns count by name, whatever their order.

    Attributes
    ----------
    rows
        How many were added.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._streams: dict[str, _Hash] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows."""
        self.rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for stream, data in _parts(name, column).items():
                self._streams.setdefault(stream, hashlib.blake2b(digest_size=16)).update(data)

    def value(self) -> str:
        """Return the digest of all rows so far."""
        each = "".join(f"{name} {stream.hexdigest()}\n" for name, stream in sorted(self._streams.items()))
        return hashlib.blake2b(f"{self.rows}\n{each}".encode(), digest_size=16).hexdigest()


def _parts(name: str, column: pa.Array) -> Mapping[str, bytes]:
    """Return the streams of bytes that determine a column: nulls, lengths and values apart from each other."""
    found = {f"{name}:valid": _bytes(column.is_valid())}
    if pa.types.is_list(column.type):
        found[f"{name}:lengths"] = _bytes(column.value_lengths().fill_null(0))
        levels = column.flatten()
        for field, child in zip(levels.type, levels.flatten(), strict=True):
            found.update(_parts(f"{name}.{field.name}", child))
    elif pa.types.is_string(column.type):
        filled = column.fill_null("")
        found[f"{name}:lengths"] = _bytes(pc.binary_length(filled))
        found[f"{name}:values"] = "".join(filled.to_pylist()).encode()
    else:
        found[f"{name}:values"] = _bytes(_numbers(column))
    return found


def _numbers(column: pa.Array) -> pa.Array:
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int32() if pa.types.is_date(column.type) else pa.int64())
    return column.fill_null(pa.scalar(0, pa.int8()).cast(column.type))


def _bytes(column: pa.Array) -> bytes:
    values: bytes = np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes()
    return values
