"""A real Dask cluster on this machine: a scheduler and workers, each a process of its own, on loopback."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

_READY_S = 60.0


@dataclass
class Cluster:
    """A running cluster.

    Attributes
    ----------
    address
        Of its scheduler.
    scheduler, workers
        The processes; each worker has one thread and nobody who would start it again.
    """

    address: str
    scheduler: "subprocess.Popen[bytes]"
    workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def kill_worker(self, number: int) -> None:
        """Kill a worker as a power cut would."""
        os.kill(self.workers[number].pid, signal.SIGKILL)
        self.workers[number].wait()


def program() -> Path:
    """Return Dask's command, which its extra installs beside Python."""
    return Path(sys.executable).with_name("dask")


@contextlib.contextmanager
def running(folder: Path, workers: int = 2, env: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Run a cluster for the length of a block, which begins when all workers have joined.

    Parameters
    ----------
    folder
        Of its logs and of the workers' own files.
    workers
        How many.
    env
        Environment over this one's.

    Raises
    ------
    RuntimeError
        If it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told, environment = folder / "scheduler.json", {**os.environ, **(env or {})}
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]
    with contextlib.ExitStack() as started:

        def start(name: str, *arguments: str) -> "subprocess.Popen[bytes]":
            log = started.enter_context((folder / f"{name}.log").open("wb"))
            command = [str(program()), *arguments, *here]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
            started.callback(_stop, process)
            return process

        scheduler = start("scheduler", "scheduler", "--port", "0", "--scheduler-file", str(told))
        cluster = Cluster(_address(told, scheduler, folder), scheduler)
        one = ["worker", cluster.address, "--nworkers", "1", "--nthreads", "1", "--no-nanny", "--memory-limit", "0"]
        for number in range(workers):
            own = ["--name", f"worker-{number}", "--local-directory", str(folder / f"worker-{number}")]
            cluster.workers.append(start(f"worker-{number}", *one, *own))
        _wait_for_workers(cluster, folder)
        yield cluster


def _address(told: Path, scheduler: "subprocess.Popen[bytes]", folder: Path) -> str:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and scheduler.poll() is None:
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            return str(msgspec.json.decode(told.read_bytes())["address"])
        time.sleep(0.05)
    raise RuntimeError(f"the scheduler does not start: see {folder / 'scheduler.log'}")


def _wait_for_workers(cluster: Cluster, folder: Path) -> None:
    from distributed import Client

    with Client(cluster.address, timeout=_READY_S, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        try:
            client.wait_for_workers(len(cluster.workers), timeout=_READY_S)
        except TimeoutError:
            raise RuntimeError(f"the workers do not join: see {folder}") from None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
