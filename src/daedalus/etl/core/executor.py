"""Drives a transform over the lake: finds partitions, chains the hours of each market, writes what comes out.

Memory: one chunk of each stream (`reading`), the transform's own state and its output for that chunk, and the rows of
one open row group an output. It does not grow with the length of the chain.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.partitions import Partition, find_partitions, nothing_found
from daedalus.etl.core.reading import ReadStats, read_chunks
from daedalus.etl.core.writing import FileFormat, OutputWriter, Written
from daedalus.etl.transforms.base import Input, Market, Transform
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import ConfigError, DaedalusError
from daedalus.shared.events import ALL
from daedalus.shared.partitioning import PartitionKey
from daedalus.storage.base import Place

_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True)
class Chain:
    """The partitions of one market, in order, that are folded one after the other.

    Parameters
    ----------
    market
        Whose they are.
    inputs
        Partitions to read, by the name of the input.
    """

    market: Market
    inputs: dict[str, list[Partition]]


@dataclass(frozen=True)
class Failure:
    """A market that could not be finished, and why. Partitions that were published before stand."""

    market: Market
    error: DaedalusError


@dataclass
class Report:
    """What a run did.

    Attributes
    ----------
    written
        Published partitions.
    rows_in, rows_out
        Rows read from the leading inputs, rows written.
    files_opened
        Input files opened; no file is opened twice.
    seconds
        Wall time.
    failures
        Markets that failed.
    notes
        What the user should know, such as an input that is missing.
    """

    written: list[Written] = field(default_factory=list)
    rows_in: int = 0
    rows_out: int = 0
    files_opened: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """How far a run is: leading partitions begun, of how many, and the market at hand."""

    begun: int
    total: int
    market: Market


class TransformExecutor:
    """Runs one transform over the partitions that a filter selects.

    The hours of a market are folded in order, with the state carried over; an hour that is missing in between is for
    the transform to notice by the times of its rows. Markets are independent: one that fails does not stop the others.

    Parameters
    ----------
    transform
        What to compute.
    source, target
        Where to read and write.
    clock
        For the elapsed time.
    on_progress
        Called when a leading partition begins.
    """

    def __init__(
        self,
        transform: Transform,
        source: InputConfig,
        target: OutputConfig,
        *,
        clock: Clock | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._transform = transform
        self._source = source
        self._target = target
        self._clock = clock or SystemClock()
        self._on_progress = on_progress or (lambda progress: None)
        self._form = FileFormat(target.partition_cols, target.compression, target.compression_level)

    def plan(self, chosen: FilterSpec) -> list[Chain]:
        """Return what `run` would read, by market, without opening a file.

        Raises
        ------
        ConfigError
            If the filter selects nothing (the message says what there is), or part of an output partition.
        NotFoundError
            If there is nothing to select from.
        """
        found = {spec.name: self._find(spec, chosen) for spec in self._transform.inputs}
        leading = [spec.name for spec in self._transform.inputs if spec.leads]
        markets = sorted({(p.exchange, p.symbol) for name in leading for p in found[name] if _is_selected(p, chosen)})
        if not markets:
            roots = [self._input_root(spec) for spec in self._transform.inputs if spec.leads]
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
        keys = {key for partitions in self._leading(chain).values() for p in partitions for key in _hours(p)}
        folders = {key.path(self._target.partition_cols) for key in keys if _selects(chosen, key)}
        root = self._output_root()
        places = (root / out.name / folder / out.file_name for out in self._transform.outputs for folder in folders)
        return sorted(places, key=str)

    def run(self, chosen: FilterSpec, limit: int | None = None) -> Report:
        """Process what the filter selects.

        Parameters
        ----------
        chosen
            What to process.
        limit
            Rows of each leading input of a market to stop after; None: all. The last partition is then not whole.

        Raises
        ------
        ConfigError, NotFoundError
            As `plan`; also if there is a limit and something that it could replace by a part of itself. What goes wrong
            with one market is in the report.
        """
        began = self._clock.monotonic()
        chains = self.plan(chosen)
        if limit is not None:
            self._check_nothing_lost(chains, chosen)
        report = Report()
        total = sum(len(partitions) for chain in chains for partitions in self._leading(chain).values())
        begun = 0
        for chain in chains:

            def begin(partition: Partition, market: Market = chain.market) -> None:
                nonlocal begun
                begun += 1
                self._on_progress(Progress(begun, total, market))

            try:
                self._run_chain(chain, chosen, report, begin, limit)
            except DaedalusError as error:
                report.failures.append(Failure(chain.market, error))
        report.seconds = self._clock.monotonic() - began
        return report

    def _check_nothing_lost(self, chains: Sequence[Chain], chosen: FilterSpec) -> None:
        """Refuse to replace what is there by the first rows of it."""
        there = [path for chain in chains for path in self.targets(chain, chosen) if path.exists()]
        if there:
            raise ConfigError(
                f"--limit would replace {there[0]} by a part of it: give an --output where nothing is yet"
            )

    def _run_chain(
        self,
        chain: Chain,
        chosen: FilterSpec,
        report: Report,
        begin: Callable[[Partition], None],
        limit: int | None = None,
    ) -> None:
        """Fold one market. On any error the partition that is being written is given up."""
        for spec in self._transform.inputs:
            if spec.leads and not chain.inputs[spec.name]:
                report.notes.append(f"{chain.market}: nothing under {self._input_root(spec)}; its columns stay empty")
        stats = {spec.name: ReadStats() for spec in self._transform.inputs}
        streams = {
            spec.name: read_chunks(
                _segments(chain.inputs[spec.name], begin if spec.leads else None), spec.schema, stats[spec.name]
            )
            for spec in self._transform.inputs
        }
        if limit is not None:
            leading = {spec.name for spec in self._transform.inputs if spec.leads}
            streams = {n: _first(s, limit) if n in leading else s for n, s in streams.items()}
        writers = {
            output.name: self._writer(output.name, chain.market, chosen, report) for output in self._transform.outputs
        }
        try:
            for output, rows in self._transform.run(chain.market, streams):
                writers[output.name].add(rows)
            for writer in writers.values():
                writer.finish()
        finally:
            for writer in writers.values():
                writer.discard()
            for stream in streams.values():
                stream.close()
            report.rows_in += sum(stats[spec.name].rows for spec in self._transform.inputs if spec.leads)
            report.files_opened += sum(stat.files_opened for stat in stats.values())

    def _writer(self, name: str, market: Market, chosen: FilterSpec, report: Report) -> OutputWriter:
        def published(written: Written) -> None:
            report.written.append(written)
            report.rows_out += written.rows

        output = next(output for output in self._transform.outputs if output.name == name)
        root = self._output_root() / name
        return OutputWriter(root, output, market, self._form, lambda key: _selects(chosen, key), published)

    def _find(self, spec: Input, chosen: FilterSpec) -> list[Partition]:
        """Return the partitions of an input that the filter selects, with the transform's margin around them."""
        root, margin = self._input_root(spec), self._transform.margin
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
            keys = [key for p in find_partitions(self._input_root(spec), market) for key in _hours(p)]
            chosen_paths = {key.path(columns) for key in keys if _selects(chosen, key)}
            left_out = [key for key in keys if not _selects(chosen, key) and key.path(columns) in chosen_paths]
            if left_out:
                lost = left_out[0]
                raise ConfigError(
                    f"{chosen.describe()} selects a part of {lost.path(columns)}, which is replaced as a whole: the"
                    f" hour {lost.start:%Y-%m-%dT%H} would be lost. Widen the filter, or add hour to partition_cols"
                )

    def _leading(self, chain: Chain) -> dict[str, list[Partition]]:
        return {spec.name: chain.inputs[spec.name] for spec in self._transform.inputs if spec.leads}

    def _input_root(self, spec: Input) -> Place:
        return self._source.bronze(spec.channel) if spec.layer == "bronze" else self._source.silver(spec.channel)

    def _output_root(self) -> Place:
        transform = self._transform
        return self._target.gold() if transform.layer == "gold" else self._target.silver(transform.channel)


