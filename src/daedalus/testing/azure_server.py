"""A real Azure Blob server on this machine, where one is installed: Azurite, from npm."""

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from daedalus.shared.clock import SystemClock, utc

CONTAINER = "lake"
# The account that every Azurite has; its key is public.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2021-08-06"
_READY_S = 60.0


def binary() -> str | None:
    """Return the server's program: the one that ``DAEDALUS_AZURITE`` names, else the one on the path; None: none."""
    return os.environ.get("DAEDALUS_AZURITE") or shutil.which("azurite-blob")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server for the length of a block; yield the arguments of `AzureStorage` for its container."""
    program = binary()
    assert program is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "azurite.log").open("wb") as log:
        process = subprocess.Popen([program, *options, "--skipApiVersionCheck"], stdout=log, stderr=log, cwd=folder)
    try:
        _wait(port, process)
        _make_container(port)
        yield {
            "container": CONTAINER,
            "account_name": _ACCOUNT,
            "account_key": _KEY,
            "endpoint_url": f"http://127.0.0.1:{port}/{_ACCOUNT}",
        }
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError("Azurite does not start")


def _make_container(port: int) -> None:
    """Ask for a container, which a lake's rights do not allow and the client therefore cannot: signed by hand."""
    date = utc(SystemClock().now_ns()).astimezone(dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    path = f"/{_ACCOUNT}/{CONTAINER}"
    headers = f"x-ms-date:{date}\nx-ms-version:{_VERSION}\n"
    text = f"PUT{chr(10) * 12}{headers}/{_ACCOUNT}{path}\nrestype:container"
    signature = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest("PUT", f"{path}?restype=container", skip_accept_encoding=True)
        for name, value in (
            ("x-ms-date", date),
            ("x-ms-version", _VERSION),
            ("Authorization", f"SharedKey {_ACCOUNT}:{base64.b64encode(signature).decode()}"),
            ("Content-Length", "0"),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        if answer.status != 201:
            raise RuntimeError(f"Azurite made no container: {answer.status} {answer.read()[:300]!r}")
    finally:
        connection.close()
