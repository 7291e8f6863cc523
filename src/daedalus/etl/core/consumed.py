"""Which segments rows were computed from, by what published files say of themselves in their footers."""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from daedalus.etl.core.manifest import inputs_of
from daedalus.etl.transforms.base import Market
from daedalus.shared.filters import FilterSpec
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition, find_partitions
from daedalus.storage.replaced import merged_into

_HOUR = dt.timedelta(hours=1)


def names_consumed(root: Place, market: Market, partition: Partition) -> set[str] | None:
    """Return the names of the partition's segments that rows under `root` were computed from.

    Its rows went into the first output that ends after it begins; without one, nothing was consumed. None: the output
    does not say what it is made from.
    """
    span = FilterSpec(market.exchange, market.symbol, start=partition.start, end=partition.start + _HOUR)
    outputs = find_partitions(root, span) or find_partitions(root, FilterSpec(*_of(market), start=partition.start))
    if not outputs:
        return set()
    keys = keys_consumed(outputs[0])
    folder = f"{partition.path.key}/"
    return None if keys is None else {key.removeprefix(folder) for key in keys if key.startswith(folder)}


def keys_consumed(output: Partition) -> set[str] | None:
    """Return the keys of the segments that an output was made from; None when it does not say."""
    known = [inputs for place in output.segments() if (inputs := inputs_of(place)) is not None]
    return {one.key for inputs in known for one in inputs} if known else None


def not_consumed(listed: Collection[str], consumed: Collection[str]) -> list[str]:
    """Return the names of segments whose rows were not consumed.

    Segments that were merged into one meanwhile (`daedalus compact`) are told by their rows: as many as are gone.
    """
    fresh, gone = set(listed) - set(consumed), set(consumed) - set(listed)
    return sorted(fresh - merged_into(fresh, gone))


def no_longer_there(root: Place, market: Market, since: dt.datetime, inputs: Iterable[Partition]) -> str | None:
    """Return a segment that outputs from a time on were computed from and that is gone; None when all are there.

    Parameters
    ----------
    root, market, since
        Which outputs.
    inputs
        All that there is to compute them from again.
    """
    there: Mapping[str, tuple[str, ...]] = {partition.path.key: partition.names for partition in inputs}
    by_folder: dict[str, set[str]] = defaultdict(set)
    for output in find_partitions(root, FilterSpec(*_of(market), start=since)):
        for key in keys_consumed(output) or ():
            folder, _, name = key.rpartition("/")
            by_folder[folder].add(name)
    for folder, names in by_folder.items():
        listed = set(there.get(folder, ()))
        gone = names - listed
        if gone and not merged_into(listed - names, gone):
            return f"{folder}/{min(gone)}"
    return None


def _of(market: Market) -> tuple[str, str]:
    return market.exchange, market.symbol
