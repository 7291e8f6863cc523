"""Lazy frames over exact files: Polars sees the paths that the partition keys name, and nothing else."""

import difflib
from collections.abc import Sequence

import polars as pl

from daedalus.shared.errors import SchemaError
from daedalus.shared.schemas import arrow_schema
from daedalus.storage.base import Place


def lazy_frame(segments: Sequence[Place], channel: str | None = None) -> pl.LazyFrame:
    """Return the rows of some files, in their order. The partition columns stand in the data.

    Where the first and the last file differ in columns, the frame has those of both, null where a file has none.

    Parameters
    ----------
    segments
        At least one, all of one store.
    channel
        Of bronze: the frame has all its columns, null in files of a version that had fewer.
    """
    schema = _schema(segments, channel)
    return pl.scan_parquet(
        [str(place) for place in segments],
        glob=False,
        hive_partitioning=False,
        schema=schema,
        missing_columns="insert" if schema is not None else "raise",
        storage_options=_options(segments[0]),
    )


def schemas_differ(segments: Sequence[Place], channel: str | None = None) -> bool:
    """Return whether the first and the last of some files have different columns, or not all of a channel's."""
    first, last = _ends(segments)
    return first != last or (channel is not None and not set(_declared(channel)) <= set(first))


def cut(rows: pl.LazyFrame, time: str, start: int | None, end: int | None) -> pl.LazyFrame:
    """Return the rows whose time, int64 ns, is in [start, end); None is no bound."""
    bounds = ([pl.col(time) >= start] if start is not None else []) + ([pl.col(time) < end] if end is not None else [])
    return rows.filter(*bounds) if bounds else rows


def chosen_columns(rows: pl.LazyFrame, columns: Sequence[str] | None, table: str) -> pl.LazyFrame:
    """Return some columns in the order given, all when None.

    Raises
    ------
    SchemaError
        If a table has no such column; it names near ones.
    """
    if columns is None:
        return rows
    known = rows.collect_schema().names()
    for name in columns:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=5)
            hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(known[:20])}"
            raise SchemaError(f"{table} has no column {name!r}: {hint}")
    return rows.select(columns)


def _schema(segments: Sequence[Place], channel: str | None) -> pl.Schema | None:
    """Return the columns of the channel and of the first and the last file together, None where those are the same.

    A channel's are always told: which of the files in between are of an older version is not known.
    """
    first, last = _ends(segments)
    if channel is None:
        return None if first == last else pl.Schema({**last, **first})
    return pl.Schema({**_declared(channel), **last, **first})


def _ends(segments: Sequence[Place]) -> tuple[pl.Schema, pl.Schema]:
    first, last = (
        pl.scan_parquet(
            str(place), glob=False, hive_partitioning=False, storage_options=_options(place)
        ).collect_schema()
        for place in (segments[0], segments[-1])
    )
    return first, last


def _declared(channel: str) -> pl.Schema:
    return pl.DataFrame(arrow_schema(channel).empty_table()).schema


def _options(place: Place) -> dict[str, str] | None:
    return place.storage.scan_options() or None
