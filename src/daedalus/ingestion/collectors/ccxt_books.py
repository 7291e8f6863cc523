"""CCXT's live books to `orderbook` and `l2` rows, copied at the moment of each update."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Any

import structlog

from daedalus.ingestion.collectors.base import OpenGaps, Stream
from daedalus.ingestion.collectors.ccxt_buffer import EventBuffer
from daedalus.ingestion.collectors.ccxt_events import CcxtCounters, pack_side, sequence_number, time_us
from daedalus.ingestion.collectors.ccxt_losses import BOOK_CHANNELS, Losses
from daedalus.shared.events import CHANGE, NO_TIME, BookDelta, BookSnapshot

logger = structlog.get_logger(__name__)


#: Levels a side that are compared.
TOUCH_LEVELS = 10


def _touch(book: Any) -> bytes:
    return pack_side(book["bids"], TOUCH_LEVELS) + pack_side(book["asks"], TOUCH_LEVELS)


def _top(side: Any, depth: int) -> bytes:
    """Return the best levels of a side, packed: of one of ours (`ccxt_client_books`), what it has at hand."""
    top = getattr(side, "top", None)
    packed: bytes = pack_side(side, depth) if top is None else top(depth)
    return packed


@dataclass(slots=True)
class _Market:
    """What was last recorded of one market's book."""

    emitted_at: int = 0
    updated_at: int = 0
    frame: int = -1
    hash: str = ""
    nonce: int | None = None
    dirty: Any = None


