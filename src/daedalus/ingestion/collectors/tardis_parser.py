"""Messages of Tardis' CSV data sets to Events. What they mean is the same for every exchange in them.

`side` of a trade is the aggressor's. Changes are not numbered: a row that cannot be read leaves the books unknown until
their next snapshots, which begin every day's file.
"""

from collections.abc import Iterator

from daedalus.ingestion.collectors.frame_parser import FrameParser, ParserSettings
from daedalus.ingestion.collectors.market_books import levels
from daedalus.recordings.base import Message
from daedalus.recordings.tardis_csv import TardisLevels, TardisQuote, TardisTop, TardisTrade
from daedalus.shared.events import CHANGE, NO_TIME, Event


class TardisParser(FrameParser):
    """Turns the messages of one exchange into events."""

    is_checked = False

    def __init__(self, settings: ParserSettings) -> None:
        super().__init__(settings)
        self._in_snapshot: set[str] = set()

    def _typed(self, message: Message, now: int) -> Iterator[Event]:
        match message:
            case TardisLevels():
                yield from self._levels(message, now)
            case TardisTop():
                symbol, sides = self.settings.name(message.product), (levels(message.bids), levels(message.asks))
                yield from self.books.top(symbol, *sides, now, time_us=message.time_us)
            case TardisQuote():
                values = {
                    "bid": message.bid,
                    "ask": message.ask,
                    "bid_volume": message.bid_amount,
                    "ask_volume": message.ask_amount,
                }
                symbol = self.settings.name(message.product)
                yield from self._ticker(symbol, now, values, timestamp=message.time_us, info=None)
            case TardisTrade():
                yield from self._trade(
                    self.settings.name(message.product),
                    now,
                    trade_id=message.trade_id,
                    timestamp=message.time_us,
                    side=message.side,
                    price=message.price,
                    amount=message.amount,
                    info=None,
                )

    def _levels(self, message: TardisLevels, now: int) -> Iterator[Event]:
        symbol = self.settings.name(message.product)
        at = NO_TIME if message.time_us is None else message.time_us
        found = levels(change[1:] for change in message.changes)
        changes = b"".join(
            CHANGE.pack(at, side == "ask", *level) for (side, *_), level in zip(message.changes, found, strict=True)
        )
        begins = message.is_snapshot and symbol not in self._in_snapshot
        if message.is_snapshot:
            self._in_snapshot.add(symbol)
        else:
            self._in_snapshot.discard(symbol)
        take = self.books.snapshot if begins else self.books.update
        yield from take(symbol, changes, now, time_us=message.time_us)
