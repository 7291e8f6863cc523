"""Chains cut into links: however they are cut and however often a link is run, rows are those of one run."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.links import Done, Job, Link, cut_links, run_link
from daedalus.etl.core.report import Progress
from daedalus.etl.core.runners import StatefulOrderbookRunner, make_runner
from daedalus.etl.features.registry import families
from daedalus.etl.features.selection import selected
from daedalus.etl.transforms.bars import BarAggregationTransform
from daedalus.etl.utils.state_manager import StateManager
from daedalus.storage.base import Place
from daedalus.storage.clouds import MemoryStorage
from tests.unit.etl.core.stateful_lake import CONFIG, silver, write_market
from tests.unit.etl.core.stateful_lake import run as run_at_once


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("links")
    for seed, symbol in enumerate(("BTC/USD", "ETH/USD")):
        write_market(base / "lake", symbol, seed)
    run_at_once(base / "lake", base / "once")
    return base


def job_of(lake: Path, out: Path) -> Job:
    make = functools.partial(StatefulOrderbookRunner, CONFIG, InputConfig(lake / "lake"), OutputConfig(out))
    return Job(make, Place(MemoryStorage(), "state"))


def quiet(_: Progress) -> None:
    """Show nothing."""


def run(job: Job, links: list[Link], show: Callable[[Progress], None] = quiet) -> list[Done]:
    done: list[Done] = []
    for link in links:
        done.append(run_link(job, link, done[-1] if done else None, show))
    return done


@pytest.mark.parametrize(("hours", "links"), [(1, 4), (2, 2), (4, 2), (5, 1), (24, 1)])
def test_links_are_whole_hours_and_no_longer_than_asked(lake: Path, tmp_path: Path, hours: int, links: int) -> None:
    chains = cut_links(job_of(lake, tmp_path).make(), FilterSpec(), hours)
    assert [len(chain) for chain in chains] == [links] * 2


def test_links_give_the_rows_of_one_run(lake: Path, tmp_path: Path) -> None:
    job = job_of(lake, tmp_path)
    chains = cut_links(job.make(), FilterSpec(), 2)
    reports = [done.report for chain in chains for done in run(job, chain)]
    assert [report.failures for report in reports] == [[]] * len(reports)
    assert sum(report.rows_out for report in reports) == 272 * 2
    assert silver(tmp_path) == silver(lake / "once")


def test_a_link_that_is_run_again_goes_on_after_its_last_committed_hour(lake: Path, tmp_path: Path) -> None:
    job = job_of(lake, tmp_path)
    [first, second], _ = cut_links(job.make(), FilterSpec(), 2)

    def lost(progress: Progress) -> None:
        if progress.begun == 2:
            raise OSError("the worker is gone")

    [before] = run(job, [first])
    with pytest.raises(OSError, match="gone"):
        run_link(job, second, before, lost)
    # What the worker had made is gone with it, so the first link is run again as well.
    again, rest = run(job, [first, second])
    assert (again.report.written, again.is_broken) == ([], False)
    assert len(rest.report.written) == 1 and rest.report.failures == []
    wanted = {key: rows for key, rows in silver(lake / "once").items() if "BTC" in key}
    assert silver(tmp_path) == wanted


def test_the_time_filter_stays(lake: Path, tmp_path: Path) -> None:
    job = job_of(lake, tmp_path / "out")
    chosen = FilterSpec(symbol="ETH-USD", day=19, hour=15)
    [[link]] = cut_links(job.make(), chosen)
    assert (link.chosen.hour, link.chosen.exchange) == (15, "coinbase")
    run(job, [link])
    run_at_once(lake / "lake", tmp_path / "once", chosen=chosen)
    assert silver(tmp_path / "out") == silver(tmp_path / "once")


def test_a_market_whose_transform_carries_no_state_is_one_link(lake: Path, tmp_path: Path) -> None:
    places = InputConfig(lake / "lake", processed_base_dir=lake / "once"), OutputConfig(tmp_path)
    silver_of = selected(families(CONFIG), CONFIG)
    bars = functools.partial(BarAggregationTransform, durations=[60], silver=silver_of)
    make = functools.partial(make_runner, bars, *places)
    chains = cut_links(make(), FilterSpec())
    assert [len(chain) for chain in chains] == [1, 1]
    [done] = run(Job(make, None), chains[0])
    assert done.report.failures == [] and done.report.written and done.stands is None


def test_a_chain_ends_at_what_fails_and_says_why(lake: Path, tmp_path: Path) -> None:
    job = job_of(lake, tmp_path)
    chain = cut_links(job.make(), FilterSpec(symbol="BTC-USD"), 1)[0]
    failed, *others = run(replace(job, version="0.0.1"), chain)
    assert "install the same version on all machines" in str(failed.report.failures[0].error)
    assert all(done.is_broken and done.report.failures == [] for done in others)


def test_a_state_that_somebody_else_has_moved_is_refused(lake: Path, tmp_path: Path) -> None:
    job = job_of(lake, tmp_path)
    first, second, third, _ = cut_links(job.make(), FilterSpec(symbol="BTC-USD"), 1)[0]
    done = run(job, [first, second])
    assert job.states is not None and done[0].stands is not None
    StateManager(job.states).rewind("orderbook", first.market, done[0].stands.until)
    refused = run_link(job, third, done[1], quiet)
    assert "another run has moved it" in str(refused.report.failures[0].error)
