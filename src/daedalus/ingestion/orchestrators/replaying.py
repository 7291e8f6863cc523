"""Replaying: recorded frames into typed channels, with today's parsers.

Rows are those that recording live would have written: same clocks, same order, same ledger as far as frames tell. Whole
hours are chosen; a connection that began before them is read from its beginning, since its books began there.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from types import MappingProxyType
from typing import Any

from daedalus.ingestion.collectors.ccxt_settings import Settings
from daedalus.ingestion.orchestrators.ccxt_replay import CcxtReplay
from daedalus.ingestion.orchestrators.coinbase_replay import CoinbaseReplay
from daedalus.ingestion.orchestrators.import_inputs import merged
from daedalus.ingestion.orchestrators.manifests import Input, Manifest, Manifests, new_manifest
from daedalus.ingestion.orchestrators.part_writer import PART_BYTES, PartWriter
from daedalus.ingestion.orchestrators.recorded_frames import (
    FrameRow,
    Segment,
    connections,
    find_segments,
    frame_rows,
    gap_rows,
    with_beginnings,
)
from daedalus.ingestion.orchestrators.replay_base import FrameReplay
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.journal import SealOptions
from daedalus.ingestion.writers.recovery import locked
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import Gap

#: Rows between two calls of `on_progress`.
STEP_ROWS = 2000

Progress = Callable[[str, int, int], None]
"""Called with what is being read, the frames read so far, and how many there are."""


@dataclass(frozen=True)
class RowOptions:
    """What to make of an exchange's frames; all as for the collector.

    Attributes
    ----------
    options
        CCXT's own of the exchange; None of it may be secret.
    """

    channels: tuple[str, ...]
    depth: int
    interval_ms: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay, and how.

    Attributes
    ----------
    source
        A key of `REPLAYS`: where the frames were recorded from.
    since, until
        The first hour, and the first that is no longer replayed (UTC); None for no bound.
    rows
        What to make of the frames.
    exchanges
        The same for exchanges of source ccxt that differ, by their names in the lake.
    """

    source: str
    since: dt.datetime | None
    until: dt.datetime | None
    rows: RowOptions
    exchanges: Mapping[str, RowOptions] = field(default_factory=dict)


def _coinbase(options: ReplayOptions) -> FrameReplay:
    rows = options.rows
    return CoinbaseReplay(channels=rows.channels, depth=rows.depth, interval_ms=rows.interval_ms)


def _ccxt(options: ReplayOptions) -> FrameReplay:
    return CcxtReplay(
        {name: _ccxt_settings(rows) for name, rows in options.exchanges.items()}, _ccxt_settings(options.rows)
    )


def _ccxt_settings(rows: RowOptions) -> Settings:
    """Return the settings of a session that is fed: which exchange and what it watches stand in the frames."""
    return Settings(
        exchange_id="",
        exchange="",
        channels={},
        record=rows.channels,
        depth=rows.depth,
        interval_ms=rows.interval_ms,
        stall_s=inf,
        answer_s=inf,
        max_frame_bytes=0,
        ws_url=None,
        rest_url=None,
        config={"options": dict(rows.options)},
    )


#: Sources whose frames can be replayed.
REPLAYS: Mapping[str, Callable[[ReplayOptions], FrameReplay]] = MappingProxyType({"coinbase": _coinbase, "ccxt": _ccxt})


@dataclass
class ReplayReport:
    """What a replay came to: frames read, rows by channel, segments of frames that were replayed and done before."""

    frames: int = 0
    replayed: int = 0
    skipped: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    segments: int = 0
    segment_bytes: int = 0


def replay_frames(
    options: ReplayOptions,
    recorded: RawPaths,
    output: RawPaths,
    seal_options: SealOptions,
    on_progress: Progress = lambda name, frames, of: None,
    part_bytes: int = PART_BYTES,
) -> ReplayReport:
    """Replay the frames of a source. Segments that were replayed into the output before add nothing.

    Parameters
    ----------
    recorded, output
        Where the frames are, and where the rows go; not the same.
    seal_options
        How segments are made.

    Raises
    ------
    ConfigError
        If the frames of the source cannot be replayed, there are none in these hours, or the output is the source.
    NotFoundError
        If there are no frames at all.
    StorageError
        If somebody else writes into the output, or the disk refuses. Run it again: it goes on where it stopped.
    """
    if recorded.ready.resolve() == output.ready.resolve():
        raise ConfigError(f"{output.ready} holds the recording: rows would stand there twice; choose another --output")
    if options.source not in REPLAYS:
        raise ConfigError(f"frames of source {options.source} cannot be replayed; choose from {', '.join(REPLAYS)}")
    segments, wanted = _chosen(options, find_segments(recorded.ready))
    report = ReplayReport()
    with locked(output):
        manifests = Manifests(output)
        naming = {"format": "replay-frames", "lake": str(recorded.base.resolve()), "source": options.source}
        done = manifests.done(naming)
        new = [s for s in segments if s.key in wanted and s.key not in done]
        report.replayed = sum(segment.channel == "frames" for segment in new)
        report.skipped = sum(s.channel == "frames" and s.key in wanted & done for s in segments)
        if report.replayed:
            old = [segment for segment in segments if segment not in new]
            run = manifests.begin(new_manifest(naming, _settings(options, seal_options), _inputs(new), _inputs(old)))
            job = _Replay(options, segments, {s.key for s in new}, manifests, run, on_progress, report)
            job.run(output, seal_options, part_bytes)
    return report


