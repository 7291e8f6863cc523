"""What `daedalus status` prints."""

import datetime as dt
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from daedalus.ingestion.monitoring.status import Status
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.storage.sync_health import SyncHealth

_NAME = 13
_WIDTH_MIN = 40


@dataclass(frozen=True)
class Seen:
    """What was found.

    Parameters
    ----------
    sync
        How a continuous sync does; None where none ran.
    uploads
        When a copy was last verified, ns, by store; by whichever sync.
    watchers
        The processes that follow the lake by source, None for one that does not run.
    """

    now_ns: int
    base: str
    recorders: list[Status] = field(default_factory=list)
    sync: SyncHealth | None = None
    uploads: Mapping[str, int] = field(default_factory=dict)
    watchers: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def running(self) -> list[Status]:
        """Return the recorders that run."""
        return [status for status in self.recorders if status.liveness(self.now_ns) == "running"]

    @property
    def is_well(self) -> bool:
        """Whether something records, nothing died, and the sync, where there is one, does well."""
        bad = any(status.liveness(self.now_ns) in ("silent", "died") for status in self.recorders)
        is_synced = self.sync is None or self.sync.is_well(self.now_ns)
        return bool(self.running) and not bad and is_synced and not any(status.faults() for status in self.running)


def as_machine(seen: Seen) -> str:
    """Return one JSON object."""
    import msgspec

    recorders: list[dict[str, Any]] = []
    for status in seen.recorders:
        more = {"liveness": status.liveness(seen.now_ns), "faults": status.faults(), "warnings": status.warnings()}
        recorders.append({**msgspec.to_builtins(status), **more})
    whole = {"is_well": seen.is_well, "lake": seen.base, "recorders": recorders, "sync": seen.sync}
    return msgspec.json.encode({**whole, "uploads": dict(seen.uploads), "watchers": dict(seen.watchers)}).decode()


def lines(seen: Seen, width: int) -> list[str]:
    """Return the lines for a terminal of that width."""
    found: list[str] = []
    if not seen.recorders:
        found.append(f"nothing has recorded into {seen.base}: `daedalus ingest` does, or give --base-dir")
    elif not seen.running:
        found.append(f"nothing records into {seen.base} at the moment")
    for status in seen.recorders:
        found += ["", *_recorder(status, seen.now_ns)]
    disks = [status.disk for status in seen.running if status.disk is not None]
    if disks or seen.sync is not None or seen.uploads or seen.watchers:
        found.append("")
    if disks:
        found.append(_disk(seen.running))
    found += _sync(seen)
    for source, pid in seen.watchers.items():
        found.append(_line("watcher", f"{source}: {f'runs, process {pid}' if pid else 'does not run'}"))
    found = found[1:] if found and not found[0] else found
    return [part for line in found for part in _fitted(line, width)]


def cut(shown: list[str], height: int) -> list[str]:
    """Return what fits into so many lines, and in the last one what does not."""
    if len(shown) <= height:
        return shown
    return [*shown[: height - 1], f"... {len(shown) - height + 1} more lines: a higher window shows them"]


def _fitted(line: str, width: int) -> list[str]:
    """Return a line, broken below its text where it is too wide."""
    if len(line) <= width:
        return [line]
    indent = " " * (_NAME + 3)
    return textwrap.wrap(line, max(width, _WIDTH_MIN), subsequent_indent=indent, break_on_hyphens=False)


def _recorder(status: Status, now: int) -> Iterator[str]:
    liveness = status.liveness(now)
    state = {
        "running": f"{status.phase} for {_span(now - status.started_at)}, process {status.pid}",
        "silent": f"process {status.pid} is there, but has told nothing for {_span(now - status.written_at)}: it hangs",
        "stopped": f"stopped {_span(now - status.written_at)} ago",
        "died": f"died within {_span(now - status.written_at)}, without an end in order: see its log",
    }[liveness]
    yield f"{status.source}: {state}"
    if liveness != "running":
        return
    for fault in status.faults():
        yield _line("FAULT", fault)
    for warning in status.warnings():
        yield _line("warning", warning)
    up = sum(connection.is_up for connection in status.connections)
    ended = f", {status.disconnects:,} ended since the start" if status.disconnects else ""
    yield _line("connections", f"{up} of {len(status.connections)} deliver{ended}")
    yield from _channels(status, now)
    yield from _inside(status, now)


