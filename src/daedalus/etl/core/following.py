"""One table followed as its inputs grow: an open hour is computed again from the state before it until it is over.

Files are replaced in one step and carry the names of their inputs; the state moves on only when an hour is over. So at
any instant what stands there is what a batch over the same segments gives, and a process that was killed repeats the
open hours into equal rows.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from daedalus.etl.core.config import InputConfig, OutputConfig
from daedalus.etl.core.consumed import names_consumed, no_longer_there, not_consumed
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.core.planning import Planner
from daedalus.etl.core.report import Failure, Progress, Report
from daedalus.etl.transforms.base import Market, StatefulTransform, channels_read
from daedalus.etl.utils.state_manager import StateManager
from daedalus.shared.clock import Clock, utc
from daedalus.shared.errors import ConfigError, DaedalusError, StateError
from daedalus.shared.events import ALL
from daedalus.shared.filters import FilterSpec
from daedalus.shared.partitioning import parse_partition_path
from daedalus.storage.partitions import Partition

LatePolicy = Literal["recompute", "report"]
#: A market that failed is tried again when its segments change, and after so many seconds.
_RETRY_S = 60.0


@dataclass(frozen=True)
class FollowRules:
    """How a table is followed.

    Parameters
    ----------
    late
        What to do about segments of hours that are over: compute again from the last checkpoint before them, or report
        them and leave the rows as they are.
    settle_s
        An hour is over when segments of a later one are there, or by the clock and this long after its newest segment
        was seen.
    """

    late: LatePolicy = "recompute"
    settle_s: float = 60.0


@dataclass
class _Seen:
    """What is known of a market: the state's time, the listings that were looked at, when to try again."""

    until: dt.datetime
    listing: int = 0
    done: tuple[int, dt.datetime] | None = None
    changed_at: float = 0.0
    retry_at: float = 0.0
    known: set[int] = field(default_factory=set)