def _inputs(segments: Sequence[Segment]) -> list[Input]:
    return [Input(segment.path.name, segment.key) for segment in segments]


def _settings(options: ReplayOptions, seal_options: SealOptions) -> dict[str, str]:
    settings = {name: str(getattr(seal_options, name)) for name in seal_options.__struct_fields__}
    for name, rows in {"": options.rows, **options.exchanges}.items():
        settings |= {f"{name} {one.name}".strip(): str(getattr(rows, one.name)) for one in fields(rows)}
    return settings


def _chosen(options: ReplayOptions, segments: Sequence[Segment]) -> tuple[list[Segment], set[str]]:
    """Return the segments to read, and the keys of those in the hours wanted."""
    wanted = {segment.key for segment in segments if _is_in(segment, options)}
    frames = [segment for segment in segments if segment.channel == "frames"]
    first = next((i for i, segment in enumerate(frames) if segment.key in wanted), None)
    if first is None:
        begin, end = frames[0].hour, frames[-1].hour
        raise ConfigError(f"no frames in these hours: they were recorded from {begin:%Y-%m-%dT%H} to {end:%Y-%m-%dT%H}")
    last = max(i for i, segment in enumerate(frames) if segment.key in wanted)
    read = frames[with_beginnings(frames, first) : last + 1]
    begin_ns = read[0].first_ns
    gaps = [s for s in segments if s.channel == "gaps" and s.last_ns >= begin_ns and _is_before(s, options)]
    # At one clock frames come first: a gap begins with the last of them.
    return [*read, *gaps], wanted & {segment.key for segment in (*read, *gaps)}


def _is_in(segment: Segment, options: ReplayOptions) -> bool:
    return _is_before(segment, options) and (options.since is None or segment.hour >= options.since)


def _is_before(segment: Segment, options: ReplayOptions) -> bool:
    return options.until is None or segment.hour < options.until


class _Replay:
    """One run: what is read, and what of it is written."""

    def __init__(
        self,
        options: ReplayOptions,
        segments: Sequence[Segment],
        new: set[str],
        manifests: Manifests,
        run: Manifest,
        on_progress: Progress,
        report: ReplayReport,
    ) -> None:
        self._segments, self._new = segments, new
        self._manifests, self._run, self._on_progress, self._report = manifests, run, on_progress, report
        self._source = REPLAYS[options.source](options)

    def run(self, output: RawPaths, seal_options: SealOptions, part_bytes: int) -> None:
        """Read everything, write what is new."""
        writer = PartWriter(
            output,
            seal_options,
            nonce=self._run.nonce,
            sealed=self._run.sealed,
            on_sealed=self._sealed,
            part_bytes=part_bytes,
        )
        try:
            self._prepare()
            for number, _, row in self._rows():
                events = self._source.gap(row) if isinstance(row, Gap) else self._source.frame(row)
                if self._segments[number].key in self._new:
                    writer.add(events)
            writer.close()
        except BaseException:
            writer.abort()
            raise
        finally:
            self._source.close()
        self._run.is_finished, self._run.rows = True, dict(writer.rows)
        self._manifests.save(self._run)
        self._report.rows = dict(writer.rows)
        self._report.segments, self._report.segment_bytes = writer.segments, writer.segment_bytes

    def _prepare(self) -> None:
        for segment in self._segments:
            if segment.channel == "frames":
                sent = frame_rows(segment, sent_only=True)
                self._source.prepare(sent, connections(segment))
            else:
                self._source.prepare_gaps(gap_rows(segment))

    def _rows(self) -> Iterator[tuple[int, int, FrameRow | Gap]]:
        """Yield everything by receive clock, and tell how far it is."""
        of = sum(segment.rows for segment in self._segments)
        every = merged([segment.first_ns for segment in self._segments], self._open)
        for number, at, row in every:
            yield number, at, row
            self._report.frames += isinstance(row, FrameRow)
            if self._report.frames % STEP_ROWS == 0:
                name = f"{self._segments[number].hour:%Y-%m-%dT%H}"
                self._on_progress(name, self._report.frames, of)

    def _open(self, number: int) -> Iterator[tuple[int, FrameRow | Gap]]:
        segment = self._segments[number]
        rows: Iterator[FrameRow | Gap] = gap_rows(segment) if segment.channel == "gaps" else frame_rows(segment)
        return ((row.collected_at, row) for row in rows)

    def _sealed(self, parts: int) -> None:
        self._run.sealed = parts
        self._manifests.save(self._run)
