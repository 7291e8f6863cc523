"""Where a rebuild of books has to begin: at the newest partition that holds a whole book before the start."""

from collections.abc import Sequence

from daedalus.storage.partitions import Partition
from daedalus.storage.segments import footers


def from_snapshot(partitions: Sequence[Partition], start: int | None) -> Sequence[Partition]:
    """Return the partitions of a market's `l2` from the newest on that holds a snapshot not after `start`.

    Footers tell, so nothing is decoded. All are returned when there is no such snapshot, or no start.

    Parameters
    ----------
    partitions
        By time.
    start
        Receive clock, ns.
    """
    if start is None:
        return partitions
    for at in range(len(partitions) - 1, -1, -1):
        if _has_snapshot(partitions[at], start):
            return partitions[at:]
    return partitions


def _has_snapshot(partition: Partition, start: int) -> bool:
    """Return whether a row group that ends before an instant, or at it, holds a snapshot for sure."""
    for metadata in footers(partition):
        names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
        whole, clock = names.index("is_snapshot"), names.index("collected_at")
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            marks, times = group.column(whole).statistics, group.column(clock).statistics
            if marks is None or times is None or not (marks.has_min_max and times.has_min_max):
                continue
            if marks.max and times.max <= start:
                return True
    return False