class Follower:
    """Keeps the rows of one table in step with its inputs.

    Parameters
    ----------
    transform
        What to compute.
    source, target
        Where to read and write.
    states
        Where the state of each market stands; it keeps as many hours to go back to as it keeps checkpoints.
    rules
        When an hour is over, and what to do about what comes later.
    clock
        For the end of hours.
    on_progress
        Called when an hour begins; may raise `KeyboardInterrupt` to give up the one that is being written.

    Raises
    ------
    ConfigError
        If the output's partitions are longer than an hour.
    """

    def __init__(
        self,
        transform: StatefulTransform,
        source: InputConfig,
        target: OutputConfig,
        states: StateManager,
        rules: FollowRules,
        *,
        clock: Clock,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        if "hour" not in target.partition_cols:
            raise ConfigError(
                f"{transform.name} are followed hour by hour: hour must be among the partition_cols of "
                f"etl.channels.{transform.channel}"
            )
        self.table = transform.channel
        self._transform, self._states, self._rules, self._clock = transform, states, rules, clock
        self._planner = Planner(transform, source, target)
        self._executor = TransformExecutor(
            transform, source, target, states=states, clock=clock, on_progress=on_progress
        )
        self._leading = next(spec for spec in transform.inputs if spec.leads)
        self._seen: dict[Market, _Seen] = {}

    def markets(self) -> list[Market]:
        """Return the markets that are recorded, by listing no deeper than their folders."""
        root = self._planner.input_root(self._leading)
        found = []
        for exchange in root.folders():
            for symbol in (root / exchange).folders() if "=" in exchange else ():
                values = parse_partition_path(f"{exchange}/{symbol}")
                if {"exchange", "symbol"} <= values.keys() and values["symbol"] != ALL:
                    found.append(Market(str(values["exchange"]), str(values["symbol"])))
        return found

    def follow(self, market: Market) -> Report:
        """Compute what is new of a market; what goes wrong is in the report."""
        try:
            return self._follow(market)
        except DaedalusError as error:
            return Report.of_failure(market, error)

    def look_for_late(self, market: Market) -> Report:
        """Look for segments of hours that are over and that were not consumed, and act by the policy."""
        report = Report()
        try:
            self._look_for_late(market, report)
        except DaedalusError as error:
            report.failures.append(Failure(market, error))
        return report

    def _follow(self, market: Market) -> Report:
        seen = self._known(market)
        inputs = self._inputs(market, seen.until, None) if seen else {}
        if seen is None or not inputs[self._leading.name]:
            return Report()
        listing, now = hash(tuple(_mark(p) for partitions in inputs.values() for p in partitions)), self._now()
        if listing != seen.listing:
            seen.listing, seen.changed_at, seen.retry_at = listing, now, 0.0
        closed = self._closed_until(inputs[self._leading.name], seen)
        if now < seen.retry_at or (listing, closed) == seen.done:
            return Report()
        seen.retry_at = now + _RETRY_S
        self._check_whole(market, seen.until)
        chosen = FilterSpec(market.exchange, market.symbol, start=seen.until)
        report = self._executor.run(chosen, markets=[market], closed_until=closed)
        if not report.failures:
            seen.done, seen.retry_at = (listing, closed), 0.0
        seen.until = self._until(market) or seen.until
        return report

    def _closed_until(self, leading: Sequence[Partition], seen: _Seen) -> dt.datetime:
        """Return the time before which no more rows are expected."""
        last = leading[-1]
        is_quiet = self._now() - seen.changed_at >= self._rules.settle_s
        return last.end if is_quiet and last.end <= utc(self._clock.now_ns()) else last.start

    def _look_for_late(self, market: Market, report: Report) -> None:
        seen = self._known(market)
        if seen is None:
            return
        before = self._inputs(market, None, seen.until)
        late = [(p, names) for ps in before.values() for p in ps if (names := self._late_names(market, p, seen))]
        if not late:
            return
        earliest = min(partition.start for partition, _ in late)
        why = self._go_back(market, seen, earliest) if self._rules.late == "recompute" else "left as it is by --late"
        for partition, names in late:
            what = f"{market} {partition.start:%Y-%m-%dT%H}: {len(names)} late, {partition.path / names[0]}"
            seen.known.add(_mark(partition))
            if why is None:
                report.notes.append(f"{what}: computed again from the checkpoint before")
            else:
                report.skipped.append(f"{what}: {why}")

    def _late_names(self, market: Market, partition: Partition, seen: _Seen) -> list[str]:
        if (mark := _mark(partition)) in seen.known:
            return []
        consumed = names_consumed(self._planner.output_root(), market, partition)
        names = [] if consumed is None else not_consumed(partition.names, consumed)
        if not names:
            seen.known.add(mark)
        return names

    def _go_back(self, market: Market, seen: _Seen, upto: dt.datetime) -> str | None:
        """Put the state back to the last checkpoint before a time; return why that cannot be, or None."""
        found = self._states.load(self.table, market, self._transform.fingerprint, upto=upto)
        if found is None:
            return "no checkpoint is kept from before it; compute it again with `daedalus features --reset-state`"
        since = found[0].until
        if gone := self._gone(market, since):
            return f"cannot be computed again here, where {gone} is gone"
        self._states.rewind(self.table, market, upto)
        seen.until, seen.done = since, None
        return None

    def _check_whole(self, market: Market, since: dt.datetime) -> None:
        """Refuse to replace rows whose segments are gone by those of the segments that are left."""
        if gone := self._gone(market, since):
            raise StateError(
                f"{market}: rows from {since:%Y-%m-%dT%H} on were computed from {gone}, which is gone: they are left "
                "as they are. Bring it back (`daedalus sync --direction download`), or move those rows away"
            )

    def _gone(self, market: Market, since: dt.datetime) -> str | None:
        there = (p for partitions in self._inputs(market, since, None).values() for p in partitions)
        return no_longer_there(self._planner.output_root(), market, since, there)

    def _known(self, market: Market) -> _Seen | None:
        """Return what is known of a market; one that has no state yet gets that of its start. None: no inputs."""
        if market not in self._seen:
            until = self._until(market) or self._begin(market)
            if until is None:
                return None
            self._seen[market] = _Seen(until)
        return self._seen[market]

    def _until(self, market: Market) -> dt.datetime | None:
        found = self._states.load(self.table, market, self._transform.fingerprint)
        return None if found is None else found[0].until

    def _begin(self, market: Market) -> dt.datetime | None:
        """Commit the state of before the first segment, so that all from there on is known to be needed."""
        starts = [p.start for partitions in self._inputs(market, None, None).values() for p in partitions]
        if not starts:
            return None
        state = self._transform.begin(market).to_bytes()
        place, reads = (self.table, market, self._transform.fingerprint), channels_read(self._transform)
        first = min(starts)
        return self._states.commit(*place, state, began=first, until=first, rows=0, reads=reads).until

    def _inputs(self, market: Market, start: dt.datetime | None, end: dt.datetime | None) -> dict[str, list[Partition]]:
        span = FilterSpec(market.exchange, market.symbol, start=start, end=end)
        return {spec.name: self._planner.find(spec, span) for spec in self._transform.inputs}

    def _now(self) -> float:
        return self._clock.monotonic()


def _mark(partition: Partition) -> int:
    return hash((partition.path.key, partition.names))
