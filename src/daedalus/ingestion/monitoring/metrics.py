"""The metrics of a recorder: each declared once, from which the exposition, docs/METRICS.md and their tests follow.

The text is that of Prometheus' exposition format 0.0.4; times are Unix seconds, sizes bytes.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from daedalus.ingestion.monitoring.status import Status
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.storage.sync_health import SyncHealth

CONTENT_TYPE = "text/plain; version=0.0.4"
Samples = Iterable[tuple[tuple[str, ...], float | None]]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Parameters
    ----------
    name, kind, doc
        As they are exposed.
    labels
        Beside ``source``, which every one has.
    read
        Returns (values of the labels, value) of a status; a value of None is left out.
    """

    name: str
    kind: Literal["counter", "gauge"]
    doc: str
    labels: tuple[str, ...]
    read: Callable[[Status], Samples]


def _one(value: Callable[[Status], float | None]) -> Callable[[Status], Samples]:
    return lambda status: [((), value(status))]


def _by(values: Callable[[Status], dict[str, int]]) -> Callable[[Status], Samples]:
    return lambda status: (((name,), value) for name, value in values(status).items())


def _heard(status: Status) -> Samples:
    return (((exchange, channel), at / NS_PER_SECOND) for (exchange, _, channel), at in _parted(status))


def _parted(status: Status) -> Iterator[tuple[tuple[str, str, str], int]]:
    return ((name.rpartition("/"), at) for name, at in status.heard.items())


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / NS_PER_SECOND


METRICS = (
    Metric(
        "daedalus_recording",
        "gauge",
        "1 while everything that was asked for is recorded; 0 as long as /readyz says why not.",
        (),
        _one(lambda s: float(not s.faults())),
    ),
    Metric(
        "daedalus_start_time_seconds",
        "gauge",
        "When the recorder started, Unix time.",
        (),
        _one(lambda s: s.started_at / NS_PER_SECOND),
    ),
    Metric(
        "daedalus_rows_total",
        "counter",
        "Rows that were taken from the queue to be written, by channel.",
        ("channel",),
        _by(lambda s: s.rows),
    ),
    Metric(
        "daedalus_last_message_timestamp_seconds",
        "gauge",
        "Receive clock of the newest event, Unix time. `time() - ...` is its age.",
        ("exchange", "channel"),
        _heard,
    ),
    Metric(
        "daedalus_connection_up",
        "gauge",
        "1 while a connection delivers.",
        ("connection",),
        lambda s: (((c.name,), float(c.is_up)) for c in s.connections),
    ),
    Metric(
        "daedalus_disconnects_total", "counter", "Connections that ended.", (), _one(lambda s: float(s.disconnects))
    ),
    Metric(
        "daedalus_queue_events",
        "gauge",
        "Events between the collectors and the writer.",
        (),
        _one(lambda s: s.queue.events),
    ),
    Metric("daedalus_queue_bytes", "gauge", "Memory that they take.", (), _one(lambda s: s.queue.bytes)),
    Metric(
        "daedalus_queue_events_max",
        "gauge",
        "The bound of the queue (ingestion.queue_maxsize).",
        (),
        _one(lambda s: s.queue.events_max),
    ),
    Metric(
        "daedalus_dropped_events_total",
        "counter",
        "Events that a full queue dropped; each is in the gap ledger.",
        (),
        _one(lambda s: s.queue.dropped),
    ),
    Metric(
        "daedalus_gaps_total",
        "counter",
        "Intervals in which something may be missing, by cause.",
        ("reason",),
        _by(lambda s: s.gaps),
    ),
    Metric(
        "daedalus_open_gaps",
        "gauge",
        "Streams in which something is missing at the moment.",
        (),
        _one(lambda s: s.open_gaps),
    ),
    Metric("daedalus_journal_bytes", "gauge", "Size of the journal in use.", (), _one(lambda s: s.journal.bytes)),
    Metric(
        "daedalus_journals_waiting",
        "gauge",
        "Journals that are not sealed yet, beside the one in use.",
        (),
        _one(lambda s: s.journal.waiting),
    ),
    Metric("daedalus_flushes_total", "counter", "Flushes to the device.", (), _one(lambda s: s.journal.flushes)),
    Metric(
        "daedalus_last_flush_timestamp_seconds",
        "gauge",
        "When all rows were last on the device, Unix time.",
        (),
        _one(lambda s: _seconds(s.journal.last_flush_at)),
    ),
    Metric(
        "daedalus_disk_refuses",
        "gauge",
        "1 while the disk refuses rows, which wait in the queue.",
        (),
        _one(lambda s: float(s.journal.is_disk_full)),
    ),
    Metric("daedalus_segments_total", "counter", "Segments sealed.", (), _one(lambda s: s.segments)),
    Metric("daedalus_segment_bytes_total", "counter", "Their bytes.", (), _one(lambda s: s.segment_bytes)),
    Metric(
        "daedalus_clock_offset_seconds",
        "gauge",
        "This machine's clock minus the exchange's, the shortest way of a message included.",
        ("connection",),
        lambda s: (((name,), c.offset_ms / 1000) for name, c in s.clocks.items()),
    ),
    Metric(
        "daedalus_latency_p99_seconds",
        "gauge",
        "How much longer than the fastest message 99 in 100 take at most, over five minutes.",
        ("connection",),
        lambda s: (((name,), c.latency_ms_p99 / 1000) for name, c in s.clocks.items()),
    ),
    Metric(
        "daedalus_disk_free_bytes",
        "gauge",
        "Free space of the lake's disk.",
        (),
        _one(lambda s: None if s.disk is None else s.disk.free_bytes),
    ),
    Metric(
        "daedalus_disk_days_left",
        "gauge",
        "Days until the disk or its budget is full, at the rate of the last day; missing while too little is known.",
        (),
        _one(lambda s: None if s.disk is None else s.disk.days_left),
    ),
    Metric(
        "daedalus_last_upload_timestamp_seconds",
        "gauge",
        "When a copy in another store was last found to be equal, by whichever sync, Unix time.",
        (),
        _one(lambda s: None if s.disk is None else _seconds(s.disk.last_upload_at)),
    ),
    Metric(
        "daedalus_memory_bytes",
        "gauge",
        "Resident memory of the recorder's process, without its sealer.",
        (),
        _one(lambda s: s.memory_bytes),
    ),
    Metric(
        "daedalus_cpu_seconds_total",
        "counter",
        "Processor time of the recorder's process, without its sealer.",
        (),
        _one(lambda s: s.cpu_seconds),
    ),
)

