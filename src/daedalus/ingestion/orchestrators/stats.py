"""What a pipeline did so far: the figures that its log lines, its status and its metrics are made of."""

from dataclasses import dataclass, field

from daedalus.ingestion.collectors.skew import ClockReading
from daedalus.shared.events import Event


@dataclass(frozen=True)
class ConnectionStats:
    """One connection: whether it delivers at the moment, and how many streams it is there for."""

    name: str
    exchange: str
    is_up: bool
    streams: int


@dataclass
class Stats:
    """What the pipeline did so far. Rows per channel as written, gaps per cause, clocks per connection.

    Attributes
    ----------
    heard
        Receive clock of the newest event, ns, by exchange and kind of event; the ledger's rows do not count.
    beat
        Monotonic clock when the writer last went round, also while the disk refuses: an old one means that it hangs.
    last_flush_ns
        When rows were last made durable, or there were none to make so.
    open_gaps
        Streams in which something is missing at the moment.
    """

    started_at: float
    rows: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    disconnects: int = 0
    dropped: int = 0
    queue: int = 0
    queue_bytes: int = 0
    queue_high: int = 0
    flushes: int = 0
    journal_bytes: int = 0
    segments: int = 0
    segment_bytes: int = 0
    last_event_ns: int = 0
    clocks: dict[str, ClockReading] = field(default_factory=dict)
    heard: dict[tuple[str, type[Event]], int] = field(default_factory=dict)
    beat: float = 0.0
    last_flush_ns: int = 0
    open_gaps: int = 0
    is_disk_full: bool = False
    connections: list[ConnectionStats] = field(default_factory=list)
