"""Which segments a watcher still needs, so that nobody removes them before their rows are in silver for good."""

from pathlib import Path

from daedalus.etl.core.config import PROCESSED
from daedalus.etl.core.consumed import names_consumed, not_consumed
from daedalus.etl.transforms.base import Market
from daedalus.etl.utils.state_manager import Head, StateManager
from daedalus.shared.events import ALL
from daedalus.shared.filters import FilterSpec
from daedalus.shared.partitioning import parse_partition_path
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition, find_partitions, time_span


class NeededSegments:
    """Tells whether a segment of a lake is needed by the watcher of its source.

    It is when a market whose features follow the channel has not consumed it, or its hour is not over yet: open hours
    are computed again from their segments. A silver file is needed as long as segments of its hour are here: its
    footer says which of them were consumed. What no state is kept of needs nothing.

    Parameters
    ----------
    lake
        Where bronze is.
    ready
        Key of the folder of sealed segments, such as ``raw/ready``.
    states
        Folder of the watchers' states, one folder a source.
    silver
        Where silver is, if it is not in the same lake: ``processed/{source}/{table}/{tier}`` below it.
    tier
        Folder of silver.
    """

    def __init__(self, lake: Place, ready: str, states: Path, silver: Place, tier: str) -> None:
        self._lake, self._ready, self._states = lake, f"{ready}/", states
        self._silver, self._tier = silver, tier
        self._folder = ""
        self._free: set[str] | None = None

    def __call__(self, key: str) -> bool:
        """Return whether the file under a key is needed. Keys of one folder after the other are cheapest."""
        if key.startswith(f"{PROCESSED}/"):
            return self._has_bronze(key)
        if not key.startswith(self._ready):
            return False
        folder, _, name = key.rpartition("/")
        if folder != self._folder:
            self._free, self._folder = self._free_in(folder), folder
        # What came since the folder was looked at is needed until it is looked at again.
        return self._free is not None and name not in self._free

    def _has_bronze(self, key: str) -> bool:
        """Return whether segments are here whose hour a silver file is of: it tells that they were consumed."""
        values = parse_partition_path(key)
        if "exchange" not in values:
            return False
        _, source, table, *_ = key.split("/")
        start, end = time_span(values)
        for head in self._heads(self._states / source, None, values):
            span = FilterSpec(head.exchange, head.symbol, start=start, end=end)
            roots = (self._bronze(source, channel) for channel in head.checkpoints[0].reads)
            if head.transform == table and any(find_partitions(root, span) for root in roots):
                return True
        return False

    def _bronze(self, source: str, channel: str) -> Place:
        return self._lake / self._ready.rstrip("/") / source / channel

    def _output(self, source: str, table: str) -> Place:
        below = f"{PROCESSED}/{source}/{table}/{self._tier}"
        return self._lake / below if (self._lake / below).folders() else self._silver / below

    def _free_in(self, folder: str) -> set[str] | None:
        """Return the segments in a folder that are not needed; None: no watcher is concerned."""
        source, channel, *_ = folder.removeprefix(self._ready).split("/")
        values = parse_partition_path(folder)
        heads = self._heads(self._states / source, channel, values)
        if not heads:
            return None
        found = self._partition(self._bronze(source, channel), folder, values)
        if found is None:
            return set()
        free = set(found.names)
        for head in heads:
            free -= _needed_by(head, self._output(source, head.transform), found)
        return free

    def _heads(self, states: Path, channel: str | None, values: dict[str, str | int]) -> list[Head]:
        """Return the states that a partition concerns, of transforms that read the channel; None: any."""
        if not states.is_dir() or not {"exchange", "symbol"} <= values.keys():
            return []
        heads = (head for _, head in StateManager(states).heads())
        return [h for h in heads if channel in (None, *h.checkpoints[0].reads) and _concerns(h.market, values)]

    def _partition(self, root: Place, folder: str, values: dict[str, str | int]) -> Partition | None:
        start, end = time_span(values)
        span = FilterSpec(str(values["exchange"]), str(values["symbol"]), start=start, end=end)
        return next((p for p in find_partitions(root, span) if p.path.key == folder), None)


def _needed_by(head: Head, root: Place, partition: Partition) -> set[str]:
    if partition.end > head.checkpoints[0].until:
        return set(partition.names)
    consumed = names_consumed(root, head.market, partition)
    return set() if consumed is None else set(not_consumed(partition.names, consumed))


def _concerns(market: Market, values: dict[str, str | int]) -> bool:
    return market.exchange == values["exchange"] and values["symbol"] in (market.symbol, ALL)
