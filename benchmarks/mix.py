"""A synthetic market for speed: 20-level books and trades of ten symbols, made before the clock starts."""

import random
import struct
from collections.abc import Iterator

from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.events import BookSnapshot, Event, Trade

LEVELS = 20
SYMBOLS = tuple(f"COIN{number}-USD" for number in range(10))
START_NS = 1_750_341_600 * NS_PER_SECOND
_PACK = struct.Struct(f"<{2 * LEVELS}d")


class Market:
    """A book whose levels change size mostly, and place sometimes, near the touch mostly."""

    def __init__(self, symbol: str, rng: random.Random) -> None:
        self.symbol = symbol
        self._rng = rng
        self._mid = rng.randrange(10_000, 10_000_000)
        self._bids = [self._mid - 1 - i * rng.randrange(1, 3) for i in range(LEVELS)]
        self._asks = [self._mid + 1 + i * rng.randrange(1, 3) for i in range(LEVELS)]
        self._sizes = {True: [self._size() for _ in range(LEVELS)], False: [self._size() for _ in range(LEVELS)]}
        self._packed = {True: b"", False: b""}
        for is_bid in (True, False):
            self._pack(is_bid)
        self._number = rng.randrange(10**9)

    def book(self, now: int) -> BookSnapshot:
        """The next snapshot."""
        rng, is_bid = self._rng, self._rng.random() < 0.5
        at = min(LEVELS - 1, int(rng.expovariate(0.3)))
        prices, sizes = (self._bids if is_bid else self._asks), self._sizes[is_bid]
        if rng.random() < 0.2:
            del prices[at], sizes[at]
            prices.append(prices[-1] + (-2 if is_bid else 2))
            sizes.append(self._size())
        else:
            sizes[at] = self._size()
        self._pack(is_bid)
        self._number += 1
        return BookSnapshot(
            collected_at=now,
            exchange="bench",
            symbol=self.symbol,
            timestamp=now // 1000 - 30_000,
            nonce=self._number,
            bids=self._packed[True],
            asks=self._packed[False],
        )

    def trade(self, now: int) -> Trade:
        """The next execution."""
        is_buy = self._rng.random() < 0.5
        self._number += 1
        return Trade(
            collected_at=now,
            exchange="bench",
            symbol=self.symbol,
            timestamp=now // 1000 - 30_000,
            trade_id=str(10**9 + self._number),
            side="buy" if is_buy else "sell",
            price=(self._asks if is_buy else self._bids)[0] / 100,
            amount=self._size(),
            info_json='{"side":"SELL"}' if is_buy else '{"side":"BUY"}',
        )

    def _size(self) -> float:
        return round(self._rng.lognormvariate(0.0, 1.5), self._rng.choice((2, 4, 8)))

    def _pack(self, is_bid: bool) -> None:
        prices = self._bids if is_bid else self._asks
        flat: list[float] = []
        for price, size in zip(prices, self._sizes[is_bid], strict=True):
            flat += (price / 100, size)
        self._packed[is_bid] = _PACK.pack(*flat)


def mixed(books: int, trades: int, *, seed: int = 1, step_ns: int = 500_000) -> Iterator[Event]:
    """Books and trades in equal turns, over all symbols, in one hour."""
    rng = random.Random(seed)
    markets = [Market(symbol, rng) for symbol in SYMBOLS]
    now = START_NS
    for number in range(books + trades):
        now += rng.randrange(1, 2 * step_ns)
        market = rng.choice(markets)
        is_book = number % 2 == 0 if min(books, trades) else books > 0
        yield market.book(now) if is_book else market.trade(now)


def streams(count: int, rows: int, *, seed: int = 1) -> Iterator[list[Event]]:
    """Flushes of `count` streams (half books, half trades), `rows` rows each, five seconds apart, for one minute."""
    rng = random.Random(seed)
    markets = [Market(f"S{number}-USD", rng) for number in range(count // 2)]
    for flush in range(12):
        now = START_NS + flush * 5 * NS_PER_SECOND
        events: list[Event] = []
        for _ in range(rows):
            for market in markets:
                now += rng.randrange(1_000_000)
                events += (market.book(now), market.trade(now))
        yield events
