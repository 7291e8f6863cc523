"""The doctor's questions about the machine: Python, processor, memory, clock, limits."""

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from daedalus.cli.doctor.findings import Finding, fail, ok, warn

#: Of these there are wheels of everything that Daedalus is made of.
ARCHITECTURES = ("x86_64", "amd64", "aarch64", "arm64")
MEMORY_GB_MIN = 1.5
FILES_MIN = 1024
_LIBRARIES = ("polars", "pyarrow", "numba", "duckdb", "ccxt", "aiohttp")


def python() -> Iterator[Finding]:
    """Yield what runs this."""
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    yield ok("python", found)
    yield ok("versions", ", ".join(f"{name} {version(name)}" for name in ("daedalus", *_LIBRARIES)))


def processor() -> Iterator[Finding]:
    """Yield architecture, cores and load."""
    machine, bits = platform.machine(), 64 if sys.maxsize > 2**32 else 32
    cores = os.cpu_count() or 1
    text = f"{machine}, {bits} bits, {cores} cores, load {os.getloadavg()[1]:.1f} over 5 minutes"
    if bits != 64 or machine.lower() not in ARCHITECTURES:
        yield fail("processor", text, "install a 64-bit system (on a Raspberry Pi: Raspberry Pi OS 64-bit)")
    elif os.getloadavg()[1] > 2 * cores:
        yield warn("processor", text, "something else takes the machine: `top` shows it; recording has to wait for it")
    else:
        yield ok("processor", text)


def memory() -> Iterator[Finding]:
    """Yield how much memory there is."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    total, free = kib["MemTotal"] / 1e6 * 1.024, kib.get("MemAvailable", 0) / 1e6 * 1.024
    text = f"{total:,.1f} GB, {free:,.1f} GB available"
    if total < MEMORY_GB_MIN:
        yield warn("memory", text, "record fewer markets, lower ingestion.queue_max_mb, and compute features elsewhere")
    elif free < 0.3:
        yield warn("memory", text, "something else holds it: `ps aux --sort=-rss | head` shows what")
    else:
        yield ok("memory", text)


def limits() -> Iterator[Finding]:
    """Yield how many files may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft:,} open files ({hard:,} at most)"
    fix = "ulimit -n 4096 before the start; under systemd LimitNOFILE=4096"
    yield ok("limits", text) if soft >= FILES_MIN else warn("limits", text, fix)


def clock() -> Iterator[Finding]:
    """Yield whether the clock is kept by a time service, as systemd tells."""
    fix = "sudo timedatectl set-ntp true; receive times are the order of everything that is recorded"
    synced = _synchronised()
    if synced is None:
        yield warn("clock", "whether a time service keeps it cannot be told here", "see that chrony or ntpd runs")
    elif synced:
        yield ok("clock", "kept by a time service")
    else:
        yield warn("clock", "no time service keeps it", fix)


def _synchronised() -> bool | None:
    program = shutil.which("timedatectl")
    if program is None:
        return None
    command = [program, "show", "--property=NTPSynchronized", "--value"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())
