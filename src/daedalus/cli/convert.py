"""`daedalus convert`: NDJSON segments to Parquet segments."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from daedalus.ingestion.convert import Outcome, Target
    from daedalus.ingestion.writers.base import RawPaths

EXIT_FAILED = 1
#: Without a terminal, a line of the log for so many segments.
LOG_EVERY = 100


def convert(
    to: Annotated[str, typer.Option(help="The format wanted: parquet.")] = "parquet",
    base_dir: Annotated[Path | None, typer.Option(help="The lake's directory, over storage.base_dir.")] = None,
    source: Annotated[str | None, typer.Option(help="Convert this source only, such as coinbase.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the NDJSON segments where they are.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings; default config/config.yaml where it exists.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, over the file: --set ingestion.batch_size=9.")
    ] = None,
) -> None:
    """Turn the NDJSON segments of a lake (ingestion.raw_format: ndjson) into Parquet segments, value for value.

    Each is read back and compared before its lines are removed, so it may be cut off at any time and run again. A
    corrupt segment is moved to raw/quarantine, named on stderr, and the others are converted all the same.

    Example: daedalus convert --to parquet --base-dir data

    Exit codes: 0 all converted, or nothing to do; 1 some could not be; 2 the settings or flags are wrong.
    """
    from daedalus.cli.logs import configure_logging
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.wiring import logging_options, recording_path
    from daedalus.config.config import load_config
    from daedalus.ingestion.convert import Target
    from daedalus.ingestion.writers.base import RawPaths
    from daedalus.shared.errors import ConfigError

    if to != "parquet":
        raise ConfigError(f"--to {to}: segments are converted to parquet only")
    flags = {**parse_overrides(overrides), **({"storage.base_dir": str(base_dir)} if base_dir else {})}
    settings = load_config(config, flags)
    configure_logging(**logging_options(settings))
    all_ready = recording_path(settings, "")
    compression, level = settings.ingestion.parquet_compression, settings.ingestion.parquet_compression_level
    done: list[Outcome] = []
    for name in sources(all_ready, source):
        paths = RawPaths(all_ready.parents[1], name, all_ready.parent.name)
        done += convert_source(paths, Target(compression, level, keep))
    problems = sum(outcome.problem is not None for outcome in done)
    rows = sum(outcome.rows for outcome in done)
    typer.echo(f"converted {len(done) - problems:,} segments, {rows:,} rows; not converted: {problems:,}")
    if problems:
        raise typer.Exit(EXIT_FAILED)


def sources(all_ready: Path, wanted: str | None) -> list[str]:
    """Return the sources recorded in a lake, or the one wanted. Raises `ConfigError` when it is not there."""
    from daedalus.shared.errors import ConfigError

    found = sorted(path.name for path in all_ready.iterdir() if path.is_dir()) if all_ready.is_dir() else []
    if wanted is None and found:
        return found
    if wanted in found:
        return [wanted]
    missing = f"no source {wanted}" if found else "nothing recorded"
    raise ConfigError(
        f"there is {missing} in {all_ready} ({', '.join(found) or 'empty'}): check --base-dir and --source"
    )


def convert_source(paths: "RawPaths", target: "Target") -> "Iterator[Outcome]":
    """Convert one source, show how far it is, and name every problem on stderr."""
    import sys

    import structlog
    from rich.console import Console
    from rich.progress import Progress

    from daedalus.ingestion.convert import convert_segments, ndjson_segments

    total = len(ndjson_segments(paths.ready))
    terminal = sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=not terminal) as progress:
        task = progress.add_task(paths.source, total=total)
        for number, outcome in enumerate(convert_segments(paths, target), 1):
            if outcome.problem:
                progress.console.print(outcome.problem, style="red", markup=False, highlight=False, soft_wrap=True)
            if number % LOG_EVERY == 0 and not terminal:
                structlog.get_logger(__name__).info("converting", source=paths.source, segments=number, of=total)
            progress.advance(task)
            yield outcome
