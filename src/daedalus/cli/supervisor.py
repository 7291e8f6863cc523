"""`Supervisor`: keeps programs running, each in a process of its own, and says why one ended."""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from daedalus.ingestion.collectors.pace import Backoff
from daedalus.shared.clock import Clock

log = structlog.get_logger(__name__)

_CHUNK = 1 << 16
#: Of what a program said last, so much is kept to tell why it ended.
_TAIL = 4096
#: Seconds between two looks at whether a program hangs.
LOOK_S = 5.0


def _never_hangs(_pid: int) -> str | None:
    return None


@dataclass(frozen=True)
class Program:
    """One program to keep running.

    Parameters
    ----------
    name
        For the log.
    command
        Its command line.
    hangs
        Returns why the process of that number hangs, in words, or None; it is killed then.
    """

    name: str
    command: tuple[str, ...]
    hangs: Callable[[int], str | None] = _never_hangs


class Supervisor:
    """Runs programs until told to stop.

    A program that ends is started again after a wait that doubles from `first_s` to `longest_s`, with jitter; one that
    lived for `healthy_s` starts over with the shortest. What programs say on stderr is passed on as it is.

    Parameters
    ----------
    stop_s
        How long a program that was told to stop may take; then it is killed.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        clock: Clock,
        first_s: float = 1.0,
        longest_s: float = 60.0,
        healthy_s: float = 60.0,
        stop_s: float = 660.0,
        rng: random.Random | None = None,
    ) -> None:
        self._programs, self._clock = list(programs), clock
        self._delays, self._healthy_s, self._stop_s = (first_s, longest_s), healthy_s, stop_s
        self._rng = rng or random.Random()
        self._running: dict[str, Process] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Keep all programs running until `stop` is set; then end them in order and wait for them."""
        async with asyncio.TaskGroup() as group:
            for program in self._programs:
                group.create_task(self._keep(program, stop), name=program.name)

    def tell(self, number: int) -> None:
        """Send a signal to all that run."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, program: Program, stop: asyncio.Event) -> None:
        backoff = Backoff(*self._delays, self._rng)
        while not stop.is_set():
            began = self._clock.monotonic()
            why = await self._live(program, stop)
            lived = self._clock.monotonic() - began
            if stop.is_set():
                log.info("program_stopped", program=program.name, how=why)
                return
            if lived > self._healthy_s:
                backoff.reset()
            delay = backoff.next()
            times = {"lived_seconds": round(lived, 1), "restart_in_seconds": round(delay, 1)}
            log.error("program_ended", program=program.name, why=why, **times)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), delay)

    async def _live(self, program: Program, stop: asyncio.Event) -> str:
        """Start a program and wait for its end; return how it came."""
        try:
            # In a session of its own: Ctrl-C in the terminal reaches us alone, and we pass it on once. Its stdin says
            # nothing, and ends when we do: see `supervised`.
            process = await asyncio.create_subprocess_exec(
                *program.command, stdin=PIPE, stderr=PIPE, start_new_session=True
            )
        except OSError as error:
            return f"it cannot be started: {error.strerror or error}"
        self._running[program.name] = process
        log.info("program_started", program=program.name, process=process.pid)
        passing = asyncio.create_task(_pass_on(process))
        watching = asyncio.create_task(self._kill_when_hung(program, process))
        try:
            await self._until_end(program, process, stop)
        finally:
            watching.cancel()
            del self._running[program.name]
            if process.returncode is None:
                # We are being ended ourselves: nothing goes on unwatched.
                process.terminate()
        hung = watching.result() if watching.done() and not watching.cancelled() else None
        return f"it hung and was killed: {hung}" if hung else _reason(process.returncode or 0, await passing)

    async def _until_end(self, program: Program, process: Process, stop: asyncio.Event) -> None:
        ending, stopping = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
        await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.cancel() or ending.done():
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(ending, self._stop_s)
        except TimeoutError:
            log.error("program_killed", program=program.name, why=f"it did not stop within {self._stop_s:.0f} s")
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _kill_when_hung(self, program: Program, process: Process) -> str:
        why, before = None, None
        # Seen twice: a machine that slept wakes up with everything looking old.
        while why is None or before is None:
            await self._clock.sleep(LOOK_S)
            why, before = await asyncio.to_thread(program.hangs, process.pid), why
        with suppress(ProcessLookupError):
            process.kill()
        return why


async def _pass_on(process: Process) -> str:
    """Pass on what a program says on stderr; return the end of it."""
    tail = b""
    if process.stderr is None:
        return ""
    while chunk := await process.stderr.read(_CHUNK):
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        tail = (tail + chunk)[-_TAIL:]
    return tail.decode(errors="replace")


def _reason(code: int, said: str) -> str:
    """Return how a program ended and the last thing that it said.

    Examples
    --------
    >>> _reason(-9, "")
    'killed by SIGKILL'
    >>> _reason(2, "daedalus: no such source")
    'exit code 2: daedalus: no such source'
    """
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"{how}: {lines[-1]}" if lines and code else how
