"""Top of book at every update of a full-depth book: `shared/book.py` beside a dict with a heap, and one sorted anew."""

import heapq
import random
import time
import tracemalloc

from daedalus.shared.book import OrderBook
from daedalus.shared.events import BookSnapshot, pack_changes, pack_levels

LEVELS = 22_000
UPDATES = 20_000
PEER_UPDATES = 200
DEPTH = 20


def market(rng: random.Random) -> tuple[dict[str, dict[float, float]], list[tuple[None, str, float, float]]]:
    """Return a book of 44,000 levels around 60,000 and updates that cluster at the touch, as a live market's do."""
    book = {
        "bid": {round(60_000 - 0.01 - i * 0.5, 2): 1.0 + i % 7 for i in range(LEVELS)},
        "ask": {round(60_000 + 0.01 + i * 0.5, 2): 1.0 + i % 7 for i in range(LEVELS)},
    }
    updates = []
    for _ in range(UPDATES):
        side = rng.choice(("bid", "ask"))
        offset = 0.01 + round(rng.expovariate(1 / 40), 1)
        price = round(60_000 - offset if side == "bid" else 60_000 + offset, 2)
        updates.append((None, side, price, rng.choice((0.0, 1.0, 2.5))))
    return book, updates


def ours(book: dict[str, dict[float, float]], updates: list[tuple[None, str, float, float]]) -> float:
    """Return microseconds for an update and the packed top."""
    kept = OrderBook()
    kept.replace(list(book["bid"].items()), list(book["ask"].items()))
    packed = [pack_changes([update]) for update in updates]  # type: ignore[list-item]
    began = time.perf_counter()
    for change in packed:
        kept.apply(change)
        kept.top(DEPTH)
    return (time.perf_counter() - began) / len(packed) * 1e6


def heap(book: dict[str, dict[float, float]], updates: list[tuple[None, str, float, float]]) -> float:
    """Return the same of plain dicts whose best levels a heap picks."""
    return _dicts(book, updates, lambda side: heapq.nlargest(DEPTH, side), lambda side: heapq.nsmallest(DEPTH, side))


def sorted_anew(book: dict[str, dict[float, float]], updates: list[tuple[None, str, float, float]]) -> float:
    """Return the same of plain dicts that are sorted each time."""
    return _dicts(book, updates, lambda side: sorted(side, reverse=True)[:DEPTH], lambda side: sorted(side)[:DEPTH])


def _dicts(book, updates, best_bids, best_asks) -> float:  # type: ignore[no-untyped-def]
    sides = {side: dict(levels) for side, levels in book.items()}
    began = time.perf_counter()
    for _, side, price, size in updates[:PEER_UPDATES]:
        if size:
            sides[side][price] = size
        else:
            sides[side].pop(price, None)
        bids, asks = best_bids(sides["bid"]), best_asks(sides["ask"])
        pack_levels([(p, sides["bid"][p]) for p in bids])
        pack_levels([(p, sides["ask"][p]) for p in asks])
    return (time.perf_counter() - began) / PEER_UPDATES * 1e6


def queued_bytes(levels: int) -> float:
    """Return the memory that a book of so many levels a side takes while it waits in the queue."""
    book = [(60_000 - i / 100, 1.0 + i) for i in range(levels)]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    waiting = [
        BookSnapshot(
            collected_at=1_750_341_600_000_000_000 + n,
            exchange="coinbase",
            symbol="BTC-USD",
            timestamp=1_750_341_600_000_000 + n,
            nonce=10**9 + n,
            bids=pack_levels(book),
            asks=pack_levels(book),
        )
        for n in range(1_000)
    ]
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / len(waiting)


def main() -> None:
    """Print microseconds an update and the ratios, and what a queued book takes."""
    book, updates = market(random.Random(1))
    mine = ours(book, updates)
    print(f"book of {2 * LEVELS:,} levels, an update and its top {DEPTH}, both sides, packed:")
    print(f"  shared/book.py      {mine:9.1f} us")
    for name, peer in (("dict and heap", heap), ("dict, sorted anew", sorted_anew)):
        cost = peer(book, updates)
        print(f"  {name:<18}  {cost:9.1f} us   {cost / mine:,.0f} times ours")
    for levels in (20, 50):
        floor = 2 * levels * 16
        taken = queued_bytes(levels)
        print(f"a queued {levels}-level book: {taken:,.0f} bytes, {taken / floor:.2f} times its {floor:,} of numbers")


if __name__ == "__main__":
    main()
