"""The contract of a transform: which streams it folds, which tables it yields. It opens no file and knows no path.

The executor hands a transform the chained streams of one market, hour after hour, and writes what it yields. A
transform must give the same rows however its streams are cut into chunks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from daedalus.shared.schemas import Column, arrow_type

Layer = Literal["bronze", "silver", "gold"]
Streams = Mapping[str, Iterator[pa.Table]]
"""Chunks of each input in receive order. An input of which nothing is recorded is an empty stream."""


@dataclass(frozen=True)
class Market:
    """One symbol of one exchange, both as in the path."""

    exchange: str
    symbol: str

    def __str__(self) -> str:
        return f"{self.exchange} {self.symbol}"


@dataclass(frozen=True)
class Input:
    """A stream that a transform reads.

    Parameters
    ----------
    name
        Key in `Streams`.
    layer, channel
        Where it lives.
    schema
        The columns to decode; `collected_at` is among them.
    leads
        Whether its partitions decide what there is to process; the others are read beside them.
    with_all
        Whether rows of the symbol `ALL` (a whole connection) belong to every market of the exchange.
    """

    name: str
    layer: Layer
    channel: str
    schema: pa.Schema
    leads: bool = False
    with_all: bool = False


@dataclass(frozen=True)
class Output:
    """A table that a transform writes.

    Parameters
    ----------
    name
        Directory under the transform's root, such as ``duration=60``; empty for the root itself.
    file_name
        Name of the one file in each partition.
    columns
        What `schema` declares.
    time_column
        The int64 column (ns since the epoch) whose hour is a row's partition.
    metadata
        Key-value pairs of the Parquet footer, without their prefix.
    """

    name: str
    file_name: str
    columns: tuple[Column, ...]
    time_column: str
    metadata: tuple[tuple[str, str], ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema, each field with its unit and doc."""
        return pa.schema([arrow_field(column) for column in self.columns])


Rows = tuple[Output, pa.RecordBatch]


class Transform(Protocol):
    """Segments in, segments out.

    Attributes
    ----------
    name
        For messages and footers.
    inputs, outputs
        What it reads and writes.
    layer, channel
        Where its outputs live.
    margin
        How many partitions before and after the selected ones it needs to see, to begin and end them rightly.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    layer: Layer
    channel: str
    margin: int

    def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
        """Fold the streams of a market into rows, those of each output in the order of its time column."""


class Fold(Protocol):
    """A transform at work on one market, stretch of the streams after stretch."""

    def run(self, streams: Streams) -> Iterator[Rows]:
        """Fold the next stretch. How the streams are cut into stretches changes no row."""

    def to_bytes(self) -> bytes:
        """Return all that is needed to go on after the last stretch, in another process too."""


@runtime_checkable
class StatefulTransform(Transform, Protocol):
    """A transform whose state can be put down after any stretch and taken up again.

    Attributes
    ----------
    fingerprint
        Of its configuration and code: equal fingerprints, equal rows from equal states.
    """

    fingerprint: str

    def begin(self, market: Market, state: bytes | None = None) -> Fold:
        """Return the fold of a market, from its start or from what `Fold.to_bytes` returned.

        Raises
        ------
        StateError
            If the state is not one of this transform.
        ConfigError
            If the market cannot be computed with this configuration.
        """


def channels_read(transform: Transform) -> list[str]:
    """Return the channels of bronze that a transform reads, sorted."""
    return sorted({spec.channel for spec in transform.inputs if spec.layer == "bronze"})


def arrow_field(column: Column) -> pa.Field:
    """Return the Arrow field of a column, with its unit and meaning as metadata (kept in the Parquet footer)."""
    return pa.field(column.name, arrow_type(column.dtype), metadata={"unit": column.unit, "doc": column.doc})


def constant(value: object, dtype: pa.DataType, rows: int) -> pa.Array:
    """Return a column that holds one value in every row."""
    return pa.repeat(pa.scalar(value, dtype), rows)
