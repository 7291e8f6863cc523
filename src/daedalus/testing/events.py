"""Seeded events of all kinds, for suites that need some."""

import random
from collections.abc import Iterator

from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.events import (
    BookDelta,
    BookSnapshot,
    Event,
    Frame,
    Gap,
    Ticker,
    Trade,
    pack_changes,
    pack_levels,
)

START_NS = 1_750_341_600 * NS_PER_SECOND
SYMBOLS = ("BTC-USD", "ETH/USD", "XBT/USDT:USDT")


def seeded_events(
    count: int, *, seed: int = 1, start_ns: int = START_NS, step_ns: int = 1_000_000, symbols: tuple[str, ...] = SYMBOLS
) -> Iterator[Event]:
    """Yield events of every channel in arrival order; trade ids and nonces number them, so losses and doubles show.

    Parameters
    ----------
    count
        How many.
    seed
        Of their content.
    start_ns, step_ns
        The first receive time, and the time between two.
    symbols
        Markets, drawn at random.
    """
    rng = random.Random(seed)
    for number in range(count):
        yield _event(number, rng, start_ns + number * step_ns, rng.choice(symbols))


def _event(number: int, rng: random.Random, now: int, symbol: str) -> Event:
    kind = rng.choice(("trades", "trades", "orderbook", "l2", "ticker", "frames", "gaps"))
    mid = round(100 + rng.gauss(0, 1), 2)
    common = {"collected_at": now, "exchange": "testex", "symbol": symbol}
    if kind == "trades":
        side = rng.choice(("buy", "sell", None))
        return Trade(
            **common,  # type: ignore[arg-type]
            trade_id=str(number),
            timestamp=now // 1000 - 40_000,
            side=side,  # type: ignore[arg-type]
            price=mid,
            amount=round(rng.expovariate(1.0), 8),
        )
    if kind == "orderbook":
        bids = [(round(mid - 0.01 * (i + 1), 2), round(rng.expovariate(1.0), 8)) for i in range(rng.randrange(21))]
        asks = [(round(mid + 0.01 * (i + 1), 2), round(rng.expovariate(1.0), 8)) for i in range(20)]
        return BookSnapshot(**common, nonce=number, bids=pack_levels(bids), asks=pack_levels(asks))  # type: ignore[arg-type]
    if kind == "l2":
        rows = [(None, rng.choice(("bid", "ask")), mid, rng.choice((0.0, 1.5))) for _ in range(rng.randrange(1, 5))]
        return BookDelta(**common, nonce=number, is_snapshot=number % 7 == 0, changes=pack_changes(rows))  # type: ignore[arg-type]
    if kind == "ticker":
        return Ticker(**common, timestamp=now // 1000, bid=mid - 0.01, ask=mid + 0.01, last=mid)  # type: ignore[arg-type]
    if kind == "frames":
        text = f'{{"number": {number}, "text": "é\\u0000"}}'
        return Frame(**{**common, "symbol": "ALL"}, connection_id="c1", direction="in", frame=text)  # type: ignore[arg-type]
    return Gap(
        **common,  # type: ignore[arg-type]
        channel="trades",
        started_at=now - 5,
        ended_at=None if number % 2 else now,
        reason="disconnect",
        missed=number,
    )
