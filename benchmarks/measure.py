"""What a process costs: memory above a start, device writes, syncs, CPU, and how long its event loop was held up."""

import asyncio
import ctypes
import gc
import os
import resource
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

STATUS = Path("/proc/self/status")
#: How often the loop is looked at, seconds.
PROBE_S = 0.002
CHILD_PROBE_S = 0.02


def memory_kib(name: str, status: Path = STATUS) -> int:
    """A line of a process' status: VmRSS, or VmHWM for the peak since `forget_peak`."""
    for line in status.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise LookupError(name)


def forget_peak() -> int:
    """Tidy up after the preparations, let the peak start over, and return resident memory now, KiB.

    Without tidying, the first larger allocation that is measured would pay 40 ms for what they left scattered.
    """
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory_kib("VmRSS")


def write_bytes() -> int:
    """Bytes that this process sent towards the device so far, and those of its ended children."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes"):
            return int(line.split()[1])
    raise LookupError("write_bytes")


@contextmanager
def counted_syncs():
    """Count fsync and fdatasync calls of this process."""
    counts: Counter[str] = Counter()
    real = {name: getattr(os, name) for name in ("fsync", "fdatasync")}

    def wrap(name):
        def call(fd):
            counts[name] += 1
            return real[name](fd)

        return call

    for name in real:
        setattr(os, name, wrap(name))
    try:
        yield counts
    finally:
        for name, function in real.items():
            setattr(os, name, function)


@dataclass
class Cost:
    """Wall and CPU seconds of this process and of its ended children."""

    wall_s: float = field(default_factory=time.perf_counter)
    cpu_s: float = field(default_factory=time.process_time)
    children_s: float = field(default_factory=lambda: _children_s())

    def stop(self) -> dict[str, float]:
        """What was spent since the start."""
        return {
            "wall_s": time.perf_counter() - self.wall_s,
            "cpu_s": time.process_time() - self.cpu_s,
            "children_s": _children_s() - self.children_s,
        }


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class ChildPeak:
    """The most memory that a child process held, looked at every few ms: what `getrusage` tells holds the parent's."""

    def __init__(self) -> None:
        self.mib = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "ChildPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(CHILD_PROBE_S):
            for listing in Path("/proc/self/task").glob("*/children"):
                # Threads and children come and go meanwhile.
                with suppress(OSError, LookupError):
                    for pid in listing.read_text().split():
                        self._look(Path("/proc", pid))

    def _look(self, process: Path) -> None:
        # Between fork and exec a child still is its parent.
        if b"sealing" in (process / "cmdline").read_bytes():
            self.mib = max(self.mib, memory_kib("VmHWM", process / "status") / 1024)


class LoopProbe:
    """Measures how late the event loop comes to what is due, and how much of that it waited for a free core.

    The wait for a core tells of what else runs on the machine; the rest is what the program itself did: work in the
    loop, blocking calls, waiting for the interpreter's lock.
    """

    def __init__(self) -> None:
        self.lags: list[tuple[float, float]] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "LoopProbe":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        try:
            while True:
                due, waited = time.perf_counter() + PROBE_S, _waited_s(schedstat)
                await asyncio.sleep(PROBE_S)
                self.lags.append((time.perf_counter() - due, _waited_s(schedstat) - waited))
        finally:
            os.close(schedstat)

    def summary(self) -> dict[str, float]:
        """Milliseconds: the most, the 99.9th percentile, and both without the wait for a core."""
        late = sorted(lag * 1e3 for lag, _ in self.lags)
        own = sorted(max(0.0, lag - waited) * 1e3 for lag, waited in self.lags)
        at = int(0.999 * (len(late) - 1))
        return {"late_max_ms": late[-1], "late_p999_ms": late[at], "own_max_ms": own[-1], "own_p999_ms": own[at]}


def _waited_s(schedstat: int) -> float:
    """Seconds that a thread was ready and had no core."""
    return int(os.pread(schedstat, 64, 0).split()[1]) / 1e9
