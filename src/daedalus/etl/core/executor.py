"""Drives a transform over the lake: finds partitions, chains the hours of each market, writes what comes out.

Memory: one chunk of each stream (`reading`), the transform's own state and its output for that chunk, and the rows of
one open row group an output. It does not grow with the length of the chain.
"""

import datetime as dt
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.manifest import described
from daedalus.etl.core.planning import Planner, selects
from daedalus.etl.core.report import Chain, Failure, Forecast, Progress, Report
from daedalus.etl.core.standing import Standing, afresh, resumed
from daedalus.etl.core.stretches import Stretch, cut
from daedalus.etl.core.writing import FileFormat, OutputWriter, Written
from daedalus.etl.transforms.base import Market, Output, Rows, StatefulTransform, Streams, Transform, channels_read
from daedalus.etl.utils.state_manager import Checkpoint, StateManager
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import ConfigError, DaedalusError
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition
from daedalus.storage.segments import ReadStats, read_chunks

__all__ = ["Chain", "Failure", "Progress", "Report", "TransformExecutor"]


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
    states
        Where the state of each market is taken up and committed after every published stretch; None: markets start
        afresh, and no state is kept.
    reset_states
        Whether the states of the selected markets are forgotten first.
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
        states: StateManager | None = None,
        reset_states: bool = False,
        clock: Clock | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._transform = transform
        self._mode = target.mode
        self._planner = Planner(transform, source, target)
        self.target, self.states = target, states
        self._reset_states = reset_states
        self._stateful = transform if isinstance(transform, StatefulTransform) else None
        if states is not None and self._stateful is None:
            raise ConfigError(f"{transform.name} carry no state from run to run: leave --state-path out")
        self._clock = clock or SystemClock()
        self._on_progress = on_progress or (lambda progress: None)
        self._form = FileFormat(target.partition_cols, target.compression, target.compression_level, target.mode)

    def run(
        self,
        chosen: FilterSpec,
        limit: int | None = None,
        markets: Sequence[Market] | None = None,
        *,
        closed_until: dt.datetime | None = None,
    ) -> Report:
        """Process what the filter selects.

        Parameters
        ----------
        chosen
            What to process.
        limit
            Rows of each leading input of a market to stop after; None: all. The last partition is then not whole.
        markets
            Only these of the selected markets, for which `check` was called; None: all.
        closed_until
            Rows may still come into what ends later: it is published, and the state stays before it. None: none will.

        Raises
        ------
        ConfigError, NotFoundError
            As `plan`; also if there is a limit and something that it could replace by a part of itself. What goes wrong
            with one market is in the report.
        """
        began = self._clock.monotonic()
        chains = [chain for chain in self._planner.plan(chosen) if markets is None or chain.market in markets]
        if markets is None:
            self._check_targets(chains, chosen, limit)
        report, counter = Report(), _Counter(self._on_progress)
        counter.total = sum(len(partitions) for chain in chains for partitions in self._planner.leading(chain).values())
        for chain in chains:
            counter.market = chain.market
            own, at = Report(), self._clock.monotonic()
            try:
                self._run_chain(_Work(chain, chosen, own, counter.begin, limit, closed_until))
            except DaedalusError as error:
                own.failures.append(Failure(chain.market, error))
            own.settle(chain.market, self._clock.monotonic() - at)
            report.add(own)
        report.seconds = self._clock.monotonic() - began
        return report

    def check(self, chosen: FilterSpec, limit: int | None = None) -> list[Market]:
        """Return the markets that the filter selects, or raise what `run` would raise before it begins."""
        chains = self._planner.plan(chosen)
        self._check_targets(chains, chosen, limit)
        return [chain.market for chain in chains]

    @property
    def is_stateful(self) -> bool:
        """Whether the transform can be put down after any partition and taken up again."""
        return self._stateful is not None

    def stretches(self, chosen: FilterSpec) -> list[tuple[Market, list[Stretch]]]:
        """Return what is published and committed as one step, by market; nothing for a transform without state."""
        if self._stateful is None:
            return [(chain.market, []) for chain in self._planner.plan(chosen)]
        return [(chain.market, self._cut(chain.inputs)) for chain in self._planner.plan(chosen)]

    def stands(self, market: Market) -> Checkpoint | None:
        """Return the newest checkpoint of a market; None if there is none."""
        if self.states is None or self._stateful is None:
            return None
        return self.states.newest(self._stateful.channel, market)

    def forget(self, markets: Sequence[Market]) -> None:
        """Forget the states of markets, if that was asked for."""
        if self.states is not None and self._reset_states and self._stateful is not None:
            for market in markets:
                self.states.reset(self._stateful.channel, market)

    def _cut(self, inputs: Mapping[str, Sequence[Partition]]) -> list[Stretch]:
        leading = next(spec.name for spec in self._transform.inputs if spec.leads)
        return cut(inputs, leading, self._planner.folder)

    def forecast(self, chosen: FilterSpec) -> list[Forecast]:
        """Return what `run` would read and write, by market, without opening an input. Raises as `run`."""
        chains = self._planner.plan(chosen)
        self._check_targets(chains, chosen, None)
        return [self._foreseen(chain, chosen) for chain in chains]

    def _foreseen(self, chain: Chain, chosen: FilterSpec) -> Forecast:
        if self._stateful is None:
            return Forecast(chain.market, chain.inputs, self._planner.targets(chain, chosen), None, [])
        stands = self.standing(chain)
        inputs = {name: [p for one in stands.left for p in one.inputs[name]] for name in chain.inputs}
        state = None if self.states is None else self.states.place(self._stateful.channel, chain.market)
        left = Chain(chain.market, inputs)
        return Forecast(chain.market, inputs, self._planner.targets(left, chosen), state, stands.notes + stands.skipped)

    def _check_targets(self, chains: Sequence[Chain], chosen: FilterSpec, limit: int | None) -> None:
        """Refuse to replace what is there by the first rows of it, or at all where the mode is to refuse."""
        if limit is not None and self.states is not None:
            raise ConfigError(
                "--limit stops in the middle of an hour, which no state can stand at: not with --state-path"
            )
        if self.states is not None and self.states.of_one and len(chains) > 1:
            raise ConfigError(
                f"--state-path {self.states.root} is the state of one market, the filter selects {len(chains)}: give "
                "--exchange and --symbol, or a folder"
            )
        if limit is None and (self._mode != "error" or self.states is not None):
            return
        there = [path for chain in chains for path in self._planner.targets(chain, chosen) if path.exists()]
        if there and self._mode == "error":
            raise ConfigError(f"{there[0]} is there already, and --mode error replaces nothing")
        if there:
            raise ConfigError(
                f"--limit would replace {there[0]} by a part of it: give an --output where nothing is yet"
            )

    def standing(self, chain: Chain) -> Standing:
        """Return what is to be done of a market by its state, without opening an input.

        Raises
        ------
        StateError
            If its state cannot be used, or would have to go back in time.
        """
        transform = self._stateful
        assert transform is not None
        leading = next(spec.name for spec in transform.inputs if spec.leads)
        stretches = self._cut(chain.inputs)
        found = None
        if self.states is not None and not self._reset_states:
            found = self.states.load(transform.channel, chain.market, transform.fingerprint)
        if found is None:
            return afresh(chain.market, stretches)
        stands = resumed(chain.market, stretches, found, self._planner.published)
        if stands.left:
            # What the state has not seen of the streams beside the leading one is read too, selected or not.
            inputs = self._between(chain.market, found[0].until, stands.left[-1].end)
            inputs[leading] = [p for stretch in stands.left for p in stretch.inputs[leading]]
            stands.left = self._cut(inputs)
        return stands

    def _between(self, market: Market, start: dt.datetime, end: dt.datetime) -> dict[str, list[Partition]]:
        """Return the partitions of all inputs of a market in a span of time."""
        span = FilterSpec(market.exchange, market.symbol, start=start, end=end)
        return {spec.name: self._planner.find(spec, span) for spec in self._transform.inputs}

    def _run_chain(self, work: "_Work") -> None:
        """Fold one market. On any error the partition that is being written is given up."""
        chain, transform = work.chain, self._stateful
        for spec in self._transform.inputs:
            if spec.leads and not chain.inputs[spec.name]:
                work.report.notes.append(
                    f"{chain.market}: nothing under {self._planner.input_root(spec)}; its columns stay empty"
                )
        if transform is None:
            work.report.files_needed += _count(chain.inputs)
            self._fold(work, partial(self._transform.run, chain.market), chain.inputs, None)
            return
        stands = self.standing(chain)
        work.report.files_needed += sum(_count(stretch.inputs) for stretch in stands.left)
        work.report.notes += stands.notes
        work.report.skipped += stands.skipped
        self.forget([chain.market])
        fold = transform.begin(chain.market, stands.state)
        began = stands.checkpoint.began if stands.checkpoint else None
        rows = stands.checkpoint.rows if stands.checkpoint else 0
        for stretch in stands.left:
            inputs, made_from = described(stretch.inputs)
            rows += self._fold(work, fold.run, inputs, made_from)
            began = began or stretch.start
            if self.states is not None and (work.closed_until is None or stretch.end <= work.closed_until):
                place = (transform.channel, chain.market, transform.fingerprint)
                reads = channels_read(transform)
                self.states.commit(*place, fold.to_bytes(), began=began, until=stretch.end, rows=rows, reads=reads)
            if work.limit is not None and work.rows_in >= work.limit:
                break

    def _fold(
        self,
        work: "_Work",
        run: Callable[[Streams], Iterator[Rows]],
        inputs: Mapping[str, Sequence[Partition]],
        made_from: str | None,
    ) -> int:
        """Fold partitions into published ones; return how many rows were written."""
        stats = {spec.name: ReadStats() for spec in self._transform.inputs}
        streams = {
            spec.name: read_chunks(
                _segments(inputs[spec.name], work.begin if spec.leads else None), spec.schema, stats[spec.name]
            )
            for spec in self._transform.inputs
        }
        leading = {spec.name for spec in self._transform.inputs if spec.leads}
        if work.limit is not None:
            rest = work.limit - work.rows_in
            streams = {name: _first(s, rest) if name in leading else s for name, s in streams.items()}
        before = work.report.rows_out
        writers = {output.name: self._writer(output, work, made_from) for output in self._transform.outputs}
        try:
            for output, rows in run(streams):
                writers[output.name].add(rows)
            for writer in writers.values():
                writer.finish()
        finally:
            for writer in writers.values():
                writer.discard()
            for stream in streams.values():
                stream.close()
            work.rows_in += sum(stats[name].rows for name in leading)
            work.report.rows_in += sum(stats[name].rows for name in leading)
            work.report.files_opened += sum(stat.files_opened for stat in stats.values())
        return work.report.rows_out - before

    def _writer(self, output: Output, work: "_Work", made_from: str | None) -> OutputWriter:
        def published(written: Written) -> None:
            work.report.written.append(written)
            work.report.rows_out += written.rows

        root = self._planner.output_root() / output.name
        chosen = partial(selects, work.chosen)
        return OutputWriter(root, output, work.chain.market, self._form, chosen, published, made_from)


class _Counter:
    """Counts the leading partitions that begin, over all markets."""

    def __init__(self, show: Callable[[Progress], None]) -> None:
        self._show = show
        self.begun = self.total = 0
        self.market = Market("", "")

    def begin(self, partition: Partition) -> None:
        """Tell that one begins."""
        self.begun += 1
        self._show(Progress(self.begun, self.total, self.market))


@dataclass
class _Work:
    """One market at work: what to read and select, where to count, what to stop after and commit, rows read so far."""

    chain: Chain
    chosen: FilterSpec
    report: Report
    begin: Callable[[Partition], None]
    limit: int | None
    closed_until: dt.datetime | None
    rows_in: int = 0


def _count(inputs: Mapping[str, Sequence[Partition]]) -> int:
    return sum(len(partition.names) for partitions in inputs.values() for partition in partitions)


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
