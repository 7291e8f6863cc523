"""What a client of Kraken knows of books: the levels within the depth that it asked for, and no others."""

from collections.abc import Sequence

import msgspec

from daedalus.sandbox.base import OutFrame
from daedalus.sandbox.kraken_frames import Book
from daedalus.sandbox.kraken_messages import SIZE_DIGITS, Tops, checksum
from daedalus.sandbox.updates import Level
from daedalus.sandbox.windows import is_pushed_out, levels_moved
from daedalus.shared.events import BookSide

_REMOVED = f"{0:.{SIZE_DIGITS}f}"


class _Update(msgspec.Struct, frozen=True, gc=False):
    data: list[Book]


_update = msgspec.json.Decoder(_Update).decode


def changed_side(side: BookSide, before: Sequence[Level], after: Sequence[Level], depth: int) -> list[Level]:
    """Return what an update says of a side. Of the levels that left it, those that were pushed out go unmentioned."""
    came, gone = levels_moved(before, after)
    return [(price, _REMOVED) for price, _ in gone if not is_pushed_out(side, (price, ""), after, depth)] + came


class BookMemory:
    """The books that a client was told of, and, where it lost frames, the books that it is left with."""

    def __init__(self) -> None:
        self._tops: dict[str, Tops] = {}
        self._before: dict[str, Tops] = {}
        self._held: dict[str, Tops] = {}
        self._depths: dict[str, int] = {}

    def tops(self, product: str) -> Tops:
        """Return what the client was last told of."""
        return self._tops.get(product, ([], []))

    def told(self, product: str, tops: Tops, depth: int, is_whole: bool = False) -> None:
        """Take note of the book after the message that is about to go out; a snapshot mends all that was lost."""
        self._before[product] = self.tops(product)
        self._tops[product], self._depths[product] = tops, depth
        if is_whole:
            self._held.pop(product, None)

    def lost(self, product: str) -> None:
        """Take note that the client did not get that message, whichever others before it."""
        self._held.setdefault(product, self._before.get(product, ([], [])))

    def reveals(self, frame: OutFrame) -> bool:
        """Whether a message's checksum disagrees with the client's book after it; then the client knows."""
        held = self._held.pop(frame.product, None)
        if held is None:
            return True
        for book in _update(frame.data).data:
            depth = self._depths[frame.product]
            bids = _applied("bid", held[0], book.side("bids"), depth)
            asks = _applied("ask", held[1], book.side("asks"), depth)
            if checksum(bids, asks) != book.checksum:
                return True
        self._held[frame.product] = held
        return False


def _applied(side: BookSide, levels: Sequence[Level], changes: Sequence[Level], depth: int) -> list[Level]:
    kept = {float(price): (price, size) for price, size in (*levels, *changes)}
    present = [key for key, (_, size) in kept.items() if float(size) > 0.0]
    return [kept[key] for key in sorted(present, reverse=side == "bid")[:depth]]
