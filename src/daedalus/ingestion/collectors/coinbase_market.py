"""What a connection to Coinbase knows of one product's book."""

from dataclasses import dataclass, field

from daedalus.ingestion.collectors.base import Stream
from daedalus.shared.book import OrderBook


@dataclass(slots=True)
class Market:
    """One product.

    Attributes
    ----------
    symbol, stream
        Its name in the lake, and what the watchdog knows its book by.
    valid
        Whether the book is whole.
    dirty, emitted_at
        Whether it has changed since its last `orderbook` row, and that row's receive clock, ns.
    event_time, nonce
        The exchange's time of the last change, us, and the number of its message.
    """

    symbol: str
    stream: Stream
    book: OrderBook = field(default_factory=OrderBook)
    valid: bool = False
    dirty: bool = False
    emitted_at: int = 0
    event_time: int | None = None
    nonce: int | None = None
