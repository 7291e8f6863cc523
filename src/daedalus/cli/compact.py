"""`daedalus compact`: small segments of a directory into one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.ingestion.compaction import Compaction

EXIT_FAILED = 1


def compact(
    base_dir: Annotated[Path | None, typer.Option(help="The lake's directory, over storage.base_dir.")] = None,
    source: Annotated[str | None, typer.Option(help="Only what this collector recorded, such as coinbase.")] = None,
    older_than_hours: Annotated[
        float, typer.Option(min=0.0, help="Leave directories alone whose newest segment is younger.")
    ] = 1.0,
    small_mb: Annotated[float, typer.Option(min=0.001, help="Leave larger segments alone, MB.")] = 16.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be merged, and stop.")] = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Merge the small segments of each directory of recordings into one: the same rows in the same order.

    The merged segment is read back and compared, then takes the place of the others in one step: readers never see a
    row twice, and a run that is killed is finished by the next. Segments that a store holds already stay as they are.

    Example: daedalus compact --base-dir data --dry-run

    Exit codes: 0 done; 1 a directory could not be merged (it stays as it is); 2 the settings or flags are wrong.
    """
    from daedalus.cli.logs import configure_logging
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.wiring import logging_options
    from daedalus.config.config import load_config

    flags = {**parse_overrides(overrides), **({"storage.base_dir": str(base_dir)} if base_dir else {})}
    settings = load_config(config, flags)
    configure_logging(**logging_options(settings))
    segments = merged = problems = 0
    for compaction in compactions(settings, source, older_than_hours, small_mb):
        if dry_run:
            for folder, found in compaction.candidates():
                typer.echo(f"would merge {len(found)} segments of {folder}")
            continue
        for outcome in compaction.run():
            if outcome.problem:
                typer.echo(f"not merged: {outcome.problem}", err=True)
            problems += outcome.problem is not None
            segments, merged = segments + outcome.segments, merged + (outcome.segments > 0)
    if not dry_run:
        typer.echo(f"merged {segments:,} segments into {merged:,}; not merged: {problems:,}")
    if problems:
        raise typer.Exit(EXIT_FAILED)


def compactions(
    settings: "DaedalusConfig",
    source: str | None = None,
    older_than_hours: float = 1.0,
    small_mb: float = 16.0,
    lake: Path | None = None,
) -> "list[Compaction]":
    """Return the compaction of each recorder of the lake, default the settings' own.

    Raises `ConfigError` when the one wanted is not there, or nothing was recorded.
    """
    from daedalus.cli.convert import sources
    from daedalus.cli.wiring import recording_path
    from daedalus.ingestion.compaction import Compaction, Rules
    from daedalus.ingestion.writers.base import RawPaths

    ready, ingestion = recording_path(settings, ""), settings.ingestion
    if lake is not None:
        ready = lake / settings.storage.paths.tier_raw / "ready"
    rules = Rules(
        older_than_hours, round(small_mb * 1e6), ingestion.parquet_compression, ingestion.parquet_compression_level
    )
    return [Compaction(RawPaths(ready.parents[1], name, ready.parent.name), rules) for name in sources(ready, source)]
