"""Packed levels and changes (`events`) to Arrow and back, without a Python loop over them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daedalus.shared.events import LEVEL, NO_TIME

#: A packed change as a NumPy record, field by field that of `events.CHANGE`.
CHANGE_RECORD = np.dtype([("timestamp", "<i8"), ("side", "i1"), ("price", "<f8"), ("size", "<f8")])


def levels_array(packed: Sequence[bytes]) -> pa.ListArray:
    """Return packed sides of books as list<struct<price, size>>, a row each."""
    offsets = np.zeros(len(packed) + 1, np.int32)
    np.cumsum([len(p) // LEVEL.size for p in packed], out=offsets[1:])
    flat = np.frombuffer(b"".join(packed), "<f8").reshape(-1, 2)
    price, size = (pa.array(np.ascontiguousarray(flat[:, i])) for i in (0, 1))
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([price, size], ["price", "size"]))


def packed_levels(column: pa.ListArray) -> list[bytes]:
    """Return the rows of a column of levels, packed; a null is no level."""
    values = column.flatten()  # without what null rows may hide
    flat = np.column_stack([values.field(i).to_numpy(zero_copy_only=False) for i in (0, 1)]).astype("<f8")
    ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)) * LEVEL.size
    data = flat.tobytes()
    return [data[start:end] for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=False)]


def packed_changes(table: pa.Table) -> bytes:
    """Return rows of `l2` as packed changes, `CHANGE_RECORD.itemsize` bytes each."""
    changes = np.empty(table.num_rows, CHANGE_RECORD)
    times = table["timestamp"].cast(pa.int64()).fill_null(NO_TIME)
    changes["timestamp"] = times.to_numpy()
    changes["side"] = pc.equal(table["side"], "ask").to_numpy()
    changes["price"], changes["size"] = table["price"].to_numpy(), table["size"].to_numpy()
    return changes.tobytes()
