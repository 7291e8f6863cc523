"""Lazy frames over exact files: Polars sees the paths that the partition keys name, and nothing else."""

import difflib
from collections.abc import Sequence

import polars as pl

from daedalus.shared.errors import CorruptError, NotFoundError, SchemaError
from daedalus.shared.schemas import arrow_schema
from daedalus.storage.base import Place


def lazy_frame(segments: Sequence[Place], channel: str | None = None) -> pl.LazyFrame:
    """Return the rows of some files, in their order. The partition columns stand in the data.

    Where the first and the last file differ in columns, the frame has those of both, null where a file has none.

    Each file is opened once, when the rows are asked for: one that is replaced at that moment is read as it was before
    or as it is afterwards. Polars takes the columns of files whose schema it is not told from a first opening and the
    rows from a second one, between which another file may have come in the place.

    Parameters
    ----------
    segments
        At least one, all of one store.
    channel
        Of bronze: the frame has all its columns, null in files of a version that had fewer.

    Raises
    ------
    CorruptError, NotFoundError
        If the first or the last file is no Parquet file, or gone.
    """
    (rows,) = _scans([segments], channel)
    return rows


def lazy_frames(segments: Sequence[Place], channel: str | None = None) -> list[pl.LazyFrame]:
    """Return the rows of `lazy_frame` file by file, all with its columns: to go through them in bounded memory.

    Polars reads ahead over the files of one frame, as far as it finds time.
    """
    return _scans([[place] for place in segments], channel)


def _scans(groups: Sequence[Sequence[Place]], channel: str | None) -> list[pl.LazyFrame]:
    """Return a frame for each group of files."""
    first, last = _ends([groups[0][0], groups[-1][-1]])
    declared = {} if channel is None else _declared(channel)
    return [
        pl.scan_parquet(
            [str(place) for place in group],
            glob=False,
            hive_partitioning=False,
            schema=pl.Schema({**declared, **last, **first}),
            # Which of the files in between are of an older version of a channel is not known.
            missing_columns="raise" if channel is None and first == last else "insert",
            storage_options=_options(group[0]),
        )
        for group in groups
    ]


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


def _ends(segments: Sequence[Place]) -> tuple[pl.Schema, pl.Schema]:
    return _columns(segments[0]), _columns(segments[-1])


def _columns(place: Place) -> pl.Schema:
    frame = pl.scan_parquet(str(place), glob=False, hive_partitioning=False, storage_options=_options(place))
    try:
        return frame.collect_schema()
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {place}") from None
    except pl.exceptions.ComputeError as error:
        raise CorruptError(f"{place} cannot be read as Parquet: {error}") from error


def _declared(channel: str) -> pl.Schema:
    return pl.DataFrame(arrow_schema(channel).empty_table()).schema


def _options(place: Place) -> dict[str, str] | None:
    return place.storage.scan_options() or None
