"""Importing foreign recordings: files in, bronze out, through the parsers and the writer's journal and sealing.

Rows carry the recorded receive clock, so they stand in the partitions of the recording. What cannot be read costs
itself and a row of the ledger; where a recording ends, the ledger says so. Memory is bounded by a part's buffer and one
item of each file that is open.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from daedalus.ingestion.collectors.frame_parser import CHANNELS
from daedalus.ingestion.orchestrators.import_formats import FORMATS, Feed, FeedOptions
from daedalus.ingestion.orchestrators.import_inputs import Broken, InputFile, items, merged, survey
from daedalus.ingestion.orchestrators.manifests import Input, Manifest, Manifests, new_manifest
from daedalus.ingestion.orchestrators.part_writer import PART_BYTES, PartWriter
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.journal import SealOptions
from daedalus.ingestion.writers.recovery import locked
from daedalus.shared.errors import ConfigError

log = structlog.get_logger(__name__)

#: Items between two calls of `on_progress`.
STEP_ITEMS = 2000


@dataclass(frozen=True)
class ImportOptions:
    """What to import, and how.

    Attributes
    ----------
    format
        A key of `import_formats.FORMATS`.
    exchange, symbols
        Names in the lake; see `FeedOptions`.
    channels, depth, interval_ms
        Bronze channels; levels a side of an `orderbook` row, and the least time between two of a market (0 = each
        update). Tops that the recording itself holds are all kept, as they are.
    """

    format: str
    exchange: str | None = None
    symbols: tuple[str, ...] = ()
    channels: tuple[str, ...] = CHANNELS
    depth: int = 20
    interval_ms: int = 1000


@dataclass
class ImportReport:
    """What an import came to.

    Attributes
    ----------
    files, skipped
        Files whose rows were written, and those that were in the lake already.
    rows
        By channel.
    malformed
        Lines and frames that could not be read.
    notes, problems
        What a person should know; what went wrong with whole files.
    """

    files: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    malformed: int = 0
    segments: int = 0
    segment_bytes: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


Progress = Callable[[str, int, int], None]
"""Called with what is being read, the lines read so far, and how many there are (0 while they are being counted)."""


def import_files(
    files: Sequence[Path],
    options: ImportOptions,
    paths: RawPaths,
    seal_options: SealOptions,
    on_progress: Progress = lambda name, lines, of: None,
    part_bytes: int = PART_BYTES,
) -> ImportReport:
    """Import files. Those that were imported before add nothing; they are read for what comes after them.

    Parameters
    ----------
    files
        Together: several may be one session. Their order does not matter.
    paths
        Of the source in the lake, which is held meanwhile.
    seal_options
        How segments are made.

    Raises
    ------
    ConfigError
        If the files are not of the format, or cannot be imported with these names. Nothing of them is in the lake then.
    StorageError
        If somebody else writes into the source, or the disk refuses. Run it again: it goes on where it stopped.
    """
    format_ = FORMATS[options.format]
    report = ImportReport()
    feed = format_.feed(_feed_options(options))
    surveyed = []
    for path in dict.fromkeys(files):
        on_progress(path.name, 0, 0)
        surveyed.append(survey(path, format_.read, feed.about))
    report.problems += [file.problem for file in surveyed if file.problem]
    whole = _distinct([file for file in surveyed if not file.problem])
    for number, file in enumerate(whole):
        feed.check(number, file)
    with locked(paths):
        manifests = Manifests(paths)
        naming, settings = _described(options, seal_options)
        done = manifests.done(naming)
        new, old = [f for f in whole if f.sha256 not in done], [f for f in whole if f.sha256 in done]
        report.files, report.skipped = [str(f.path) for f in new], [str(f.path) for f in old]
        if new:
            run = manifests.begin(new_manifest(naming, settings, _inputs(new), _inputs(old)))
            silent = {number for number, file in enumerate(whole) if file in old}
            job = _Import(whole, silent, feed, manifests, run, on_progress, report)
            job.run(paths, seal_options, part_bytes)
    return report


def _distinct(files: Sequence[InputFile]) -> list[InputFile]:
    """Return each content once, by its first clock."""
    by_content = {file.sha256: file for file in reversed(files)}
    return sorted(by_content.values(), key=lambda file: (file.first_ns or 0, file.sha256))


def _inputs(files: Sequence[InputFile]) -> list[Input]:
    return [Input(str(file.path), file.sha256) for file in files]


def _feed_options(options: ImportOptions) -> FeedOptions:
    return FeedOptions(
        exchange=options.exchange,
        symbols=options.symbols,
        channels=frozenset(options.channels),
        depth=options.depth,
        interval_ms=options.interval_ms,
    )


def _described(options: ImportOptions, seal_options: SealOptions) -> tuple[dict[str, str], dict[str, str]]:
    """Return what decides where rows go, and what else they depend on."""
    naming = {
        "format": options.format,
        "exchange": options.exchange or "",
        "symbols": " ".join(sorted(options.symbols)),
    }
    settings = {name: str(getattr(seal_options, name)) for name in seal_options.__struct_fields__}
    settings |= {
        "channels": " ".join(sorted(options.channels)),
        "depth": str(options.depth),
        "interval_ms": str(options.interval_ms),
    }
    return naming, settings


class _Import:
    """One run: what is read of which file, and what of it is written."""

    def __init__(
        self,
        files: Sequence[InputFile],
        silent: set[int],
        feed: Feed,
        manifests: Manifests,
        run: Manifest,
        on_progress: Progress,
        report: ImportReport,
    ) -> None:
        self._files, self._silent, self._feed = files, silent, feed
        self._manifests, self._run, self._on_progress, self._report = manifests, run, on_progress, report
        self._read = FORMATS[run.naming["format"]].read

    def run(self, paths: RawPaths, seal_options: SealOptions, part_bytes: int) -> None:
        """Read everything, write what is new."""
        if self._run.sealed:
            log.info("import_goes_on", parts_sealed=self._run.sealed)
        writer = PartWriter(
            paths,
            seal_options,
            nonce=self._run.nonce,
            sealed=self._run.sealed,
            on_sealed=self._sealed,
            part_bytes=part_bytes,
        )
        try:
            self._write(writer)
            writer.close()
        except BaseException as error:
            writer.abort()
            if isinstance(error, ConfigError):
                self._manifests.undo(self._run)
            raise
        self._finish(writer)

    def _write(self, writer: PartWriter) -> None:
        for number, now, item in self._items():
            events = self._feed.take(number, item, now)
            if number not in self._silent:
                writer.add(events)
            if isinstance(item, Broken):
                self._report.problems.append(item.reason)
        new = set(range(len(self._files))) - self._silent
        writer.add(self._feed.finish(new, "the recording ends"))

    def _items(self) -> "Iterator[tuple[int, int, object]]":
        """Yield everything by receive clock, and tell how far it is."""
        starts = [file.first_ns or 0 for file in self._files]
        every = merged(starts, lambda number: items(self._files[number], self._read))
        lines, of = [0] * len(self._files), sum(file.lines for file in self._files)
        for seen, (number, now, item) in enumerate(every, 1):
            yield number, now, item
            lines[number] = getattr(item, "line", self._files[number].lines)
            if seen % STEP_ITEMS == 0:
                self._on_progress(self._files[number].path.name, sum(lines), of)
        self._on_progress("sealing", of, of)

    def _sealed(self, parts: int) -> None:
        self._run.sealed = parts
        self._manifests.save(self._run)

    def _finish(self, writer: PartWriter) -> None:
        self._run.is_finished, self._run.rows = True, dict(writer.rows)
        self._manifests.save(self._run)
        report = self._report
        report.rows, report.malformed = dict(writer.rows), self._feed.malformed
        report.segments, report.segment_bytes = writer.segments, writer.segment_bytes
        report.notes += self._feed.notes
        if writer.refused:
            report.problems.append(f"{writer.refused:,} rows hold what no column takes; the log names them")
