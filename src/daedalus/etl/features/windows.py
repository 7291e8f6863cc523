"""What the families over time windows share on the Python side: driving a kernel that may ask for a longer ring."""

from collections.abc import Callable

from daedalus.etl.features.base import Arrays, Field
from daedalus.etl.features.state import grow_rings


def drive(family: str, arrays: Arrays, fields: tuple[Field, ...], rows: int, walk: Callable[[int], int]) -> None:
    """Run a kernel over a chunk, doubling the rings whenever they cannot take one more row.

    Parameters
    ----------
    walk
        Calls the kernel from the given row on and returns the row that it could not take, or `rows`. It must read the
        arrays anew at every call. Eviction comes before the check and is idempotent, so calling again is exact.
    """
    done = walk(0)
    while done < rows:
        grow_rings(family, arrays, fields)
        done = walk(done)
