"""What a feature set carries between chunks, as arrays in memory and as bytes in a checkpoint (S5)."""

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from daedalus.etl.features.base import AnyArray, Arrays, Field
from daedalus.shared.errors import StateError

#: Length of a new ring, rows; a power of two.
RING_ROWS_START = 1024
#: A ring that would need more rows than this is refused: at 20 columns it holds 2.7 GB.
RING_ROWS_MAX = 1 << 24

_MAGIC = b"DAEDSTAT"
_FORMAT = 1
_HEAD = struct.Struct("<8sII")
_DIGEST_BYTES = 32


@dataclass(slots=True)
class State:
    """The arrays of every fold of one feature set and one market. Updated in place by `FeatureSet.apply`.

    Attributes
    ----------
    fingerprint
        Of the feature set that it belongs to.
    arrays
        Field arrays by fold, then by field name.
    """

    fingerprint: str
    arrays: dict[str, Arrays]


def new_arrays(fields: tuple[Field, ...]) -> Arrays:
    """Return the arrays of a fold that has seen nothing: zeros."""
    lengths = {"ring": (RING_ROWS_START,), "queue": (0,), "fixed": ()}
    return {field.name: np.zeros((*lengths[field.kind], *field.shape), field.dtype) for field in fields}


def grow_rings(family: str, arrays: Arrays, fields: tuple[Field, ...]) -> None:
    """Double the rings of a fold; no value and no position changes.

    Raises
    ------
    StateError
        If a ring would exceed `RING_ROWS_MAX` rows.
    """
    for field in fields:
        if field.kind == "ring":
            capacity = 2 * len(arrays[field.name])
            if capacity > RING_ROWS_MAX:
                raise StateError(
                    f"features {family}: more than {RING_ROWS_MAX:,} rows lie within the longest of `horizons`: "
                    "shorten it, or record at a longer interval"
                )
            arrays[field.name] = _placed(_live(arrays, field), _oldest(arrays, field), capacity)


def _oldest(arrays: Arrays, field: Field) -> int:
    """Return the absolute position of the oldest row of a ring that a window still needs."""
    return int(arrays[f"{field.group}tails"].min())


def _live(arrays: Arrays, field: Field) -> AnyArray:
    """Return the rows of a ring that windows still need, oldest first."""
    positions = np.arange(_oldest(arrays, field), int(arrays[f"{field.group}head"][0]))
    ring = arrays[field.name]
    rows: AnyArray = ring[positions & (len(ring) - 1)]
    return rows


def _placed(rows: AnyArray, first: int, capacity: int) -> AnyArray:
    """Return a ring of that capacity that holds the rows from absolute position `first` on."""
    ring = np.zeros((capacity, *rows.shape[1:]), rows.dtype)
    ring[np.arange(first, first + len(rows)) & (capacity - 1)] = rows
    return ring


def state_to_bytes(state: State, layout: dict[str, tuple[Field, ...]]) -> bytes:
    """Serialise a state: header, arrays little-endian, SHA-256 of it all.

    The bytes depend on the rows seen, not on how they were cut into chunks: of a ring only what windows still need is
    written.
    """
    parts: list[AnyArray] = []
    entries: list[list[object]] = []
    for fold, fields in layout.items():
        for field in fields:
            arrays = state.arrays[fold]
            values = _live(arrays, field) if field.kind == "ring" else arrays[field.name]
            entries.append([fold, field.name, list(values.shape)])
            parts.append(values)
    header = json.dumps({"fingerprint": state.fingerprint, "arrays": entries}, separators=(",", ":")).encode()
    body = _HEAD.pack(_MAGIC, _FORMAT, len(header)) + header + b"".join(values.tobytes() for values in parts)
    return body + hashlib.sha256(body).digest()


def state_from_bytes(data: bytes, fingerprint: str, layout: dict[str, tuple[Field, ...]]) -> State:
    """Restore what `state_to_bytes` wrote.

    Raises
    ------
    StateError
        If the bytes are not a state, are damaged, are of another format, or belong to another feature set.
    """
    header, offset = _checked_header(data)
    if header["fingerprint"] != fingerprint:
        raise StateError(
            "the feature state belongs to another configuration or version (fingerprint "
            f"{str(header['fingerprint'])[:12]}, this one is {fingerprint[:12]}): use the configuration that it was "
            "written with, or start afresh"
        )
    shapes = {(fold, name): tuple(shape) for fold, name, shape in header["arrays"]}
    state = State(fingerprint, {})
    for fold, fields in layout.items():
        arrays = new_arrays(fields)
        for field in fields:
            count = int(np.prod(shapes[fold, field.name], dtype=np.int64))
            values = np.frombuffer(data, field.dtype, count, offset).reshape(shapes[fold, field.name])
            arrays[field.name] = values.copy()
            offset += values.nbytes
        _restore_rings(arrays, fields)
        state.arrays[fold] = arrays
    return state


def _restore_rings(arrays: Arrays, fields: tuple[Field, ...]) -> None:
    """Turn the rows that were written of each ring into a ring again."""
    for field in fields:
        if field.kind == "ring":
            rows = arrays[field.name]
            capacity = RING_ROWS_START
            while capacity < len(rows):
                capacity *= 2
            arrays[field.name] = _placed(rows, _oldest(arrays, field), capacity)


def _checked_header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header and where the arrays begin."""
    if len(data) < _HEAD.size + _DIGEST_BYTES or data[: len(_MAGIC)] != _MAGIC:
        raise StateError("these bytes are not a feature state, or only the beginning of one: start afresh")
    _, version, length = _HEAD.unpack_from(data)
    if version != _FORMAT:
        raise StateError(f"the feature state has format {version}, this version reads {_FORMAT}: start afresh")
    if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
        raise StateError("the feature state is damaged (its checksum disagrees): restore a copy, or start afresh")
    header: dict[str, Any] = json.loads(data[_HEAD.size : _HEAD.size + length])
    return header, _HEAD.size + length
