"""Channels of OKX v5: what each tells of, how often, and what one client has been told."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from daedalus.sandbox import okx_messages as wire
from daedalus.sandbox.updates import Kind, Level, TickerTick
from daedalus.sandbox.windows import levels_moved

#: Length of a window, in market time.
WINDOW_US = 100_000


@dataclass(frozen=True)
class Channel:
    """How a channel tells of books: `depth` levels a side, in windows or at once, by updates or whole."""

    kind: Kind
    depth: int = 0
    span_us: int = 0
    has_updates: bool = False


CHANNELS: Mapping[str, Channel] = MappingProxyType(
    {
        "books": Channel("book", 400, WINDOW_US, has_updates=True),
        "books-l2-tbt": Channel("book", 400, 0, has_updates=True),
        "books50-l2-tbt": Channel("book", 50, 0, has_updates=True),
        "books5": Channel("book", 5, WINDOW_US),
        "bbo-tbt": Channel("ticker", 1, 0),
        "trades": Channel("trades"),
        "trades-all": Channel("trades"),
        "tickers": Channel("ticker", span_us=WINDOW_US),
    }
)


class Subscription:
    """One channel of one product that a client asked for, and what it has been told."""

    def __init__(self, channel: str, product: str, is_verbatim: bool) -> None:
        self.channel, self.product, self.is_verbatim = channel, product, is_verbatim
        self.rule = CHANNELS[channel]
        self.arg = {"channel": channel, "instId": product}
        self.bids: list[Level] = []
        self.asks: list[Level] = []
        self.seq_id = -1
        self.due_us: int | None = None
        self.tick: TickerTick | None = None
        self.quiet_s = 0

    def wait(self, time_us: int) -> None:
        """Let a window begin, unless one is open."""
        span = self.rule.span_us
        if self.due_us is None:
            self.due_us = time_us - time_us % span + span if span else time_us


def changed_levels(before: list[Level], after: list[Level]) -> list[tuple[str, str, str, str]]:
    """Return what an update says of a side: what came or changed, and what is gone or was pushed out."""
    came, gone = levels_moved(before, after)
    return [*wire.levels(came), *wire.removed(gone)]