class BookTap:
    """Takes the books that CCXT resolves.

    Parameters
    ----------
    exchange
        The exchange's name in the lake.
    record
        Bronze channels to record.
    depth, interval_ms
        Levels a side of an `orderbook` row; least receive time between two rows of a market, 0 = each update.
    losses
        Makes the ledger's rows.
    on_fresh
        Called with a symbol whose book is whole again.

    Attributes
    ----------
    invalid
        Symbols whose book has a hole: nothing is recorded of it until it was filled anew.
    probes
        Silent streams that are asked for anew, and since when (ns).
    due_ns
        When the next changed book is to be published, also when nothing follows.
    """

    def __init__(
        self,
        *,
        exchange: str,
        record: Iterable[str],
        depth: int,
        interval_ms: int,
        buffer: EventBuffer,
        gaps: OpenGaps,
        losses: Losses,
        counters: CcxtCounters,
        on_fresh: Callable[[str], None],
    ) -> None:
        self._exchange, self._depth, self._interval_ns = exchange, depth, interval_ms * 1_000_000
        self._buffer, self._gaps, self._count, self._on_fresh = buffer, gaps, counters, on_fresh
        self._losses, self.probes = losses, dict[Stream, int]()
        self._before: dict[str, bytes] = {}
        self._channels = tuple(c for c in BOOK_CHANNELS if c in set(record))
        self._snapshots, self._deltas = "orderbook" in self._channels, "l2" in self._channels
        self._markets: dict[str, _Market] = {}
        self._dues: list[tuple[int, str]] = []
        self.due_ns: float = inf
        self.invalid: set[str] = set()
        self._warned: set[str] = set()

    def last_update_ns(self, symbol: str) -> int | None:
        """Return the receive clock of the last update known to be whole."""
        market = self._markets.get(symbol)
        return market.updated_at if market else None

    def updated(self, symbol: str, book: Any, message_hash: str, frame: int, now: int, nonce: int | None) -> None:
        """Take a book that has just changed.

        One update is resolved under several hashes: those after the first are passed over. Raises `MalformedError`
        when the book holds what is no number.
        """
        if symbol in self.invalid:
            if getattr(book, "stale", False):
                return
            self.invalid.discard(symbol)
            self._on_fresh(symbol)
        if self.probes:
            self._probed(symbol, book, now)
        market = self._markets.get(symbol)
        if market is None:
            market = self._markets[symbol] = _Market()
        if market.frame == frame and market.hash != message_hash:
            return
        market.frame, market.hash, market.updated_at, market.nonce = frame, message_hash, now, nonce
        if self._gaps:
            self._buffer.extend(self._gaps.close([(symbol, c) for c in self._channels], now))
        if self._deltas:
            self._delta(symbol, book, market, now)
        if not self._snapshots:
            return
        due = market.emitted_at + self._interval_ns
        if now >= due:
            self._snapshot(symbol, book, market, now)
        else:
            if market.dirty is None:
                heappush(self._dues, (due, symbol))
                self.due_ns = self._dues[0][0]
            market.dirty = book

    def probe(self, symbol: str, book: Any) -> None:
        """Remember what a silent book was like, to compare it with what is sent anew."""
        if book is not None and symbol not in self.invalid:
            self._before[symbol], book.stale = _touch(book), True

    def _probed(self, symbol: str, book: Any, now: int) -> None:
        """Tell from the first that a silent book says again whether it was quiet or something was missed."""
        since, before = self.probes.pop((symbol, "orderbook"), None), self._before.pop(symbol, None)
        if since is None or before is None:
            return
        if getattr(book, "stale", False):
            book.stale = False  # It goes on where it was: the numbering, where there is one, tells the rest.
        elif _touch(book) != before:
            streams = [(symbol, c) for c in self._channels if (symbol, c) not in self._gaps]
            detail = "the book had changed while nothing came"
            self._buffer.extend(self._losses.ended(streams, since=since, now=now, reason="stall", detail=detail))

    def due(self, now: int) -> None:
        """Publish the changed books whose interval is over, as they were when it was over.

        To be called before a frame changes a book, and now and then in a quiet market: rows are the same either way.
        Raises `MalformedError` when a book holds what is no number; the others wait for the next call.
        """
        while self._dues and self._dues[0][0] <= now:
            due, symbol = heappop(self._dues)
            self.due_ns = self._dues[0][0] if self._dues else inf
            market = self._markets[symbol]
            if market.dirty is not None and market.emitted_at + self._interval_ns == due:
                self._snapshot(symbol, market.dirty, market, due)

    def invalidate(self, symbol: str) -> None:
        """Record nothing of a book until it is whole again."""
        self.invalid.add(symbol)
        if symbol in self._markets:
            self._markets[symbol].dirty = None

    def _warn(self, symbol: str) -> None:
        if symbol not in self._warned:
            self._warned.add(symbol)
            logger.warning(
                "l2_unavailable", exchange=self._exchange, symbol=symbol, why="CCXT keeps orders, not levels"
            )

    def _snapshot(self, symbol: str, book: Any, market: _Market, now: int) -> None:
        market.emitted_at, market.dirty = now, None
        self._buffer.append(
            BookSnapshot(
                collected_at=now,
                exchange=self._exchange,
                symbol=symbol,
                timestamp=time_us(book["timestamp"], now, self._count),
                nonce=sequence_number(book["nonce"]) or market.nonce,
                bids=_top(book["bids"], self._depth),
                asks=_top(book["asks"], self._depth),
            )
        )

    def _delta(self, symbol: str, book: Any, market: _Market, now: int) -> None:
        """Publish what the update changed, or all levels of a book that is new or was filled anew."""
        log, is_snapshot = getattr(book, "log", None), getattr(book, "is_new", True)
        if log is None:
            self._warn(symbol)
            return
        time = time_us(book["timestamp"], now, self._count)
        at = NO_TIME if time is None else time
        if is_snapshot:
            sides = ((0, book["bids"]), (1, book["asks"]))
            changes = [CHANGE.pack(at, side, level[0], level[1]) for side, levels in sides for level in levels]
        else:
            changes = [CHANGE.pack(at, side, price, size) for side, price, size in log]
        book.is_new = False
        log.clear()
        if changes or is_snapshot:
            self._buffer.append(
                BookDelta(
                    collected_at=now,
                    exchange=self._exchange,
                    symbol=symbol,
                    nonce=sequence_number(book["nonce"]) or market.nonce,
                    is_snapshot=is_snapshot,
                    changes=b"".join(changes),
                )
            )
