"""How Binance's depth diffs join a snapshot and follow one another: spot numbers states, futures number events.

Rules: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams (how to manage a local order book
correctly) and the like page of the futures.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from daedalus.ingestion.collectors.market_books import pack
from daedalus.shared.book import OrderBook

#: Diffs that wait for a snapshot at most: 15 minutes at ten a second. The oldest go first.
WAITING_MAX = 10_000


class Diff(NamedTuple):
    """A `depthUpdate`: the first and the last of its update ids, the last id before it (futures), packed changes."""

    first: int
    last: int
    previous: int | None
    time_us: int | None
    changes: bytes

    def is_old(self, nonce: int) -> bool:
        """Whether a book of that number holds all of it."""
        return self.last <= nonce if self.previous is None else self.last < nonce

    def joins(self, nonce: int) -> bool:
        """Whether it may be the first after a snapshot of that number."""
        if self.previous is None:
            return self.first <= nonce + 1 <= self.last
        return self.first <= nonce <= self.last or self.previous == nonce

    def follows(self, nonce: int) -> bool:
        """Whether it comes next after a diff of that last id."""
        return self.first <= nonce + 1 if self.previous is None else self.previous == nonce

    def missed_after(self, nonce: int) -> int | None:
        """Return how many updates lie between; a future's ids jump, so there it is not known."""
        return self.first - nonce - 1 if self.previous is None else None


class Snapshot(NamedTuple):
    """An answer to the REST request for the depth."""

    nonce: int
    time_us: int | None
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Whole(NamedTuple):
    """A book as it stands: a snapshot with the diffs that waited for it."""

    nonce: int
    time_us: int | None
    changes: bytes


@dataclass
class DepthSync:
    """One market's diffs on their way into a book.

    Attributes
    ----------
    nonce
        The last id that the book holds; None while it waits for a snapshot.
    waiting
        Diffs without a break in between that wait for one.
    waiting_since, waiting_until
        Receive clock of the first diff that ever waited and of the last; None and 0 if none did.
    applied
        Diffs that went into the book.
    """

    nonce: int | None = None
    waiting: deque[Diff] = field(default_factory=lambda: deque(maxlen=WAITING_MAX))
    waiting_since: int | None = None
    waiting_until: int = 0
    applied: int = 0
    _is_first: bool = False

    def wait(self, diff: Diff, now: int) -> None:
        """Keep a diff until a snapshot comes. A break among those that wait makes the earlier ones useless."""
        self.waiting_since = now if self.waiting_since is None else self.waiting_since
        self.waiting_until = now
        if self.waiting and not diff.follows(self.waiting[-1].last):
            self.waiting.clear()
        self.waiting.append(diff)

    def break_off(self) -> None:
        """Something is missing: the book has to wait for a snapshot."""
        self.nonce = None
        self.waiting.clear()

    def next(self, diff: Diff) -> bool | None:
        """Tell whether a diff is the next one of the book: None if it is an old one, False if something is missing."""
        assert self.nonce is not None
        if diff.is_old(self.nonce) or (not self._is_first and diff.last <= self.nonce):
            return None
        if not (diff.joins(self.nonce) if self._is_first else diff.follows(self.nonce)):
            return False
        self.nonce, self._is_first, self.applied = diff.last, False, self.applied + 1
        return True

    def fits(self, snapshot: Snapshot) -> bool:
        """Tell whether the diffs that wait go on from a snapshot, or are all older."""
        late = next(self._late(snapshot.nonce), None)
        return late is None or late.joins(snapshot.nonce)

    def join(self, snapshot: Snapshot) -> Whole:
        """Begin the book with a snapshot that `fits`."""
        late = list(self._late(snapshot.nonce))
        self.waiting.clear()
        self.nonce, self._is_first, self.applied = snapshot.nonce, not late, self.applied + len(late)
        if not late:
            return Whole(snapshot.nonce, snapshot.time_us, pack(snapshot.bids, snapshot.asks, snapshot.time_us))
        book = OrderBook()
        book.replace(snapshot.bids, snapshot.asks)
        for diff in late:
            book.apply(diff.changes)
        self.nonce, time_us = late[-1].last, late[-1].time_us
        return Whole(self.nonce, time_us, pack(book.levels("bid"), book.levels("ask"), time_us))

    def _late(self, nonce: int) -> Iterator[Diff]:
        return (diff for diff in self.waiting if not diff.is_old(nonce))
