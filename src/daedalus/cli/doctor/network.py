"""The doctor's questions to the network: only to what the settings name, each with a time-out."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daedalus.cli.doctor.findings import Finding, fail, ok
from daedalus.shared.errors import DaedalusError

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig

TIMEOUT_S = 8.0
_PORTS = {"wss": 443, "https": 443, "ws": 80, "http": 80}


def exchanges(config: "DaedalusConfig") -> Iterator[Finding]:
    """Yield whether the exchanges' hosts take connections."""
    if config.coinbase.symbols:
        yield _reach("coinbase", config.coinbase.ws_url)
    for name, entry in config.ccxt.exchanges.items():
        from daedalus.ingestion.collectors.ccxt_collector import socket_of

        if url := entry.ws_url or socket_of(name):
            yield _reach(f"ccxt.{name}", url)


def store(config: "DaedalusConfig") -> Iterator[Finding]:
    """Yield whether the store of the sync can be listed with its keys."""
    from daedalus.cli.stores import open_store
    from daedalus.config.config import RequestsConfig

    destination = config.storage.sync.destination
    if destination.backend == "local" and destination.base_dir is None:
        yield ok("store", "storage.sync.destination is not set: nothing is uploaded")
        return
    impatient = RequestsConfig(attempts=1, timeout_seconds=TIMEOUT_S, connect_timeout_seconds=TIMEOUT_S)
    storage = config.storage.model_copy(update={"requests": impatient})
    try:
        place = open_store(config.model_copy(update={"storage": storage}), "sync.destination")
        if isinstance(place, Path):
            is_there = place.is_dir()
            fix = "mount it, or set storage.sync.destination.base_dir"
            yield ok("store", str(place)) if is_there else fail("store", f"{place} is not there", fix)
            return
        next(iter(place.list()), None)
    except DaedalusError as error:
        yield fail("store", str(error), "see docs/STORAGE.md: keys, rights, and addresses")
    else:
        yield ok("store", f"{place.url} answers, and may be listed")


def _reach(name: str, url: str) -> Finding:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    began = time.perf_counter()
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as plain:
            if parts.scheme in ("wss", "https"):
                with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                    pass
    except ssl.SSLError as error:
        fix = "is the clock right? does a proxy stand between? `openssl s_client -connect HOST:443` tells more"
        return fail("network", f"{name}: TLS with {host}:{port} fails: {error.reason or error}", fix)
    except OSError as error:
        fix = "is there a network, a name service, a firewall? is the address in the settings right?"
        return fail("network", f"{name}: cannot connect to {host}:{port}: {error.strerror or error}", fix)
    return ok("network", f"{name}: {host}:{port} answers in {(time.perf_counter() - began) * 1000:,.0f} ms")
