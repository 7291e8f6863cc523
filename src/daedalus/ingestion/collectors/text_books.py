"""Books whose texts are kept beside their numbers, for venues whose checksums are made of the digits as sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from daedalus.shared.book import OrderBook


@dataclass
class TextBook:
    """The texts of a book's levels, and the check that they allow.

    Attributes
    ----------
    sides
        Price to (price, size) as sent: bids, asks.
    """

    sides: tuple[dict[float, Sequence[str]], dict[float, Sequence[str]]] = field(default_factory=lambda: ({}, {}))

    def take(self, bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]], *, is_snapshot: bool = False) -> None:
        """Take the levels of a message."""
        for texts, levels in zip(self.sides, (bids, asks), strict=True):
            if is_snapshot:
                texts.clear()
            for level in levels:
                if float(level[1]) > 0.0:
                    texts[float(level[0])] = level[:2]
                else:
                    texts.pop(float(level[0]), None)

    def beyond(self, depth: int) -> list[tuple[int, float]]:
        """Take away the levels beyond a depth; return (0 bid or 1 ask, price) of each."""
        gone: list[tuple[int, float]] = []
        for number, texts in enumerate(self.sides):
            if len(texts) > depth:
                far = sorted(texts, reverse=number == 0)[depth:]
                gone += [(number, price) for price in far]
                for price in far:
                    del texts[price]
        return gone

    def top(self, book: OrderBook, depth: int) -> tuple[list[Sequence[str]], list[Sequence[str]]]:
        """Return the texts of a book's best bids and asks. Raises KeyError for a level that was not taken."""
        bids = [self.sides[0][price] for price, _ in book.levels("bid", depth)]
        return bids, [self.sides[1][price] for price, _ in book.levels("ask", depth)]
