"""What a Coinbase collector was told, and what it carries from one connection to the next."""

from dataclasses import dataclass, field

from daedalus.ingestion.collectors.base import OpenGaps
from daedalus.ingestion.collectors.coinbase_messages import Counters
from daedalus.ingestion.collectors.seen_trades import SeenTrades
from daedalus.ingestion.collectors.skew import SkewMeter
from daedalus.ingestion.collectors.watchdog import Watchdog


@dataclass(frozen=True)
class Settings:
    """What was asked for; see `CoinbaseCollector`. Holds secrets: never print it."""

    exchange: str
    symbols: tuple[str, ...]
    channels: tuple[str, ...]
    url: str
    depth: int
    interval_ms: int
    stall_s: float
    subscribe_s: float
    max_frame_bytes: int
    key: str | None = field(repr=False)
    secret: str | None = field(repr=False)


@dataclass
class Carried:
    """What outlives a connection.

    Attributes
    ----------
    refused
        Symbols that the exchange does not take.
    wanted
        Symbols of which the driver lost rows: their books are to be had anew.
    """

    gaps: OpenGaps
    seen: SeenTrades = field(default_factory=SeenTrades)
    counters: Counters = field(default_factory=Counters)
    watchdog: Watchdog = field(default_factory=lambda: Watchdog({}))
    skew: SkewMeter = field(default_factory=SkewMeter)
    refused: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)
