"""Top of book at every update of a full-depth book: `shared/book.py` beside a dict with a heap, and one sorted anew."""

import heapq
import random
import time

from daedalus.shared.book import OrderBook
from daedalus.shared.events import pack_changes, pack_levels

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


def main() -> None:
    """Print microseconds an update and the ratios."""
    book, updates = market(random.Random(1))
    mine = ours(book, updates)
    print(f"book of {2 * LEVELS:,} levels, an update and its top {DEPTH}, both sides, packed:")
    print(f"  shared/book.py      {mine:9.1f} us")
    for name, peer in (("dict and heap", heap), ("dict, sorted anew", sorted_anew)):
        cost = peer(book, updates)
        print(f"  {name:<18}  {cost:9.1f} us   {cost / mine:,.0f} times ours")


if __name__ == "__main__":
    main()
