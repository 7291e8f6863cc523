"""The programs that record, upload and compute: which the settings ask for, and how each is called.

`daedalus run` keeps them itself, `daedalus service` hands them to systemd.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from daedalus.shared.errors import ConfigError

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.ingestion.writers.base import RawPaths

KINDS = ("collector", "sync", "watcher")
#: A recorder that told nothing for so long hangs, seconds.
SILENT_S = 180.0


def chosen_kinds(settings: "DaedalusConfig", only: str | None) -> list[str]:
    """Return which programs are to run: those of `only`, by commas; or all that the settings have use for.

    Raises
    ------
    ConfigError
        If there is no such program, or it has nothing to do.
    """
    destination = settings.storage.sync.destination
    has_store = destination.backend != "local" or destination.base_dir is not None
    if only is None:
        return [kind for kind in KINDS if kind != "sync" or has_store]
    kinds = [name.strip() for name in only.split(",") if name.strip()]
    if not kinds or not set(kinds) <= set(KINDS):
        raise ConfigError(f"--only {only}: give some of {', '.join(KINDS)}")
    if "sync" in kinds and not has_store:
        raise ConfigError("--only sync: storage.sync.destination is not set, so there is nowhere to upload to")
    return [kind for kind in KINDS if kind in kinds]


def chosen_sources(settings: "DaedalusConfig", sources: str | None) -> list[str]:
    """Return what is recorded: as given by commas, or every source with markets. Each is checked as `ingest` does.

    Raises
    ------
    ConfigError
        If there is none, or one cannot be recorded from.
    """
    from daedalus.cli import wiring

    names = wiring.sources(settings) if sources is None else [n.strip() for n in sources.split(",") if n.strip()]
    if not names:
        wiring.source_options(settings, "coinbase")
    from daedalus.ingestion.collectors.registry import SOURCES

    for name in names:
        if name not in SOURCES:
            raise ConfigError(f"--sources {name}: there is no such source; there are {', '.join(SOURCES)}")
        wiring.source_options(settings, name)
    wiring.writer_options(settings)
    return names


def command_line(
    kind: str, sources: Sequence[str], flags: Sequence[str], *, module: str = "main", once: bool = False
) -> tuple[str, ...]:
    """Return the command of a program; a watcher follows one source.

    Parameters
    ----------
    module
        Of the command line: `main`, or `supervised` for a process that is to end with the one that starts it.
    once
        Makes a sync that ends.
    """
    words = {
        "collector": ["ingest", "--sources", ",".join(sources)],
        "sync": ["sync", "--mode", "once" if once else "continuous"],
        "watcher": ["watch", "--source", *sources],
    }[kind]
    return (sys.executable, "-m", f"daedalus.cli.{module}", *words, *flags)


def common_flags(config: Path | None, base_dir: Path | None, overrides: Sequence[str] | None) -> list[str]:
    """Return the flags that every program is given, with paths that hold wherever it is started."""
    from daedalus.config.config import DEFAULT_PATH

    file = config or (DEFAULT_PATH if DEFAULT_PATH.exists() else None)
    flags = [] if file is None else ["--config", str(file.expanduser().absolute())]
    lake = [] if base_dir is None else [f"storage.base_dir={base_dir.expanduser().absolute()}"]
    return flags + [word for text in (*(overrides or ()), *lake) for word in ("--set", text)]


def hang_of_recorders(settings: "DaedalusConfig", sources: Sequence[str], pid: int) -> str | None:
    """Return why the recorder of that process hangs, by the status that it keeps; None while it does not."""
    from daedalus.cli.wiring import raw_paths

    found = (_hang(raw_paths(settings, source), pid) for source in sources)
    return next((why for why in found if why is not None), None)


def _hang(paths: "RawPaths", pid: int) -> str | None:
    from daedalus.ingestion.monitoring.status import STATUS_NAME, read_status
    from daedalus.shared.clock import NS_PER_SECOND, SystemClock
    from daedalus.shared.errors import CorruptError

    try:
        status = read_status(paths.active / STATUS_NAME)
    except (OSError, CorruptError):
        return None
    if status.pid != pid:
        return None
    silent_s = (SystemClock().now_ns() - status.written_at) / NS_PER_SECOND
    if silent_s > SILENT_S and status.phase == "recording":
        return f"{status.source} told nothing for {silent_s:.0f} s"
    return f"{status.source}: its writer did not go round for {status.beat_age_s:.0f} s" if status.hangs else None


def hang_check(settings: "DaedalusConfig", sources: Sequence[str]) -> "partial[str | None]":
    """Return the check of `hang_of_recorders`, by process."""
    return partial(hang_of_recorders, settings, sources)
