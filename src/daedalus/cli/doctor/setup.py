"""The doctor's questions about the settings: whether they can run, their keys, their directories, the disk below."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from daedalus.cli.doctor.findings import Finding, fail, graded, ok, warn
from daedalus.shared.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig

FREE_GB_MIN, FREE_GB_LEAST = 5.0, 0.5
#: Syncs that are timed, and ms from which a card is slow or too slow for the flush interval.
SYNCS, SYNC_MS_SLOW, SYNC_MS_BAD = 16, 100.0, 2000.0
_BLOCK = b"\0" * 65_536


def settings(config: "DaedalusConfig") -> Iterator[Finding]:
    """Yield what would be recorded, and what cannot run."""
    from daedalus.cli.programs import chosen_sources
    from daedalus.cli.wiring import unusable
    from daedalus.config.config import permission_warning

    yield ok("settings", str(config.origins.file or "no file: defaults, environment and flags"))
    for text in unusable(config):
        yield fail("settings", text, "`daedalus config check` names file and line")
    try:
        yield ok("markets", f"{_markets(config)}; from {', '.join(chosen_sources(config, None))}")
    except ConfigError as error:
        yield fail("markets", str(error), "choose some; `daedalus config init` writes a commented file")
    if warning := permission_warning(config):
        yield warn("settings", warning, f"chmod 600 {config.origins.file}")


def _markets(config: "DaedalusConfig") -> str:
    through_ccxt = sum(len(set().union(*e.channels.values())) for e in config.ccxt.exchanges.values() if e.channels)
    return f"{len(config.coinbase.symbols)} of Coinbase, {through_ccxt} through CCXT"


def keys(config: "DaedalusConfig") -> Iterator[Finding]:
    """Yield whether the keys can be used; market data needs none."""
    from daedalus.ingestion.collectors.coinbase_session import sign_token

    coinbase = config.coinbase
    if coinbase.api_key is None or coinbase.api_secret is None:
        yield ok("keys", "none for Coinbase: its market data needs none")
        return
    try:
        sign_token(coinbase.api_key.get_secret_value(), coinbase.api_secret.get_secret_value())
    except RefusedError as error:
        yield fail("keys", str(error), "copy the key's PEM as it is, line breaks included, or remove both keys")
    else:
        yield ok("keys", "that of Coinbase signs")


def disk(config: "DaedalusConfig") -> Iterator[Finding]:
    """Yield whether the directories can be written, how much room there is, and how long a sync takes."""
    from daedalus.cli.config_flow import unwritable
    from daedalus.cli.wiring import raw_paths, retention_options, state_dir
    from daedalus.ingestion.monitoring.disk import look_at_disk
    from daedalus.shared.clock import SystemClock

    base = raw_paths(config, "").base
    faults = {base: unwritable(base), state_dir(config): unwritable(state_dir(config))}
    for path, fault in faults.items():
        if fault is not None:
            yield fail("disk", fault, f"sudo chown $USER {path}, or set storage.base_dir, storage.paths.state_dir")
    budget = retention_options(config)
    found = look_at_disk(base, SystemClock(), max_bytes=budget["max_bytes"], min_free_bytes=budget["min_free_bytes"])
    free = found.free_bytes / 1e9
    lasts = "" if found.days_left is None else f", lasts {found.days_left:,.1f} days"
    fix = "upload and remove (`daedalus sync --delete-after-transfer`), set storage.max_disk_gb, or add a disk"
    text = f"{free:,.1f} of {found.total_bytes / 1e9:,.1f} GB free{lasts}"
    yield graded("disk", -free, text, warn_at=-FREE_GB_MIN, fail_at=-FREE_GB_LEAST, fix=fix)
    if faults[base] is None:
        yield from _syncs(base)


def _syncs(base: Path) -> Iterator[Finding]:
    """Yield how long the disk takes to make 64 KiB durable, which a recorder does at every flush."""
    there = base.absolute()
    while not there.exists():
        there = there.parent
    took: list[float] = []
    with tempfile.TemporaryFile(dir=there) as file:
        for _ in range(SYNCS):
            file.write(_BLOCK)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    text = f"64 KiB are safe on it after {median(took):,.1f} ms, {max(took):,.1f} ms at the most"
    fix = "a slow card: use an SSD over USB 3, or a card of class A2; a longer ingestion.flush_interval_seconds helps"
    yield graded("sync", max(took), text, warn_at=SYNC_MS_SLOW, fail_at=SYNC_MS_BAD, fix=fix)