SYNC_METRICS: tuple[tuple[str, Literal["counter", "gauge"], str, Callable[[SyncHealth], float | None]], ...] = (
    (
        "daedalus_sync_last_success_timestamp_seconds",
        "gauge",
        "When the continuous sync last left nothing undone, Unix time.",
        lambda h: _seconds(h.last_success_at),
    ),
    (
        "daedalus_sync_failed_runs",
        "gauge",
        "Runs of the continuous sync since then that left something undone.",
        lambda h: h.failed_runs,
    ),
    (
        "daedalus_sync_uploaded_bytes_total",
        "counter",
        "Bytes that the continuous sync uploaded since its start.",
        lambda h: h.uploaded.bytes,
    ),
)


def render(statuses: Sequence[Status], sync: SyncHealth | None) -> str:
    """Return the exposition of all sources, and of the sync where one ran."""
    lines: list[str] = []
    for metric in METRICS:
        lines += _head(metric.name, metric.kind, metric.doc)
        for status in statuses:
            names = ("source", *metric.labels)
            lines += [
                f"{metric.name}{_labels(names, (status.source, *labels))} {_number(value)}"
                for labels, value in metric.read(status)
                if value is not None
            ]
    for name, kind, doc, read in SYNC_METRICS:
        lines += _head(name, kind, doc)
        if sync is not None and (value := read(sync)) is not None:
            lines.append(f"{name} {_number(value)}")
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, doc: str) -> list[str]:
    return [f"# HELP {name} {doc}", f"# TYPE {name} {kind}"]


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return repr(value)


def reference() -> str:
    """Return docs/METRICS.md."""
    rows = [(m.name, m.kind, ("source", *m.labels), m.doc) for m in METRICS]
    rows += [(name, kind, (), doc) for name, kind, doc, _ in SYNC_METRICS]
    lines = [_INTRODUCTION, "| metric | type | labels | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {', '.join(labels)} | {doc} |" for name, kind, labels, doc in rows]
    return "\n".join(lines) + "\n"


_INTRODUCTION = """# Metrics

A recorder serves them when `metrics.port` is set (`daedalus ingest --set metrics.port=9464`), on 127.0.0.1 unless
`metrics.host` says otherwise. Nothing in them is secret, and nothing asks who reads.

| path | answers |
|---|---|
| `/metrics` | the table below, in Prometheus' text format |
| `/healthz` | 200 while the process works; 503 with the reason when its writer hangs. Restart it then. |
| `/readyz` | 200 while all that was asked for is recorded; 503 with the reasons otherwise. Wake somebody then. |
| `/status` | what `daedalus status --json` shows of this process |

`deploy/grafana/daedalus.json` is a dashboard of them. Those of the sync (`daedalus_sync_...`) come from the file that a
continuous sync keeps in `storage.paths.state_dir`, and are missing where none ran.

<!-- Written by `python -m daedalus.ingestion.monitoring.metrics > docs/METRICS.md`; a test compares it. -->
"""


if __name__ == "__main__":
    sys.stdout.write(reference())
