"""Markets over machines: the links of each market as a chain of Dask's futures, which carry where the state stands.

Dask moves only what to do and what was done; rows and states go between the workers and the store. A worker that is
lost costs the hour that it was in: Dask gives its link to another one, which goes on after the last committed hour.

This is the only module that imports Dask, and only once it is used.
"""

import contextlib
import queue
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from daedalus.etl.core.config import FilterSpec
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.core.links import LINK_HOURS, Done, Job, Link, cut_links, run_link
from daedalus.etl.core.report import Progress, Report
from daedalus.etl.core.runners import MakeExecutor
from daedalus.etl.transforms.base import Market
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import ConfigError, DaedalusError
from daedalus.storage.base import Place
from daedalus.storage.local import as_storage

if TYPE_CHECKING:
    from distributed import Client, Future

#: Folder of the output's lake for the states of runs that keep none.
STATES = "state/dask"
#: Seconds to wait for the scheduler, and for workers where there are none.
CONNECT_S = 30.0
WORKERS_S = 60.0
#: Seconds between two looks at the cluster's health, while nothing comes from it.
_LOOK_S = 2.0


def run_on_dask(
    make: MakeExecutor,
    chosen: FilterSpec,
    scheduler: str,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    clock: Clock | None = None,
    link_hours: int = LINK_HOURS,
) -> Report:
    """Run an executor over the markets that a filter selects, on a Dask cluster.

    Rows are those of one process. After `KeyboardInterrupt` no further hour is begun; committed ones stand.

    Parameters
    ----------
    make
        Makes the executor, here and on workers. Its places must be ones that all machines see.
    scheduler
        Address, such as ``tcp://10.0.0.1:8786``; of ``tls://`` ones, certificates come from Dask's own settings.
    on_progress
        Called when a link is done.
    link_hours
        Hours that go to a worker at a time.

    Raises
    ------
    ConfigError
        As `TransformExecutor.run`; if Dask is not installed, or nobody answers at the address.
    DaedalusError
        If the cluster is lost, or has no workers.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    executor = make()
    executor.check(chosen)
    chains = cut_links(executor, chosen, link_hours)
    with _connected(scheduler) as client, _states(executor, [chain[0].market for chain in chains]) as states:
        report = _Run(client, Job(make, states), chains, clock).gather(on_progress)
    report.seconds = clock.monotonic() - began
    return report


class _Run:
    """All chains at work."""

    def __init__(self, client: "Client", job: Job, chains: Sequence[Sequence[Link]], clock: Clock) -> None:
        self._client, self._health = client, _Health(client, clock)
        self._links = [(number, at, link) for number, chain in enumerate(chains) for at, link in enumerate(chain)]
        self._ended: queue.SimpleQueue[Future[Done]] = queue.SimpleQueue()
        self._at: dict[str, tuple[int, int, Link]] = {}
        self._futures: dict[str, Future[Done]] = {}
        self._reports: dict[tuple[int, int], Report] = {}
        run = secrets.token_hex(8)
        before: Future[Done] | None = None
        for number, at, link in self._links:
            key = f"daedalus-{run}-{number}-{at}"
            # The first links of all chains first, then the second ones: markets advance side by side.
            before = client.submit(run_task, key, job, link, before if at else None, key=key, pure=False, priority=-at)
            self._at[key], self._futures[key] = (number, at, link), before
        for future in list(self._futures.values()):
            future.add_done_callback(self._ended.put)

    def gather(self, on_progress: Callable[[Progress], None]) -> Report:
        """Wait for all of them; return what they did, in the order of markets and times."""
        try:
            while self._futures:
                try:
                    future = self._ended.get(timeout=_LOOK_S)
                except queue.Empty:
                    self._health.check()
                    continue
                self._take(future)
                on_progress(Progress(len(self._reports), len(self._links), self._at[str(future.key)][2].market))
        except BaseException:
            with contextlib.suppress(Exception):
                self._client.cancel(list(self._futures.values()), force=True)
            raise
        report = Report()
        for place in sorted(self._reports):
            report.add(self._reports[place])
        report.notes = list(dict.fromkeys(report.notes))
        return report

    def _take(self, future: "Future[Done]") -> None:
        number, at, link = self._at[str(future.key)]
        failed = next((f for (n, _), r in self._reports.items() for f in r.failures if n == number), None)
        if future.status == "finished":
            self._reports[number, at] = self._result(future).report
        elif future.status == "cancelled":
            raise DaedalusError("the cluster gave the run up: the scheduler was restarted, or somebody cancelled it")
        else:
            # The links after one that cannot be run fail with it.
            error = _explained(link.market, future)
            self._reports[number, at] = Report() if failed else Report.of_failure(link.market, error)
        del self._futures[str(future.key)]

    def _result(self, future: "Future[Done]") -> Done:
        """Fetch what a link did; when the worker that had it is lost, Dask runs the link again."""
        while True:
            try:
                done = future.result(timeout=_LOOK_S)
            except TimeoutError:
                self._health.check()
                continue
            assert isinstance(done, Done)
            return done


def run_task(key: str, job: Job, link: Link, before: Done | None) -> Done:
    """Run a link on a worker; no further hour is begun once nobody wants it any more."""
    from distributed import get_worker

    tasks = get_worker().state.tasks

    def check(_: Progress) -> None:
        task = tasks.get(key)
        if task is None or task.state == "cancelled":
            raise _UnwantedError

    try:
        return run_link(job, link, before, check)
    except _UnwantedError:
        return Done(Report(), is_broken=True)


class _UnwantedError(Exception):
    """The run was cancelled, or its client is gone."""


class _Health:
    """Tells when a cluster will not answer any more."""

    def __init__(self, client: "Client", clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._seen_at = clock.monotonic()

    def check(self) -> None:
        """Raise `DaedalusError` when the scheduler is gone, or no worker is left for a while."""
        address = self._client.scheduler.address if self._client.scheduler else "?"
        if self._client.status != "running":
            raise DaedalusError(
                f"the scheduler at {address} is gone; committed hours stand. With --state-path, the next run goes on "
                "after them"
            )
        if self._has_workers():
            self._seen_at = self._clock.monotonic()
        elif self._clock.monotonic() - self._seen_at > WORKERS_S:
            raise DaedalusError(
                f"the scheduler at {address} has no workers or gives no answer, for {WORKERS_S:.0f} s: start some "
                f"with `dask worker {address}`"
            )

    def _has_workers(self) -> bool:
        """Return whether there are workers; a scheduler that is busy may be slow to answer."""
        try:
            return bool(self._client.nthreads())
        except (OSError, TimeoutError):
            return False


@contextlib.contextmanager
def _connected(scheduler: str) -> "Iterator[Client]":
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(
            "--engine dask needs Dask distributed, which is not installed: pip install 'daedalus[scale]'"
        ) from None
    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False, name="daedalus")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({type(error).__name__}: {error}). Start one "
            "with `dask scheduler`, and give the address that it prints"
        ) from None
    with client:
        yield client


@contextlib.contextmanager
def _states(executor: TransformExecutor, markets: Sequence[Market]) -> Iterator[Place | None]:
    """Yield where states stand between links; one for this run alone when none are to be kept."""
    if executor.states is not None:
        executor.forget(markets)
        yield executor.states.root
        return
    if not executor.is_stateful:
        yield None
        return
    place = Place(as_storage(executor.target.base_dir)) / STATES / secrets.token_hex(8)
    try:
        yield place
    finally:
        with contextlib.suppress(DaedalusError):
            for info in place.storage.list(place.key):
                place.storage.delete(info.key)


def _explained(market: Market, future: "Future[Done]") -> DaedalusError:
    """Return why a link could not be run at all."""
    from distributed import KilledWorker

    error = future.exception()
    if isinstance(error, KilledWorker):
        return DaedalusError(
            f"the workers that computed it died, {error.allowed_failures + 1} of them; committed hours stand. That is "
            "often memory: give workers more, or fewer of them to a machine"
        )
    return DaedalusError(f"the worker cannot run it: {type(error).__name__}: {error}")
