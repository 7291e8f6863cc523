"""A synthetic order book that behaves as books do, one product at a time, from one seed.

An unobserved fair value diffuses and is pushed by trades; the book chases it. Where it lies above the mid, bids arrive
more often and nearer, asks are cancelled, and buyers are more aggressive: so order flow and price move together, and a
longer queue tells where the price goes next. Market orders excite further ones (a Hawkes process: Hawkes 1971,
Biometrika 58), sampled exactly by thinning (Ogata 1981). Depth, spread, volatility and activity change with the mood.

Time is seconds since the market's start. Every draw comes from one `random.Random` and only events draw, so the same
seed gives the same market however its time is cut into steps, and whatever the wall clock does.
"""

import math
from collections.abc import Iterator
from random import Random

from daedalus.sandbox.ladder import SIZE_DECIMALS, SIZE_UNITS, Ladder, decimal_text
from daedalus.sandbox.products import MOODS, Mood, ProductSpec
from daedalus.sandbox.updates import BookSnapshot, Change, LevelChanges, TickerTick, TradeTick, Update
from daedalus.shared.events import BookSide, Side

#: Levels per side: arrivals far from the touch fill up to the first, cancellations keep it under the second.
LEVELS_MIN, LEVELS_MAX = 120, 280
#: A market order stops after this many levels.
SWEEP_LEVELS_MAX = 8
#: Seconds of market, at the usual rate, that have passed before the start, so that there is a past to tell of.
WARM_UP_S = 120.0
USUAL_RATE = 20.0
#: Of all book events, those that delete a level nobody published: routine on Coinbase, and a trap for parsers.
UNKNOWN_DELETES = 0.002

# Hawkes: each market order adds JUMP orders per second to the rate, which decays with DECAY per second, and so has
# JUMP / DECAY = 0.65 followers of its own.
_JUMP, _DECAY = 0.91, 1.4
_ORDERS_PER_CHANGE = 0.02
_EVENTS_PER_CHANGE = 0.95
_PULL = 0.25
_REACH = 0.015


def _chance(x: float) -> float:
    """Return the logistic of x."""
    return 1.0 / (1.0 + math.exp(-x))