def _segments(partitions: Sequence[Partition], begin: Callable[[Partition], None] | None) -> Iterator[Sequence[Place]]:
    """Yield the segments of each partition when its turn comes."""
    for partition in partitions:
        if begin is not None:
            begin(partition)
        yield partition.segments()


def _first(chunks: Generator[pa.Table, None, None], limit: int) -> Generator[pa.Table, None, None]:
    """Yield the first rows of a stream."""
    try:
        for table in chunks:
            yield table.slice(0, limit)
            limit -= table.num_rows
            if limit <= 0:
                return
    finally:
        chunks.close()


def _is_selected(partition: Partition, chosen: FilterSpec) -> bool:
    return chosen.selects(partition.exchange, partition.symbol, partition.start, partition.end)


def _selects(chosen: FilterSpec, key: PartitionKey) -> bool:
    """Return whether the filter selects the hour of a key."""
    return chosen.selects(key.exchange, key.symbol, key.start, key.start + dt.timedelta(hours=1))


def _hours(partition: Partition) -> Iterator[PartitionKey]:
    """Yield the keys of the hours that a partition spans."""
    ns = int(partition.start.timestamp()) * 1_000_000_000
    for _ in range(int((partition.end - partition.start).total_seconds()) // 3600):
        yield PartitionKey.of(partition.exchange, partition.symbol, ns)
        ns += _HOUR_NS


def _with_margin(there: Sequence[Partition], selected: set[Partition], margin: int) -> list[Partition]:
    """Return the selected partitions and up to `margin` neighbours of the same market on each side of each."""
    wanted = set()
    for at, partition in enumerate(there):
        if partition in selected:
            near = there[max(0, at - margin) : at + margin + 1]
            wanted |= {p for p in near if (p.exchange, p.symbol) == (partition.exchange, partition.symbol)}
    return [p for p in there if p in wanted]
