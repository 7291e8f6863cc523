"""Markets in parallel: a few processes, each of which folds one market after the other."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from daedalus.etl.core.config import FilterSpec
from daedalus.etl.core.report import Progress, Report
from daedalus.etl.core.runners import MakeExecutor
from daedalus.etl.transforms.base import Market
from daedalus.shared.clock import Clock, SystemClock
from daedalus.shared.errors import DaedalusError

#: Seconds that a worker is given to put away what it is writing.
_END_PATIENCE_S = 10.0
#: Workers with nothing to do end by themselves when their pipes are closed; all of them together get so long.
_IDLE_PATIENCE_S = 0.2


def run_markets(
    make: MakeExecutor,
    chosen: FilterSpec,
    workers: int,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    clock: Clock | None = None,
) -> Report:
    """Run an executor over the markets that a filter selects, several at once.

    Markets are independent, so the rows are those of one process. A worker that dies fails the market it was at.

    Parameters
    ----------
    make
        Makes the executor, here and in each worker.
    workers
        Processes at most.
    on_progress
        Called when a market is done.

    Raises
    ------
    ConfigError, NotFoundError
        As `TransformExecutor.run`.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    executor = make()
    markets = executor.check(chosen, limit)
    pool = _Pool(make, chosen, limit, min(workers, len(markets)))
    try:
        reports = pool.run(markets, on_progress)
    finally:
        pool.end()
    report = Report()
    for market in markets:
        report.add(reports[market])
    report.seconds = clock.monotonic() - began
    return report


class _Pool:
    """Processes with a pipe each. They end when their pipe is closed."""

    def __init__(self, make: MakeExecutor, chosen: FilterSpec, limit: int | None, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._context = context
        self._job = (make, chosen, limit)
        self._workers: dict[Connection, SpawnProcess] = {}
        for _ in range(size):
            self._start()

    def _start(self) -> Connection:
        near, far = self._context.Pipe()
        process = self._context.Process(target=_work, args=(far, *self._job), daemon=True)
        process.start()
        far.close()
        self._workers[near] = process
        return near

    def run(self, markets: Sequence[Market], on_progress: Callable[[Progress], None]) -> dict[Market, Report]:
        waiting, at, reports = list(reversed(markets)), dict[Connection, Market](), dict[Market, Report]()
        for pipe in self._workers:
            at[pipe] = _send(pipe, waiting.pop())
        while at:
            for ready in wait(list(at)):
                assert isinstance(ready, Connection)
                market = at.pop(ready)
                reports[market] = self._result(ready, market)
                on_progress(Progress(len(reports), len(markets), market))
                if waiting:
                    pipe = ready if ready in self._workers else self._start()
                    at[pipe] = _send(pipe, waiting.pop())
        return reports

    def _result(self, pipe: Connection, market: Market) -> Report:
        try:
            report = pipe.recv()
        except EOFError:
            process = self._workers.pop(pipe)
            process.join()
            died = DaedalusError(
                f"the worker process ended with code {process.exitcode} in the middle of it; what it had published "
                "stands. Code -9 is often the system that ran out of memory: use fewer --workers"
            )
            return Report.of_failure(market, died)
        if isinstance(report, BaseException):
            raise report
        assert isinstance(report, Report)
        return report

    def end(self) -> None:
        """End the workers; one that is in the middle of a partition gives it up."""
        for pipe in self._workers:
            pipe.close()
        for process in self._workers.values():
            process.join(_IDLE_PATIENCE_S / len(self._workers))
            process.terminate()
        for process in self._workers.values():
            process.join(_END_PATIENCE_S)
            if process.exitcode is None:
                process.kill()
                process.join()


def _send(pipe: Connection, market: Market) -> Market:
    pipe.send(market)
    return market


def _work(pipe: Connection, make: MakeExecutor, chosen: FilterSpec, limit: int | None) -> None:
    """Fold markets as they are named, until the pipe is closed."""
    # Ctrl-C reaches the whole group of processes: the parent hears it too and ends the workers by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending = _Ending()
    signal.signal(signal.SIGTERM, ending)
    try:
        executor = make()
        while True:
            market = pipe.recv()
            try:
                answer: Report | BaseException = executor.run(chosen, limit, [market])
            except DaedalusError as error:
                answer = error
            pipe.send(answer)
    except (EOFError, BrokenPipeError):
        ending.is_over = True
    except BaseException:
        # An interruption may come out as whatever error it caused on its way.
        if not ending.is_asked:
            raise


class _Ending:
    """The handler of SIGTERM: what is being written is given up, as after Ctrl-C."""

    is_asked = is_over = False

    def __call__(self, *_: object) -> None:
        self.is_asked = True
        if not self.is_over:
            raise KeyboardInterrupt
