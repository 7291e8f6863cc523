"""`daedalus status`: what the recorder, the sync and the watcher of this machine do at the moment."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl

if TYPE_CHECKING:
    from daedalus.cli.status_print import Seen
    from daedalus.config.config import DaedalusConfig

EXIT_FAILED = 1


def status(
    base_dir: Annotated[
        Path | None, typer.Option("--base-dir", help="The lake's directory, over storage.base_dir.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between two looks of --watch.")] = 2.0,
    as_json: etl.JsonOption = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Show what runs: rates, age of the newest message, queue, journal, gaps, days the disk lasts, last upload.

    It reads the file that a recorder keeps beside its journals (every metrics.status_interval_seconds), so it works
    without metrics.port and never disturbs the recorder.

    Example: daedalus status --base-dir data --watch

    Exit codes: 0 something runs and all is well; 1 nothing runs, or something is not well; 2 the settings or flags are
    wrong.
    """
    from daedalus.cli.overrides import parse_overrides
    from daedalus.config.config import load_config

    flags = parse_overrides(overrides)
    if base_dir is not None:
        flags["storage.base_dir"] = str(base_dir)
    settings = load_config(config, flags)
    if watch:
        _watch(settings, interval, as_json)
        return
    seen = look(settings)
    _print(seen, as_json)
    if not seen.is_well:
        raise typer.Exit(EXIT_FAILED)


def look(settings: "DaedalusConfig") -> "Seen":
    """Return what there is to see. Raises `CorruptError` if a status file is none."""
    from daedalus.cli.status_print import Seen
    from daedalus.cli.sync_options import health_path
    from daedalus.cli.wiring import raw_paths, watch_states
    from daedalus.ingestion.monitoring.status import statuses
    from daedalus.shared.clock import SystemClock
    from daedalus.storage.lock import holder
    from daedalus.storage.sync_health import read_health

    paths = raw_paths(settings, "")
    watchers = {lock.parent.name: holder(lock) for lock in sorted(watch_states(settings).glob("*/watch.lock"))}
    return Seen(
        now_ns=SystemClock().now_ns(),
        base=str(paths.base),
        recorders=list(statuses(paths.base, paths.tier)),
        sync=read_health(health_path(settings)),
        uploads=_uploads(paths.base),
        watchers=watchers,
    )


def _uploads(base: Path) -> dict[str, int]:
    """Return when something was last uploaded, by store; nothing where that cannot be told, such as to a guest."""
    from daedalus.shared.errors import StorageError
    from daedalus.storage.ledger import Ledger

    try:
        ledger = Ledger.existing(base)
        if ledger is None:
            return {}
        with ledger:
            return ledger.last_copies()
    except StorageError:
        return {}


def _print(seen: "Seen", as_json: bool) -> None:
    from daedalus.cli.lakes import terminal_width
    from daedalus.cli.status_print import as_machine, lines

    typer.echo(as_machine(seen) if as_json else "\n".join(lines(seen, terminal_width())))


def _watch(settings: "DaedalusConfig", interval: float, as_json: bool) -> None:
    import time
    from contextlib import suppress

    with suppress(KeyboardInterrupt):
        if as_json or not sys.stdout.isatty():
            while True:
                _print(look(settings), as_json)
                sys.stdout.flush()
                time.sleep(interval)
        _live(settings, interval)


def _live(settings: "DaedalusConfig", interval: float) -> None:
    """Keep a screen of its own; what stood on the terminal is there again afterwards."""
    import time

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from daedalus.cli.status_print import cut, lines

    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            shown = cut(lines(look(settings), console.width), console.height)
            text = Text("\n".join(shown), no_wrap=True, overflow="ellipsis")
            text.highlight_regex(r"(?m)^ *(SYNC )?FAULT .*$", "bold red")
            text.highlight_regex(r"(?m)^ *warning .*$", "yellow")
            live.update(text, refresh=True)
            time.sleep(interval)
