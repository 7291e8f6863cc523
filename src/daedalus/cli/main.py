"""The `daedalus` command: it only gathers the groups, one file each, and turns errors into exit codes.

Groups import what is heavy inside their functions, so that `--help` answers at once and a recorder never loads the ETL.
"""

import sys
from collections.abc import Callable

import typer

from daedalus.cli import (
    bars,
    compact,
    config,
    convert,
    demo,
    export,
    features,
    import_recordings,
    ingest,
    ls,
    quality,
    query,
    recover,
    replay_frames,
    sandbox,
    service,
    state,
    status,
    supervise,
    sync,
    verify,
    watch,
)
from daedalus.cli.doctor.command import doctor
from daedalus.shared.errors import ConfigError, DaedalusError

EXIT_FAILED = 1
"""The work failed, or a check found something wrong."""
EXIT_USAGE = 2
"""The configuration, a flag or an argument is wrong: nothing was done."""

app = typer.Typer(
    name="daedalus",
    help="Record crypto markets, keep every tick, compute microstructure features and bars.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ingest")(ingest.ingest)
app.command("import")(import_recordings.import_recordings)
app.command("replay-frames")(replay_frames.replay_frames)
app.command("recover")(recover.recover)
app.command("compact")(compact.compact)
app.command("sync")(sync.sync)
app.command("ls")(ls.ls)
app.command("query")(query.query)
app.command("quality")(quality.quality)
app.command("run")(supervise.run)
app.command("status")(status.status)
app.command("doctor")(doctor)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("convert")(convert.convert)
app.command("watch")(watch.watch)
app.command("bars")(bars.bars)
app.command("demo")(demo.demo)
app.add_typer(features.app, name="features")
app.add_typer(state.app, name="state")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(service.app, name="service")
app.add_typer(config.app, name="config")


def run(call: Callable[[], object]) -> None:
    """Call a command; a `DaedalusError` becomes one line on stderr and an exit code."""
    try:
        call()
    except ConfigError as error:
        sys.stderr.write(f"daedalus: {error}\n")
        sys.exit(EXIT_USAGE)
    except DaedalusError as error:
        sys.stderr.write(f"daedalus: {error}\n")
        sys.exit(EXIT_FAILED)


def main() -> None:
    """Run the command line."""
    run(app)


if __name__ == "__main__":
    main()
