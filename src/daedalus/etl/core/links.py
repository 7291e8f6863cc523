"""Chains of hours cut into links, for machines that share only a store: each link goes on from the state before it.

A link is run as `daedalus features --state-path` runs some hours: each hour's rows are published first, then the state
that follows them is committed. So a link that is run again, on another machine, goes on after the last committed hour,
and rows are those of one run over all hours.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import daedalus
from daedalus.etl.core.config import FilterSpec
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.core.report import Progress, Report
from daedalus.etl.core.runners import MakeExecutor
from daedalus.etl.core.stretches import Stretch
from daedalus.etl.transforms.base import Market
from daedalus.etl.utils.state_manager import Checkpoint
from daedalus.shared.errors import ConfigError, DaedalusError, StateError
from daedalus.storage.base import Place

#: Of one link, at most; finding its inputs takes some tens of listings, which are few beside a day of data.
LINK_HOURS = 24


@dataclass(frozen=True)
class Link:
    """Some hours of one market.

    Parameters
    ----------
    market
        Whose.
    chosen
        Selects them.
    """

    market: Market
    chosen: FilterSpec


@dataclass(frozen=True)
class Job:
    """What all links have in common; it goes to workers.

    Parameters
    ----------
    make
        Makes the executor.
    states
        Where states stand between links; None: the transform carries none.
    version
        Of this package: the same everywhere, or rows could differ.
    """

    make: MakeExecutor
    states: Place | None
    version: str = daedalus.__version__


@dataclass(frozen=True)
class Done:
    """What became of a link: what it did, where the state stands, and whether its chain ends here."""

    report: Report
    stands: Checkpoint | None = None
    is_broken: bool = False


def cut_links(executor: TransformExecutor, chosen: FilterSpec, hours: int = LINK_HOURS) -> list[list[Link]]:
    """Return the chain of each market; a market whose transform carries no state from run to run is one link.

    Raises
    ------
    ConfigError, NotFoundError
        As `TransformExecutor.run`.
    """
    chains = []
    for market, stretches in executor.stretches(chosen):
        own = dataclasses.replace(chosen, exchange=market.exchange, symbol=market.symbol)
        groups = list(_grouped(stretches, dt.timedelta(hours=hours)))
        chains.append([Link(market, _within(own, group)) for group in groups] or [Link(market, own)])
    return chains


def run_link(job: Job, link: Link, before: Done | None, on_progress: Callable[[Progress], None]) -> Done:
    """Run a link after the one before it; what goes wrong with its market is in the report, and ends the chain."""
    if before is not None and before.is_broken:
        return Done(Report(), is_broken=True)
    try:
        if job.version != daedalus.__version__:
            raise ConfigError(
                f"this worker has Daedalus {daedalus.__version__}, the run was started with {job.version}: install the "
                "same version on all machines"
            )
        place = {} if job.states is None else {"state_path": job.states, "reset_states": False}
        executor = job.make(on_progress=on_progress, **place)
        if before is not None and before.stands is not None:
            _check_stands(link.market, executor.stands(link.market), before.stands)
        report = executor.run(link.chosen, markets=[link.market])
        return Done(report, executor.stands(link.market), bool(report.failures))
    except DaedalusError as error:
        return Done(Report.of_failure(link.market, error), is_broken=True)


def _check_stands(market: Market, found: Checkpoint | None, left: Checkpoint) -> None:
    """Refuse to go on from another state than the one that the link before has left, or a later one of the same run."""
    if found is None or found.until < left.until or (found.until == left.until and found.sha256 != left.sha256):
        raise StateError(
            f"{market}: its state is not the one that the hours before {left.until:%Y-%m-%dT%H} have left: another run "
            "has moved it. Let one run at a time use a --state-path, and run this one again"
        )


def _grouped(stretches: Sequence[Stretch], length: dt.timedelta) -> Iterator[list[Stretch]]:
    group: list[Stretch] = []
    for stretch in stretches:
        if group and stretch.end - group[0].start > length:
            yield group
            group = []
        group.append(stretch)
    if group:
        yield group


def _within(chosen: FilterSpec, group: Sequence[Stretch]) -> FilterSpec:
    start, end = group[0].start, group[-1].end
    return dataclasses.replace(
        chosen,
        start=start if chosen.start is None else max(start, chosen.start),
        end=end if chosen.end is None else min(end, chosen.end),
    )
