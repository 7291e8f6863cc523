"""What the sandbox sent and to whom, and what its faults held back: the other side of "nothing was lost"."""

from collections import deque

import msgspec

from daedalus.sandbox.base import OutFrame

#: Connections remembered; the oldest closed ones are forgotten first and only counted.
CONNECTIONS_MAX = 1_000
#: Faults listed per connection.
FAULTS_MAX = 1_000


class Counts(msgspec.Struct, gc=False):
    """Frames by what they carried, and what was in them."""

    frames: int = 0
    bytes: int = 0
    snapshots: int = 0
    snapshot_levels: int = 0
    updates: int = 0
    changes: int = 0
    trade_frames: int = 0
    trades: int = 0
    past_trades: int = 0
    tickers: int = 0
    heartbeats: int = 0
    controls: int = 0

    def add(self, frame: OutFrame) -> None:
        """Count one frame."""
        self.frames += 1
        self.bytes += len(frame.data)
        match frame.kind:
            case "changes":
                self.updates += 1
                self.changes += frame.items
            case "trades":
                self.trade_frames += 1
                self.trades += frame.items
            case "ticker":
                self.tickers += frame.items
            case "snapshot":
                self.snapshots += 1
                self.snapshot_levels += frame.items
            case "past_trades":
                self.past_trades += frame.items
            case "heartbeat":
                self.heartbeats += 1
            case "control" | "ping" | "fault":
                self.controls += 1


class FaultRecord(msgspec.Struct, gc=False):
    """A fault that happened.

    Attributes
    ----------
    at_s
        Wall seconds since the connection opened.
    at_frame
        Frames that the connection had been offered by then.
    dropped
        What it kept from the client; a silence or a skip goes on counting.
    product
        What it is limited to; empty for the whole connection.
    """

    name: str
    at_s: float
    at_frame: int
    detail: str = ""
    dropped: Counts = msgspec.field(default_factory=Counts)
    product: str = ""


class ConnectionStats(msgspec.Struct, gc=False):
    """One connection.

    Attributes
    ----------
    opened_s, closed_s
        Wall seconds since the server started; `closed_s` is None while it is open.
    market
        "waiting" until the client asked for data, "running", "ended" after the last update of a recording.
    client_messages_per_s_max
        Most messages that the client sent within one second.
    """

    id: int
    path: str
    opened_s: float
    closed_s: float | None = None
    close_code: int | None = None
    close_reason: str = ""
    market: str = "waiting"
    client_messages: int = 0
    client_messages_per_s_max: int = 0
    sent: Counts = msgspec.field(default_factory=Counts)
    dropped: Counts = msgspec.field(default_factory=Counts)
    duplicated: Counts = msgspec.field(default_factory=Counts)
    products: dict[str, Counts] = msgspec.field(default_factory=dict)
    faults: list[FaultRecord] = msgspec.field(default_factory=list)

    def count_sent(self, frame: OutFrame) -> None:
        """Count a frame that went out."""
        self.sent.add(frame)
        if frame.product:
            self.products.setdefault(frame.product, Counts()).add(frame)

    def add_fault(self, record: FaultRecord) -> None:
        """List a fault, up to `FAULTS_MAX`."""
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(record)


class ServerStats(msgspec.Struct, gc=False):
    """All of a server, as `GET /stats` answers."""

    protocol: str
    source: str
    products: list[str]
    uptime_s: float = 0.0
    connections_opened: int = 0
    connections_forgotten: int = 0
    refused: int = 0
    connections: list[ConnectionStats] = msgspec.field(default_factory=list)

    def add(self, connection: ConnectionStats) -> None:
        """List a connection; forget the oldest closed one if there are too many."""
        self.connections_opened += 1
        self.connections.append(connection)
        if len(self.connections) > CONNECTIONS_MAX:
            oldest = next((c for c in self.connections if c.closed_s is not None), None)
            if oldest is not None:
                self.connections.remove(oldest)
                self.connections_forgotten += 1


class MessageRate:
    """The most messages within any one second."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=1_000)
        self.per_s_max = 0

    def add(self, now: float) -> None:
        """Count a message at a monotonic time in seconds."""
        self._times.append(now)
        while self._times[0] <= now - 1.0:
            self._times.popleft()
        self.per_s_max = max(self.per_s_max, len(self._times))
