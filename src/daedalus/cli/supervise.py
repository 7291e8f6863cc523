"""`daedalus run`: everything in one place, each part in a process of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl

if TYPE_CHECKING:
    from daedalus.cli.supervisor import Program
    from daedalus.config.config import DaedalusConfig

SourcesOption = Annotated[
    str | None, typer.Option("--sources", help="What to record from, by commas; default: every source with markets.")
]
OnlyOption = Annotated[
    str | None,
    typer.Option(
        "--only", help="Some of collector, sync, watcher; default: all, sync where storage.sync.destination is set."
    ),
]
BaseDirOption = Annotated[Path | None, typer.Option("--base-dir", help="The lake's directory, over storage.base_dir.")]


def run(
    sources: SourcesOption = None,
    only: OnlyOption = None,
    base_dir: BaseDirOption = None,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Keep the recorder, the sync and the watcher running until Ctrl-C or SIGTERM.

    Each is a process of its own, so that features never hold up recording. One that ends, or hangs, is started again
    after a wait that grows from a second to a minute; the log says why it ended. Ctrl-C ends all in order, a second one
    at once. When it is killed itself, they end in order too. Under systemd, `daedalus service install` does the same
    with units.

    Example: daedalus run --only collector,watcher

    Exit codes: 0 stopped in order; 2 the settings or flags are wrong.
    """
    import asyncio

    from daedalus.cli.logs import configure_logging
    from daedalus.cli.wiring import logging_options

    settings = settings_of(config, base_dir, overrides)
    configure_logging(**logging_options(settings))
    asyncio.run(_supervise(programs(settings, sources, only, config, base_dir, overrides)))


def settings_of(config: Path | None, base_dir: Path | None, overrides: list[str] | None) -> "DaedalusConfig":
    """Return the settings with the flags over them."""
    from daedalus.cli.overrides import parse_overrides
    from daedalus.config.config import load_config

    flags = parse_overrides(overrides)
    if base_dir is not None:
        flags["storage.base_dir"] = str(base_dir)
    return load_config(config, flags)


def programs(
    settings: "DaedalusConfig",
    sources: str | None,
    only: str | None,
    config: Path | None,
    base_dir: Path | None,
    overrides: list[str] | None,
) -> "list[Program]":
    """Return the programs that are to run. Raises `ConfigError` for what could not."""
    import shutil
    from functools import partial

    from daedalus.cli.programs import chosen_kinds, chosen_sources, command_line, common_flags, hang_check
    from daedalus.cli.supervisor import Program

    kinds, names = chosen_kinds(settings, only), chosen_sources(settings, sources)
    line = partial(command_line, flags=common_flags(config, base_dir, overrides), module="supervised")
    # Recording comes first: what can wait runs behind it.
    nice = (path, "-n", "10") if (path := shutil.which("nice")) else ()
    made: list[Program] = []
    for kind in kinds:
        if kind == "collector":
            made.append(Program(kind, line(kind, names), hang_check(settings, names)))
        elif kind == "sync":
            made.append(Program(kind, (*nice, *line(kind, names))))
        else:
            made += [Program(f"{kind} {name}", (*nice, *line(kind, [name]))) for name in names]
    return made


async def _supervise(found: "list[Program]") -> None:
    import asyncio
    import signal

    from daedalus.cli.supervisor import Supervisor
    from daedalus.shared.clock import SystemClock

    supervisor: Supervisor = Supervisor(found, clock=SystemClock())
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.tell(signal.SIGTERM)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    await supervisor.run(stop)
