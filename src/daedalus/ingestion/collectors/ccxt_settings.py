"""What a CCXT collector was told, and what it carries from one connection to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.ccxt_events import CcxtCounters
from daedalus.ingestion.collectors.ccxt_trades import TradeMemory
from daedalus.ingestion.collectors.skew import SkewMeter
from daedalus.ingestion.collectors.watchdog import Watchdog

#: The bronze channels that each kind of watch feeds.
FEEDS = {"trades": ("trades",), "orderbook": ("orderbook", "l2"), "ticker": ("ticker",), "bidsasks": ("ticker",)}


@dataclass(frozen=True)
class Settings:
    """What was asked for; see `CcxtCollector`. Holds secrets: `config` must never be printed."""

    exchange_id: str
    exchange: str
    channels: Mapping[str, Sequence[str]]
    record: tuple[str, ...]
    depth: int
    interval_ms: int
    stall_s: float
    answer_s: float
    max_frame_bytes: int
    ws_url: str | None
    rest_url: str | None
    config: Mapping[str, Any] = field(repr=False)


@dataclass
class Carried:
    """What outlives a connection.

    Attributes
    ----------
    refused
        (symbol, what is watched) that the exchange does not take.
    hopeless
        Markets for whose sake the connection was given up once already.
    source
        A closed exchange of CCXT, for its markets.
    loaded_at
        When these were loaded, monotonic seconds.
    """

    gaps: OpenGaps
    watchdog: Watchdog
    skew: SkewMeter = field(default_factory=SkewMeter)
    memory: TradeMemory = field(default_factory=TradeMemory)
    counters: CcxtCounters = field(default_factory=CcxtCounters)
    refused: set[Stream] = field(default_factory=set)
    hopeless: set[str] = field(default_factory=set)
    source: Any = None
    loaded_at: float = 0.0
