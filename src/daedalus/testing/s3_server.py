"""A real S3 server on this machine: SeaweedFS, on ports of its own, in a folder of its own."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import msgspec

from daedalus.shared.errors import DeniedError, StorageError
from daedalus.storage.clouds import S3Storage
from daedalus.storage.retry import RetryPolicy

#: The credentials of the server, and the bucket that it makes.
ACCESS_KEY, SECRET_KEY, BUCKET = "test-access", "test-secret-key", "lake"
_READY_S = 60.0
# Each server listens at its port and at its port + 10000 (gRPC), and would take fixed ones where none is given: two on
# one machine collide unless every one of these is passed. The unused ones are switched off with 0.
_SERVERS = ("master", "volume", "filer", "s3", "admin")
_GRPC = 10_000
_PORT_FROM, _PORT_TO = 20_000, 50_000
_started: dict[int, subprocess.Popen[bytes]] = {}


class S3Server(msgspec.Struct, frozen=True):
    """Where a running server is.

    Attributes
    ----------
    pid
        Its process.
    port
        Of S3 on 127.0.0.1.
    """

    pid: int
    port: int

    @property
    def endpoint_url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def options(self, prefix: str = "") -> dict[str, str]:
        """Return the arguments of `S3Storage` for its bucket; tests that share a server take a prefix each."""
        return {
            "bucket": BUCKET,
            "prefix": prefix,
            "endpoint_url": self.endpoint_url,
            "region": "us-east-1",
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
        }

    def stop(self) -> None:
        """Kill it; its files are of no use to anybody."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        if (process := _started.pop(self.pid, None)) is not None:
            process.wait()


def binary() -> Path:
    """Return the server's program, which the development dependencies install beside Python."""
    return Path(sys.executable).with_name("weed")


def start(folder: Path, config: Path | None = None) -> S3Server:
    """Start a server that keeps its files in a folder; return when it answers.

    Parameters
    ----------
    folder
        Of its files and its log.
    config
        SeaweedFS' own file of identities and policies, in place of the one identity that may do everything.

    Raises
    ------
    RuntimeError
        If it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(3):
        ports = _free_ports()
        with (folder / "weed.log").open("wb") as log:
            process = subprocess.Popen(
                _command(folder, ports, config), env=_environment(config), stdout=log, stderr=log, cwd=folder
            )
        server = S3Server(process.pid, ports["s3"])
        _started[process.pid] = process
        try:
            if _answers(server, process, config):
                return server
        except BaseException:
            server.stop()
            raise
        server.stop()
    raise RuntimeError(f"SeaweedFS does not start: see {folder / 'weed.log'}")


@contextlib.contextmanager
def running(folder: Path, config: Path | None = None) -> Iterator[S3Server]:
    """Run a server for the length of a block. See `start`."""
    server = start(folder, config)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[S3Server]:
    """Use the one server of a folder for the length of a block, also from several processes at once.

    Who comes first starts it, who goes last stops it. Processes that died are not waited for.
    """
    with _register(folder) as register:
        if not register.users:
            register.server = start(folder)
        register.users.append(os.getpid())
        server = register.server
    assert server is not None
    try:
        yield server
    finally:
        with _register(folder) as register:
            register.users.remove(os.getpid())
            if not register.users:
                server.stop()


class _Register(msgspec.Struct):
    """Which processes use a shared server."""

    users: list[int] = []
    server: S3Server | None = None


@contextlib.contextmanager
def _register(folder: Path) -> Iterator[_Register]:
    """Hold the register, which is a locked file; what is changed in it is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "register.json").open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        register = msgspec.json.decode(file.read() or b"{}", type=_Register)
        register.users = [pid for pid in register.users if _is_alive(pid)]
        yield register
        file.truncate(0)
        file.write(msgspec.json.encode(register))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _command(folder: Path, ports: Mapping[str, int], config: Path | None) -> list[str]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    numbers = [f"-{name}.port={port}" for name, port in ports.items()]
    numbers += [f"-{name}.port.grpc={port + _GRPC}" for name, port in ports.items()]
    here = [f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"]
    off = ["-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    rights = [f"-s3.config={config}"] if config else []
    return [str(binary()), "mini", *here, *off, *numbers, *rights]


def _environment(config: Path | None) -> dict[str, str]:
    """Return the environment, with the credentials of the one identity unless a file names others."""
    keys = {} if config else {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    return {**{name: value for name, value in os.environ.items() if not name.startswith("AWS_")}, **keys}


def _free_ports() -> dict[str, int]:
    """Return a port a server, free together with its gRPC port when looked at."""
    found: dict[str, int] = {}
    candidates = iter(range(_PORT_FROM + os.getpid() * 37 % 20_000, _PORT_TO))
    for name in _SERVERS:
        found[name] = next(port for port in candidates if _is_free(port) and _is_free(port + _GRPC))
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(server: S3Server, process: subprocess.Popen[bytes], config: Path | None) -> bool:
    """Wait until the server answers and has made its bucket, which it does a moment later."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=1):
                pass
            next(S3Storage(**server.options(), policy=RetryPolicy(attempts=1)).list(), None)  # type: ignore[arg-type]
            return True
        except DeniedError:
            if config:  # Its identities are not those of `options`; that it refuses them is an answer.
                return True
            time.sleep(0.05)
        except (StorageError, OSError):
            time.sleep(0.05)
    return False