def _channels(status: Status, now: int) -> Iterator[str]:
    yield _line("channel", f"{'rows':>14}  {'rows/s':>10}  newest message")
    newest: dict[str, list[tuple[str, int]]] = {}
    for name, at in status.heard.items():
        exchange, _, channel = name.rpartition("/")
        newest.setdefault(channel, []).append((exchange, at))
    for channel in sorted(status.rows.keys() | newest.keys()):
        rows, rate = status.rows.get(channel, 0), status.rows_per_second.get(channel, 0.0)
        heard = sorted(newest.get(channel, []), key=lambda one: one[1])
        ages = ", ".join(f"{_span(now - at)} ago ({exchange})" for exchange, at in heard)
        yield _line(f"  {channel}", f"{rows:>14,}  {rate:>10,.1f}  {ages}".rstrip())


def _inside(status: Status, now: int) -> Iterator[str]:
    queue, journal = status.queue, status.journal
    share = (
        f"{queue.events:,} of {queue.events_max:,} events, {queue.bytes / 1e6:,.1f} of {queue.bytes_max / 1e6:,.0f} MB"
    )
    yield _line("queue", f"{share}; highest {queue.events_high:,}; dropped {queue.dropped:,}")
    flushed = "never" if journal.last_flush_at is None else f"{_span(now - journal.last_flush_at)} ago"
    yield _line("journal", f"{_size(journal.bytes)}, safe on the device {flushed}; {journal.waiting} wait to be sealed")
    yield _line("segments", f"{status.segments:,} sealed, {_size(status.segment_bytes)}")
    causes = ", ".join(f"{reason} {count:,}" for reason, count in sorted(status.gaps.items())) or "none"
    yield _line("gaps", f"{causes}; {status.open_gaps:,} open")
    for name, clock in status.clocks.items():
        late = f"latency p50 {clock.latency_ms_p50:,.1f}, p99 {clock.latency_ms_p99:,.1f} ms"
        yield _line("clock", f"{clock.offset_ms:+,.1f} ms to {name}; {late}")
    if status.memory_bytes is not None:
        yield _line("memory", _size(status.memory_bytes))


def _disk(running: list[Status]) -> str:
    disk = next(status.disk for status in running if status.disk is not None)
    if disk.bytes_per_day is None or disk.days_left is None:
        lasts = "how long that lasts is known ten minutes after the first segments"
    else:
        lasts = f"{_size(disk.bytes_per_day)} a day: lasts {disk.days_left:,.1f} days"
    return _line("disk", f"{_size(disk.free_bytes)} free, room for {_size(disk.room_bytes)}; {lasts}")


def _sync(seen: Seen) -> Iterator[str]:
    for store, at in seen.uploads.items():
        yield _line("last upload", f"{_span(seen.now_ns - at)} ago to {store}")
    sync = seen.sync
    if sync is None:
        return
    last = "never" if sync.last_success_at is None else f"{_span(seen.now_ns - sync.last_success_at)} ago"
    word = "sync" if sync.is_well(seen.now_ns) else "SYNC FAULT"
    yield _line(word, f"to {sync.store}: all was there {last}; {sync.uploaded.files:,} files since its start")
    if sync.error:
        yield _line("", f"last error: {sync.error}")


def _line(name: str, text: str) -> str:
    return f"  {name:<{_NAME}} {text}"


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.1f} kB"


def _span(ns: int) -> str:
    """Return a duration in words, of the two largest units.

    Examples
    --------
    >>> _span(93_784 * NS_PER_SECOND), _span(1_500_000_000)
    ('1 d 2 h', '1.5 s')
    """
    seconds = max(0, ns) / NS_PER_SECOND
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = dt.timedelta(seconds=int(seconds))
    hours, minutes = whole.seconds // 3600, whole.seconds % 3600 // 60
    if whole.days:
        return f"{whole.days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole.seconds % 60} s"
