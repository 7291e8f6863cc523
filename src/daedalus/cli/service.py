"""`daedalus service`: hand the programs to systemd."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl, supervise

if TYPE_CHECKING:
    from daedalus.cli.units import Place
    from daedalus.config.config import DaedalusConfig

app = typer.Typer(help="Recorder, sync and watcher as services of systemd.", no_args_is_help=True)
SYSTEM_FOLDER = Path("/etc/systemd/system")


@app.callback()
def _group() -> None:
    """Keep `install` a command of its own."""


@app.command("install")
def install(
    user: Annotated[bool, typer.Option("--user", help="For your own service manager; needs no root.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the units, and write nothing.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help=f"Where units go; default: {SYSTEM_FOLDER}, with --user ~/.config/systemd/user."),
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="Who runs them, without --user; default: who called sudo.")
    ] = None,
    sources: supervise.SourcesOption = None,
    only: supervise.OnlyOption = None,
    base_dir: supervise.BaseDirOption = None,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Write systemd units, and say what is left to do. Started in the folder that relative paths are relative to.

    The recorder tells systemd that it is ready and that it lives; when it hangs it is started anew. The sync runs by a
    timer, every storage.sync.interval_seconds. All have memory limits that suit a Raspberry Pi 4 with 4 GB. Units that
    are there are replaced; nothing is started.

    Example: daedalus service install --user --dry-run

    Exit codes: 0 written or printed; 1 a unit cannot be written; 2 the settings or flags are wrong.
    """
    from daedalus.cli.units import Place

    _refuse_secrets(overrides)
    settings = supervise.settings_of(config, base_dir, overrides)
    who = None if user else account or os.environ.get("SUDO_USER")
    place = Place(Path.cwd(), user, who)
    units = make_units(settings, place, sources, only, config, base_dir, overrides)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    where = folder or (home / "systemd" / "user" if user else SYSTEM_FOLDER)
    if dry_run:
        for name, text in units.items():
            typer.echo(f"# {where / name}\n{text}")
        return
    _write(where, units)
    _tell(units, user, who)


def make_units(
    settings: "DaedalusConfig",
    place: "Place",
    sources: str | None,
    only: str | None,
    config: Path | None,
    base_dir: Path | None,
    overrides: list[str] | None,
) -> dict[str, str]:
    """Return the units by file name. Raises `ConfigError` for what could not run."""
    from daedalus.cli.programs import chosen_kinds, chosen_sources, command_line, common_flags
    from daedalus.cli.units import collector_unit, sync_timer, sync_unit, watcher_unit

    kinds, names = chosen_kinds(settings, only), chosen_sources(settings, sources)
    flags = common_flags(config, base_dir, overrides)
    units: dict[str, str] = {}
    if "collector" in kinds:
        units["daedalus-collector.service"] = collector_unit(place, command_line("collector", names, flags))
    if "sync" in kinds:
        units["daedalus-sync.service"] = sync_unit(place, command_line("sync", names, flags, once=True))
        units["daedalus-sync.timer"] = sync_timer(settings.storage.sync.interval_seconds)
    for name in names if "watcher" in kinds else ():
        units[f"daedalus-watcher-{name}.service"] = watcher_unit(place, name, command_line("watcher", [name], flags))
    return units


def _refuse_secrets(overrides: list[str] | None) -> None:
    """Raise `ConfigError` for a secret on the command line: everybody can read units."""
    from daedalus.cli.overrides import parse_overrides
    from daedalus.config.config import DaedalusConfig
    from daedalus.config.keys import find
    from daedalus.shared.errors import ConfigError

    for name in parse_overrides(overrides):
        key, _, _ = find(DaedalusConfig, tuple(name.split(".")))
        if key is not None and key.is_secret:
            raise ConfigError(f"--set {name}: {name} is a secret, and everybody can read units; put it into the file")


def _write(where: Path, units: dict[str, str]) -> None:
    from daedalus.shared.errors import StorageError

    try:
        where.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            is_new = not (where / name).exists()
            (where / name).write_text(text)
            typer.echo(f"{'wrote' if is_new else 'replaced'} {where / name}")
    except OSError as error:
        advice = "give --user for your own service manager, or call it with sudo"
        raise StorageError(f"cannot write {error.filename or where}: {error.strerror}; {advice}") from error


def _tell(units: dict[str, str], user: bool, account: str | None) -> None:
    command = "systemctl --user" if user else "sudo systemctl"
    started = " ".join(name for name in units if "[Install]" in units[name])
    typer.echo("nothing was started; now:")
    typer.echo(f"  {command} daemon-reload")
    typer.echo(f"  {command} enable --now {started}")
    if user:
        typer.echo("  loginctl enable-linger    # so that they run while nobody is logged in")
    elif account is None:
        typer.echo("they run as root: give --account for another")
    typer.echo(f"see them: {command} status 'daedalus-*'; journalctl {'--user ' if user else ''}-fu daedalus-collector")
