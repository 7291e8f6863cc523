"""`daedalus compact`: small segments of a directory into one, of recordings and of what was computed from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from daedalus.cli import etl

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.merging import FileMerger
    from daedalus.ingestion.compaction import Compaction

EXIT_FAILED = 1


def compact(
    base_dir: Annotated[Path | None, typer.Option(help="The lake's directory, over storage.base_dir.")] = None,
    source: Annotated[str | None, typer.Option(help="Only what this collector recorded, such as coinbase.")] = None,
    layer: Annotated[
        Literal["raw", "processed"] | None,
        typer.Option(help="Only recordings (raw), or only features and bars (processed)."),
    ] = None,
    older_than_hours: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Leave directories alone whose newest segment, or whose hour of features or bars, is younger.",
        ),
    ] = 1.0,
    small_mb: Annotated[float, typer.Option(min=0.001, help="Leave larger segments alone, MB.")] = 16.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be merged, and stop.")] = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Merge the small segments of each directory into one: the same rows in the same order.

    Of recordings, the segments; of features and bars, what --mode append has put into a partition. The merged segment
    takes the place of the others in one step: readers never see a row twice, and a run that is killed is finished by
    the next. Segments that a store holds already stay as they are, and so does an hour that is not over. Recorders,
    watchers and readers may go on meanwhile.

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
    mergers = [] if layer == "raw" else list(file_mergers(settings, source, older_than_hours))
    work: list[Compaction | FileMerger] = [*mergers]
    if layer != "processed" and not (layer is None and mergers and not _is_recorded(settings)):
        work = [*compactions(settings, source, older_than_hours, small_mb), *work]
    problems = _tell(work) if dry_run else _run(work)
    if problems:
        raise typer.Exit(EXIT_FAILED)


def _tell(work: "list[Compaction | FileMerger]") -> int:
    for each in work:
        for place, found in each.candidates():
            typer.echo(f"would merge {len(found)} segments of {place}")
    return 0


def _run(work: "list[Compaction | FileMerger]") -> int:
    """Merge, tell what came of it, and return the number of problems."""
    segments = merged = problems = 0
    for each in work:
        for outcome in each.run():
            if outcome.problem:
                typer.echo(f"not merged: {outcome.problem}", err=True)
            problems += outcome.problem is not None
            segments, merged = segments + outcome.segments, merged + (outcome.segments > 0)
    typer.echo(f"merged {segments:,} segments into {merged:,}; not merged: {problems:,}")
    return problems


def file_mergers(
    settings: "DaedalusConfig", source: str | None = None, older_than_hours: float = 1.0
) -> "Iterator[FileMerger]":
    """Yield what merges each table of features and bars of the local lake; none where they are in an object store."""
    from daedalus.cli.stores import open_store
    from daedalus.etl.core.merging import FileMerger, tables_below

    paths, base = settings.storage.paths, open_store(settings, "etl_storage_output")
    if not isinstance(base, Path):
        return
    for root, time_column in tables_below(base, paths.tier_features, paths.tier_aggregates):
        if source in (None, root.split("/")[1]):
            yield FileMerger(base, root, time_column, older_than_hours=older_than_hours)


def _is_recorded(settings: "DaedalusConfig") -> bool:
    from daedalus.cli.wiring import recording_path

    return recording_path(settings, "").is_dir()


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