class ProductMarket:
    """The market of one product.

    Parameters
    ----------
    spec
        The product.
    random
        Where every draw comes from; nobody else may draw from it.
    start_us
        Market time 0, us since the epoch.
    rate
        Book changes per market second, on average; trades come a tenth as often.
    """

    def __init__(self, spec: ProductSpec, random: Random, start_us: int, rate: float = USUAL_RATE) -> None:
        self.spec, self._random, self._start_us = spec, random, start_us
        self._unit = max(1, round(spec.size * SIZE_UNITS))
        self._fair: float = spec.price * 10**spec.decimals
        self._sigma = self._fair * spec.sigma_bps * 1e-4
        # With more, smaller events the price is to move as far as before.
        self._impact = 0.5 * spec.spacing * math.sqrt(USUAL_RATE / rate)
        self._base = rate * _ORDERS_PER_CHANGE
        self._events = rate * _EVENTS_PER_CHANGE
        self._now = -WARM_UP_S * min(1.0, USUAL_RATE / rate)
        self._excitement = self._flow = 0.0
        self._mood, self._mood_ends = MOODS[0], self._now + random.expovariate(1 / MOODS[0].seconds)
        self._trade_id = random.randrange(10**8, 10**9)
        self._volume = round(spec.volume_24h * SIZE_UNITS)
        self._open = round(self._fair * (1 + random.gauss(0, 0.02)))
        self._low = round(min(self._open, self._fair) * (1 - abs(random.gauss(0, 0.01))))
        self._high = round(max(self._open, self._fair) * (1 + abs(random.gauss(0, 0.01))))
        self._bids, self._asks = Ladder(1), Ladder(-1)
        self._last = round(self._fair)
        self._fill()
        self.next_at = self._now
        self._draw_next()

    # What it shows

    def advance(self, until: float) -> Iterator[Update]:
        """Yield all updates up to a market time, in order."""
        while self.next_at <= until:
            yield from self.step()

    def snapshot(self) -> BookSnapshot:
        """Return the book as it is."""
        bids, asks = (
            [(self._price(t), self._size(side.sizes[t])) for t in side.ticks()] for side in (self._bids, self._asks)
        )
        return BookSnapshot(self.spec.name, self._time_us(), bids, asks)

    def ticker(self) -> TickerTick:
        """Return the last price, the quotes, and a day's statistics: volume and range only grow from the start on."""
        return TickerTick(
            product=self.spec.name,
            time_us=self._time_us(),
            price=self._price(self._last),
            best_bid=self._price(self._bids.best),
            best_bid_size=self._size(self._bids.best_size),
            best_ask=self._price(self._asks.best),
            best_ask_size=self._size(self._asks.best_size),
            volume_24h=self._size(self._volume),
            low_24h=self._price(self._low),
            high_24h=self._price(self._high),
            low_52w=self._price(round(self._low * 0.61)),
            high_52w=self._price(round(self._high * 1.74)),
            change_pct_24h=f"{(self._last / self._open - 1) * 100:.14f}",
        )

    @property
    def mood(self) -> Mood:
        """The regime at the moment."""
        return self._mood

    def _price(self, tick: int) -> str:
        return decimal_text(tick, self.spec.decimals)

    def _size(self, units: int) -> str:
        return decimal_text(units, SIZE_DECIMALS)

    def _time_us(self) -> int:
        return self._start_us + math.floor(self._now * 1e6)

    # Time

    def _draw_next(self) -> None:
        """Draw the time of the next candidate event; the rate only falls until then, so its present value bounds it."""
        self._bound = self._book_rate() + self._order_rate()
        self.next_at = self._now + self._random.expovariate(self._bound)

    def _order_rate(self) -> float:
        return self._base * self._mood.trading + self._excitement

    def _book_rate(self) -> float:
        # Makers answer trades: quotes are renewed faster after them.
        return self._events * (0.8 + 0.11 * min(self._excitement / self._base, 20.0))

    def step(self) -> Iterator[Update]:
        """Let the candidate event at `next_at` happen; most yield one update, a trade several, some none."""
        elapsed, self._now = self.next_at - self._now, self.next_at
        self._excitement *= math.exp(-_DECAY * elapsed)
        self._drift(elapsed)
        draw = self._random.random() * self._bound
        orders = self._order_rate()
        if draw < orders:
            yield from self._market_order()
        elif draw < orders + self._book_rate():
            changes = self._book_event()
            if changes:
                yield LevelChanges(self.spec.name, self._time_us(), changes)
        self._draw_next()

    def _drift(self, elapsed: float) -> None:
        """Let the fair value diffuse, softly tied to the mid, and the mood change when its time is over."""
        pull = (self._mid() - self._fair) * min(1.0, _PULL * elapsed)
        self._fair += pull + self._sigma * self._mood.sigma * math.sqrt(elapsed) * self._random.gauss(0.0, 1.0)
        if self._now >= self._mood_ends:
            self._mood = self._random.choice([mood for mood in MOODS if mood is not self._mood])
            self._mood_ends = self._now + self._random.expovariate(1 / self._mood.seconds)

    def _mid(self) -> float:
        return (self._bids.best + self._asks.best) / 2

    def _lean(self) -> float:
        """Return how far the fair value is above the mid, in level spacings, within -3 and 3."""
        return max(-3.0, min(3.0, (self._fair - self._mid()) / self.spec.spacing))

    # The book

    def _fill(self) -> None:
        """Lay out the first book: dense at the touch, thin and wide far away."""
        for side in (self._bids, self._asks):
            tick = round(self._fair) - side.sign * max(1, self.spec.spacing // 2)
            for index in range((LEVELS_MIN + LEVELS_MAX) // 2):
                side.set(tick, self._lot(index))
                gap = self.spec.spacing * (1 + index * 0.03)
                tick = max(1, tick - side.sign * (1 + int(self._random.expovariate(1 / gap))))

    def _lot(self, distance: float) -> int:
        """Draw a size: log-normal, larger away from the touch, every fourth one a round number."""
        size = (
            self._unit * self._mood.depth * self._random.lognormvariate(-0.3, 0.9) * (1 + 0.25 * math.log1p(distance))
        )
        if self._random.random() < 0.25:
            size = float(f"{size:.0e}")
        return max(1, int(size))

    def _change(self, side: Ladder, tick: int, size: int) -> Change:
        side.set(tick, size)
        name: BookSide = "bid" if side is self._bids else "ask"
        return (name, self._price(tick), self._size(size))

    def _book_event(self) -> list[Change]:
        """Let one limit order arrive or one be cancelled."""
        random, lean = self._random, self._lean()
        if random.random() < UNKNOWN_DELETES:
            return self._unknown_delete()
        adds = random.random() < 0.5
        toward = _chance(0.7 * lean if adds else -0.7 * lean)
        side, other = (self._bids, self._asks) if random.random() < toward else (self._asks, self._bids)
        if adds and len(side) < LEVELS_MAX:
            return self._limit_order(side, other)
        if not adds and len(side) <= LEVELS_MIN:
            return self._limit_order(side, other, is_far=True)
        return self._cancel(side)

    def _limit_order(self, side: Ladder, other: Ladder, is_far: bool = False) -> list[Change]:
        """Add to a queue near the touch, or quote a new price: never one that would trade."""
        random, spacing = self._random, self.spec.spacing
        if not is_far and random.random() < 0.3:
            tick = side.tick(min(len(side) - 1, int(random.expovariate(0.5))))
            return [self._change(side, tick, side.sizes[tick] + self._lot(0))]
        limit = other.best - side.sign
        anchor = math.floor(self._fair - side.sign * self._mood.half_spread * spacing)
        if is_far or random.random() < 0.2:
            away = min(6.0 * spacing * random.paretovariate(0.8), anchor * _REACH * random.random())
        else:
            away = spacing * random.expovariate(0.35)
        tick = anchor - side.sign * int(away)
        tick = min(tick, limit) if side.sign > 0 else max(tick, limit)
        if tick < 1:
            return []
        size = side.sizes.get(tick, 0) + self._lot(abs(anchor - tick) / spacing)
        return [self._change(side, tick, size)]

    def _cancel(self, side: Ladder) -> list[Change]:
        """Cancel an order, whole or in part: at the best price when the fair value has passed it, else mostly near."""
        random = self._random
        margin = side.sign * (self._fair - side.best) - 0.4 * self._mood.half_spread * self.spec.spacing
        if margin < 0 and random.random() < 0.7:
            index = 0
        elif random.random() < 0.6:
            index = min(len(side) - 1, int(random.expovariate(0.3)))
        else:
            index = random.randrange(len(side))
        tick = side.tick(index)
        left = int(side.sizes[tick] * random.uniform(0.2, 0.9)) if random.random() < 0.4 else 0
        if len(side) <= LEVELS_MIN and left == 0 and index > 0:
            return []
        return [self._change(side, tick, left)]

    def _unknown_delete(self) -> list[Change]:
        tick = self._bids.tick(len(self._bids) - 1) - 1 - self._random.randrange(1000)
        return [("bid", self._price(tick), "0")] if tick > 0 else []

    # Trades

    def _market_order(self) -> Iterator[Update]:
        """Let one aggressive order take what the book offers; it excites more of them and moves the fair value."""
        random = self._random
        bid, ask = self._bids.best_size, self._asks.best_size
        lean = 1.1 * self._lean() + 1.3 * self._flow + 1.2 * (bid - ask) / (bid + ask)
        sign = 1 if random.random() < _chance(lean) else -1
        side = self._asks if sign > 0 else self._bids
        wanted = max(1, int(0.5 * self._unit * random.lognormvariate(-0.4, 1.3)))
        taken = self._sweep(side, wanted)
        filled = sum(size for _, size in taken)
        self._excitement += _JUMP
        self._flow = 0.8 * self._flow + 0.2 * sign
        self._fair += sign * self._impact * min(3.0, filled / self._unit)
        yield from self._tell(side, taken)

    def _sweep(self, side: Ladder, wanted: int) -> list[tuple[int, int]]:
        """Return (tick, size) of what a market order takes, the best price first."""
        taken: list[tuple[int, int]] = []
        for index in range(min(SWEEP_LEVELS_MAX, len(side) - 1)):
            tick = side.tick(index)
            size = min(wanted, side.sizes[tick])
            taken.append((tick, size))
            wanted -= size
            if wanted <= 0:
                break
        return taken

    def _tell(self, side: Ladder, taken: list[tuple[int, int]]) -> Iterator[Update]:
        """Take it out of the book; yield one change message, then each execution with its ticker."""
        changes = [self._change(side, tick, side.sizes[tick] - size) for tick, size in taken]
        yield LevelChanges(self.spec.name, self._time_us(), changes)
        for tick, size in taken:
            for part in self._makers(size):
                self._trade_id += 1
                self._last, self._volume = tick, self._volume + part
                self._low, self._high = min(self._low, tick), max(self._high, tick)
                maker: Side = "buy" if side is self._bids else "sell"
                price, text = self._price(tick), self._size(part)
                yield TradeTick(self.spec.name, self._time_us(), str(self._trade_id), price, text, maker)
                yield self.ticker()

    def _makers(self, size: int) -> list[int]:
        """Split what one level gave among the orders that rested there: one, two or three."""
        parts: list[int] = []
        while size > 1 and len(parts) < 2 and self._random.random() < 0.3:
            part = self._random.randrange(1, size)
            parts.append(part)
            size -= part
        return [*parts, size]
