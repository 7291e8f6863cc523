"""The command: all questions, one after the other, and their answers on the terminal."""

import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl

if TYPE_CHECKING:
    from daedalus.cli.doctor.findings import Finding
    from daedalus.config.config import DaedalusConfig

EXIT_FAILED = 1
_WIDTH_MIN, _WIDTH_MAX, _INDENT = 40, 120, 17


def doctor(
    base_dir: Annotated[
        Path | None, typer.Option("--base-dir", help="The lake's directory, over storage.base_dir.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing of the network.")] = False,
    as_json: etl.JsonOption = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Look for what keeps a recorder from doing well, on this machine, in the settings and in the lake; say what to do.

    Python, processor, memory, limits, clock; settings and keys; room on the disk and how long a sync takes; hosts of
    the exchanges and the store of the sync, as far as they are set; journals and the newest segments. It changes
    nothing, and may run beside a recorder.

    Example: daedalus doctor --base-dir data --offline

    Exit codes: 0 nothing fails (warnings are no failure); 1 something does, wrong settings among them.
    """
    found: list[Finding] = []
    for finding in examine(base_dir, offline, config, overrides):
        found.append(finding)
        if not as_json:
            typer.echo("\n".join(lines(finding, _width())))
    counts = {level: sum(finding.level == level for finding in found) for level in ("ok", "warn", "fail")}
    if as_json:
        _print_json(found, counts)
    else:
        typer.echo(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures")
    if counts["fail"]:
        raise typer.Exit(EXIT_FAILED)


def examine(
    base_dir: Path | None, offline: bool, config: Path | None, overrides: list[str] | None
) -> "Iterator[Finding]":
    """Yield all findings; those that need the settings only where they can be read."""
    from daedalus.cli.doctor import machine
    from daedalus.cli.doctor.findings import examined, fail
    from daedalus.cli.supervise import settings_of
    from daedalus.shared.errors import ConfigError

    for ask in (machine.python, machine.processor, machine.memory, machine.limits, machine.clock):
        yield from examined(ask.__name__, ask)
    try:
        settings = settings_of(config, base_dir, overrides)
    except ConfigError as error:
        yield fail("settings", str(error), "`daedalus config check` names file and line")
        return
    yield from _of(settings, offline)


def _of(settings: "DaedalusConfig", offline: bool) -> "Iterator[Finding]":
    from daedalus.cli.doctor import lake, network, setup
    from daedalus.cli.doctor.findings import examined

    asked = [setup.settings, setup.keys, setup.disk]
    asked += [] if offline else [network.exchanges, network.store]
    for ask in (*asked, lake.programs, lake.journals, lake.segments):
        yield from examined(ask.__name__, partial(ask, settings))


def lines(finding: "Finding", width: int) -> list[str]:
    """Return a finding as lines of that width, what to do below it."""
    head = f"{finding.level:<5} {finding.check:<10} "
    text = _wrapped(finding.text, width, head)
    return text + (_wrapped(finding.fix, width, " " * (_INDENT - 3) + "-> ") if finding.fix else [])


def _wrapped(text: str, width: int, head: str) -> list[str]:
    room = max(_WIDTH_MIN, min(_WIDTH_MAX, width)) - _INDENT
    found = [line for part in text.splitlines() for line in textwrap.wrap(part, room, break_on_hyphens=False) or [""]]
    return [(head if at == 0 else " " * _INDENT) + line for at, line in enumerate(found or [""])]


def _width() -> int:
    from daedalus.cli.lakes import terminal_width

    return terminal_width()


def _print_json(found: "Sequence[Finding]", counts: dict[str, int]) -> None:
    import msgspec

    whole = {"is_well": not counts["fail"], "counts": counts, "findings": found}
    typer.echo(msgspec.json.encode(whole).decode())
