"""Cutting the partitions of a market into stretches: what is folded, published and committed as one step."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from daedalus.shared.partitioning import PartitionKey
from daedalus.storage.partitions import Partition

_HOUR_NS = 3_600_000_000_000


@dataclass
class Stretch:
    """The leading partitions of one output partition, and what is read beside them.

    Parameters
    ----------
    start, end
        The span of receive time, UTC: of the leading partitions.
    inputs
        Partitions to read, by the name of the input.
    """

    start: dt.datetime
    end: dt.datetime
    inputs: dict[str, list[Partition]] = field(default_factory=dict)


def cut(
    inputs: Mapping[str, Sequence[Partition]], leading: str, folder_of: Callable[[PartitionKey], str]
) -> list[Stretch]:
    """Return the stretches of a market, in order.

    Neighbouring leading partitions whose rows go into the same output folder are one stretch. A partition of another
    input belongs to the first stretch that ends after it begins; what begins after the last one is left out.
    """
    stretches: list[Stretch] = []
    folder = ""
    for partition in inputs[leading]:
        keys = list(hours(partition))
        if not stretches or folder_of(keys[0]) != folder:
            stretches.append(Stretch(partition.start, partition.end, {name: [] for name in inputs}))
        stretches[-1].inputs[leading].append(partition)
        stretches[-1].end, folder = partition.end, folder_of(keys[-1])
    for name, partitions in inputs.items():
        for partition in partitions if name != leading else ():
            taker = next((one for one in stretches if partition.start < one.end), None)
            if taker is not None:
                taker.inputs[name].append(partition)
    return stretches


def holes(stretches: Iterable[Stretch], since: dt.datetime | None) -> list[tuple[dt.datetime, dt.datetime]]:
    """Return the spans in which no leading partition is, between stretches and after what was seen `since` then."""
    found = []
    for stretch in stretches:
        if since is not None and stretch.start > since:
            found.append((since, stretch.start))
        since = stretch.end
    return found


def hours(partition: Partition) -> Iterable[PartitionKey]:
    """Yield the keys of the hours that a partition spans."""
    ns = int(partition.start.timestamp()) * 1_000_000_000
    for _ in range(int((partition.end - partition.start).total_seconds()) // 3600):
        yield PartitionKey.of(partition.exchange, partition.symbol, ns)
        ns += _HOUR_NS
