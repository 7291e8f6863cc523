"""Files that were merged into others (`daedalus compact`) after they were listed: where their rows are now."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from daedalus.shared.errors import NotFoundError, SchemaError
from daedalus.shared.segment import SegmentName
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition, tables_in

#: How often a folder is listed anew at most, for one that changes again and again.
TRIES = 5

_T = TypeVar("_T")


def looked_again(look: Callable[[], _T], *errors: type[Exception]) -> _T:
    """Return what a function gives that lists files and then reads them.

    Parameters
    ----------
    errors
        What it raises when files were replaced or merged between the two: it is called again, `TRIES` times in all.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(*errors):
            return look()
    return look()


def relisted(partition: Partition) -> Partition:
    """Return a partition with the files that hold its rows now. Raises as `names_now`."""
    names = names_now(partition.path, partition.names)
    sizes = tables_in(partition.path)
    return dataclasses.replace(partition, names=names, sizes=tuple(sizes.get(name, 0) for name in names))


def names_now(folder: Place, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names under which the rows of files are in a folder now, sorted.

    Segments are known by their rows. Silver is what its folder holds: what replaces its files has the same rows.

    Raises
    ------
    NotFoundError
        If a segment is gone and none is there that holds its rows.
    """
    there = set(tables_in(folder))
    gone = set(names) - there
    if there and not all(map(SegmentName.is_one, names)):
        return tuple(sorted(there))
    merged = merged_into(there - set(names), gone)
    if gone and not merged:
        raise NotFoundError(
            f"{folder / min(gone)} is gone since it was listed, and no segment beside it holds its rows. If it was "
            "moved or deleted, bring it back; then run this again"
        )
    return tuple(sorted(set(names) - gone | merged))


def merged_into(fresh: Collection[str], gone: Collection[str]) -> set[str]:
    """Return the names among those that are new which took the place of those that are gone: by how many rows they are.

    All of them together, or one beside others that came meanwhile; none when no rows match.
    """
    try:
        wanted = sum(map(_rows, gone))
        if wanted and sum(map(_rows, fresh)) == wanted:
            return set(fresh)
        alike = [name for name in fresh if _rows(name) == wanted]
    except SchemaError:
        return set()
    return set(alike) if len(alike) == 1 else set()


def _rows(name: str) -> int:
    parsed = SegmentName.parse(name)
    return parsed.last_row - parsed.first_row + 1
