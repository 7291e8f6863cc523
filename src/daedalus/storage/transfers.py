"""Doing many transfers at once, in bounded memory, no faster than allowed, until told to stop."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

J = TypeVar("J")
R = TypeVar("R")
#: Jobs that wait beside those at work, for each worker.
WAITING_PER_WORKER = 2
#: Bytes of all files that are in the air at once; a larger file goes alone.
BYTES_AT_ONCE = 32 << 20


class ByteBudget:
    """A bound on the bytes in the air. A file that is larger than all of it takes all of it."""

    def __init__(self, total: int = BYTES_AT_ONCE) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    def take(self, size: int) -> int:
        """Wait until there is room and return what was taken; give it back."""
        wanted = min(size, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        return wanted

    def give_back(self, taken: int) -> None:
        """Make room for others."""
        with self._changed:
            self._free += taken
            self._changed.notify_all()


class Throttle:
    """A limit of bytes a second over all workers: each transfer waits until those before it are paid for.

    Parameters
    ----------
    bytes_per_second
        None for no limit.
    """

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._paid_until = 0.0
        self._lock = threading.Lock()

    def wait_for(self, size: int, stop: threading.Event) -> None:
        """Wait for the turn of so many bytes; return at once when told to stop."""
        if self._rate is None:
            return
        with self._lock:
            starts = max(self._paid_until, time.monotonic())
            self._paid_until = starts + size / self._rate
        stop.wait(max(0.0, starts - time.monotonic()))


class _NotBegunError(Exception):
    """A job waited for its turn when the end was called."""


class Transfers(Generic[J, R]):
    """Runs jobs in threads and hands out their results in this thread.

    Parameters
    ----------
    work
        Does one job; called from many threads.
    size
        Bytes that a job moves.
    workers
        Threads.
    throttle
        Of bytes a second.
    stop
        When set, no further job begins; those at work are finished.
    """

    def __init__(
        self,
        work: Callable[[J], R],
        size: Callable[[J], int],
        *,
        workers: int,
        throttle: Throttle,
        stop: threading.Event,
    ) -> None:
        self._work, self._size, self._workers = work, size, workers
        self._throttle, self._stop, self._budget = throttle, stop, ByteBudget()

    def run(self, jobs: Iterable[J]) -> Iterator[tuple[J, R | Exception]]:
        """Yield each job with what came of it, in no order. An error of a job does not stop the others."""
        waiting: dict[Future[R], J] = {}
        bound = self._workers * (1 + WAITING_PER_WORKER)
        with ThreadPoolExecutor(self._workers, thread_name_prefix="transfer") as pool:
            try:
                for job in jobs:
                    if self._stop.is_set():
                        break
                    waiting[pool.submit(self._one, job)] = job
                    if len(waiting) >= bound:
                        yield from self._finished(waiting)
                while waiting:
                    yield from self._finished(waiting)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _one(self, job: J) -> R:
        size = self._size(job)
        self._throttle.wait_for(size, self._stop)
        taken = self._budget.take(size)
        try:
            if self._stop.is_set():
                raise _NotBegunError
            return self._work(job)
        finally:
            self._budget.give_back(taken)

    def _finished(self, waiting: dict[Future[R], J]) -> Iterator[tuple[J, R | Exception]]:
        """Wait for at least one and yield those that are done."""
        done = deque(wait(waiting, return_when=FIRST_COMPLETED).done)
        while done:
            future = done.popleft()
            job = waiting.pop(future)
            error = future.exception()
            if isinstance(error, _NotBegunError):
                continue
            if error is not None and not isinstance(error, Exception):
                raise error
            yield job, error if isinstance(error, Exception) else future.result()
