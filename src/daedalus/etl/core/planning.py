"""Where a transform finds its inputs and puts its outputs, by a filter; no file is opened."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.replacing import appended
from daedalus.etl.core.report import Chain
from daedalus.etl.core.stretches import Stretch, hours
from daedalus.etl.transforms.base import Input, Market, Transform
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import ALL
from daedalus.shared.partitioning import PartitionKey
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition, find_partitions, nothing_found


class Planner:
    """Finds the partitions of a transform.

    Parameters
    ----------
    transform
        What is to be computed.
    source, target
        Where to read and write.
    """

    def __init__(self, transform: Transform, source: InputConfig, target: OutputConfig) -> None:
        self._transform = transform
        self._source = source
        self._target = target

    def plan(self, chosen: FilterSpec) -> list[Chain]:
        """Return what `run` would read, by market, without opening a file.

        Raises
        ------
        ConfigError
            If the filter selects nothing (the message says what there is), or part of an output partition.
        NotFoundError
            If there is nothing to select from.
        """
        found = {spec.name: self.find(spec, chosen) for spec in self._transform.inputs}
        leading = [spec.name for spec in self._transform.inputs if spec.leads]
        markets = sorted({(p.exchange, p.symbol) for name in leading for p in found[name] if _is_selected(p, chosen)})
        if not markets:
            roots = [self.input_root(spec) for spec in self._transform.inputs if spec.leads]
            raise nothing_found(next((root for root in roots if root.folders()), roots[0]), chosen)
        chains = []
        for exchange, symbol in markets:
            own = {
                spec.name: [
                    p
                    for p in found[spec.name]
                    if p.exchange == exchange and (p.symbol == symbol or (spec.with_all and p.symbol == ALL))
                ]
                for spec in self._transform.inputs
            }
            chains.append(Chain(Market(exchange, symbol), own))
        for chain in chains:
            self._check_whole(chain, chosen)
        return chains

    def targets(self, chain: Chain, chosen: FilterSpec) -> list[Place]:
        """Return the files that a chain may write, sorted; a few at the edges may turn out to have no rows."""
        keys = {key for partitions in self.leading(chain).values() for p in partitions for key in hours(p)}
        folders = {key.path(self._target.partition_cols) for key in keys if selects(chosen, key)}
        return self._files(folders)

    def folder(self, key: PartitionKey) -> str:
        """Return the folder of an output that the hour of a key goes into."""
        return key.path(self._target.partition_cols)

    def published(self, stretch: Stretch) -> list[Place]:
        """Return the files of a stretch that are there."""
        leading = next(spec.name for spec in self._transform.inputs if spec.leads)
        folders = {self.folder(key) for p in stretch.inputs[leading] for key in hours(p)}
        return [place for target in self._files(folders) for place in (target, *appended(target)) if place.exists()]

    def _files(self, folders: Iterable[str]) -> list[Place]:
        root = self.output_root()
        places = (root / out.name / folder / out.file_name for out in self._transform.outputs for folder in folders)
        return sorted(places, key=str)

    def find(self, spec: Input, chosen: FilterSpec) -> list[Partition]:
        """Return the partitions of an input that the filter selects, with the transform's margin around them."""
        root, margin = self.input_root(spec), self._transform.margin
        selected = find_partitions(root, chosen)
        if spec.with_all and chosen.symbol is not None:
            selected += find_partitions(root, dataclasses.replace(chosen, symbol=ALL))
        if not margin or not selected:
            return selected
        there = find_partitions(root, FilterSpec(exchange=chosen.exchange, symbol=chosen.symbol))
        return _with_margin(there, set(selected), margin)

    def _check_whole(self, chain: Chain, chosen: FilterSpec) -> None:
        """Refuse to replace an output partition, a day say, with the part of it that the filter selects."""
        if "hour" in self._target.partition_cols:
            return
        market = FilterSpec(chain.market.exchange, chain.market.symbol)
        columns = self._target.partition_cols
        for spec in (spec for spec in self._transform.inputs if spec.leads):
            keys = [key for p in find_partitions(self.input_root(spec), market) for key in hours(p)]
            chosen_paths = {key.path(columns) for key in keys if selects(chosen, key)}
            left_out = [key for key in keys if not selects(chosen, key) and key.path(columns) in chosen_paths]
            if left_out:
                lost = left_out[0]
                raise ConfigError(
                    f"{chosen.describe()} selects a part of {lost.path(columns)}, which is replaced as a whole: the"
                    f" hour {lost.start:%Y-%m-%dT%H} would be lost. Widen the filter, or add hour to partition_cols"
                )

    def leading(self, chain: Chain) -> dict[str, list[Partition]]:
        """Return the partitions of the leading inputs of a market."""
        return {spec.name: chain.inputs[spec.name] for spec in self._transform.inputs if spec.leads}

    def input_root(self, spec: Input) -> Place:
        """Return the folder of an input."""
        return self._source.bronze(spec.channel) if spec.layer == "bronze" else self._source.silver(spec.channel)

    def output_root(self) -> Place:
        """Return the folder of the outputs."""
        transform = self._transform
        return self._target.gold() if transform.layer == "gold" else self._target.silver(transform.channel)


def _is_selected(partition: Partition, chosen: FilterSpec) -> bool:
    return chosen.selects(partition.exchange, partition.symbol, partition.start, partition.end)


def selects(chosen: FilterSpec, key: PartitionKey) -> bool:
    """Return whether the filter selects the hour of a key."""
    return chosen.selects(key.exchange, key.symbol, key.start, key.start + dt.timedelta(hours=1))


def _with_margin(there: Sequence[Partition], selected: set[Partition], margin: int) -> list[Partition]:
    """Return the selected partitions and up to `margin` neighbours of the same market on each side of each."""
    wanted = set()
    for at, partition in enumerate(there):
        if partition in selected:
            near = there[max(0, at - margin) : at + margin + 1]
            wanted |= {p for p in near if (p.exchange, p.symbol) == (partition.exchange, partition.symbol)}
    return [p for p in there if p in wanted]
