"""`daedalus config`: write the file of settings, check it, show what counts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig

app = typer.Typer(
    help="Write, check and show the settings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

EXIT_FAILED = 1
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="File of settings; default config/config.yaml where it exists.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, over file and environment: --set ingestion.batch_size=9."),
]


@app.command("init")
def init(
    path: Annotated[Path, typer.Option(help="Where to write it.")] = Path("config/config.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented file of settings: every key with its default. Readable by its owner only.

    Example: daedalus config init
    """
    from daedalus.config.template import write_template

    write_template(path, force)
    typer.echo(f"wrote {path}. Now set coinbase.symbols in it, then: daedalus config check --config {path}")


@app.command("check")
def check(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Check file, environment and flags; name everything that is wrong, with its line. Exit code 2 when something is.

    Example: daedalus config check --config config/config.yaml
    """
    from daedalus.cli.wiring import unusable
    from daedalus.config.config import ConfigProblemsError, Problem

    settings = load(config, overrides)
    refused = unusable(settings)
    if refused:
        raise ConfigProblemsError([Problem(text) for text in refused])
    warn(settings)
    typer.echo(f"OK: {settings.origins.file or 'no file, defaults only'}")
    for line in what_runs(settings):
        typer.echo(f"  {line}")


@app.command("show")
def show(
    config: ConfigOption = None,
    origins: Annotated[bool, typer.Option("--origins", help="Say where each value that is no default is set.")] = False,
    overrides: Overrides = None,
) -> None:
    """Print the settings that count, as YAML, secrets hidden.

    Example: daedalus config show --origins
    """
    from daedalus.config.dump import render_config

    typer.echo(render_config(load(config, overrides), origins), nl=False)


@app.command("flow")
def flow(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Print how the settings flow from the file to writer, processors and features; exit code 1 and why if it fails.

    Example: daedalus config flow --config config/config.yaml
    """
    from daedalus.cli.config_flow import flow_faults, render_flow
    from daedalus.shared.errors import ConfigError

    try:
        settings = load(config, overrides)
        warn(settings)
        typer.echo(render_flow(settings), nl=False)
        faults = flow_faults(settings)
    except ConfigError as error:
        faults = [str(error)]
    if faults:
        typer.echo("\nThe flow does not work:\n  " + "\n  ".join(faults), err=True)
        raise typer.Exit(EXIT_FAILED)
    typer.echo("\nThe flow works.")


def load(config: Path | None, overrides: list[str] | None) -> "DaedalusConfig":
    """Read the settings with the flags that every command has."""
    from daedalus.cli.overrides import parse_overrides
    from daedalus.config.config import load_config

    return load_config(config, parse_overrides(overrides))


def warn(config: "DaedalusConfig") -> None:
    """Say on stderr when others can read the secrets in the file."""
    from daedalus.config.config import permission_warning

    text = permission_warning(config)
    if text:
        typer.echo(f"warning: {text}", err=True)


def what_runs(config: "DaedalusConfig") -> list[str]:
    """Return in a few lines what the settings would make Daedalus do."""
    coinbase, channels = config.coinbase, config.etl.channels
    lines = []
    if coinbase.symbols:
        lines = [f"records {', '.join(coinbase.channels)} of {', '.join(coinbase.symbols)} from Coinbase"]
    for name, entry in config.ccxt.exchanges.items():
        lines.append(
            f"records {', '.join(entry.record)} of {', '.join(entry.channels) or 'nothing'} from {name} (ccxt)"
        )
    lines = lines or ["records nothing: coinbase.symbols and ccxt.exchanges are empty"]
    made = [name for name, on in (("features", channels.orderbook.enabled), ("bars", channels.bars.enabled)) if on]
    return [*lines, f"makes {' and '.join(made) or 'no features and no bars'}"]
