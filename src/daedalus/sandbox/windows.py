"""Changes of a book between two messages of an exchange that tells of them in intervals, or of the top levels only."""

from collections.abc import Sequence

from daedalus.sandbox.updates import Change, Level, LevelChanges
from daedalus.shared.events import BookSide


class ChangeWindow:
    """What changed in one product since the last message.

    Parameters
    ----------
    span_us
        Its length in market time; 0 is a window for each change.

    Attributes
    ----------
    end_us
        When it is over; None while nothing has changed.
    first_id, last_id
        The states of the book (`TextBook.update_id`) that its changes led to.
    """

    def __init__(self, span_us: int) -> None:
        self.span_us = span_us
        self.end_us: int | None = None
        self.first_id = self.last_id = 0
        self._changes: dict[tuple[BookSide, float], Change] = {}

    def add(self, update: LevelChanges, update_id: int) -> None:
        """Take in changes that led to a state."""
        if self.end_us is None:
            self.first_id = update_id
            self.end_us = update.time_us - update.time_us % self.span_us + self.span_us if self.span_us else 0
        self.last_id = update_id
        for change in update.changes:
            self._changes[change[0], float(change[1])] = change

    def is_over(self, time_us: int) -> bool:
        """Whether it is time to tell."""
        return self.end_us is not None and self.end_us <= time_us

    def take(self) -> list[Change]:
        """Return the last state of every level that changed, and begin anew."""
        changes = list(self._changes.values())
        self._changes = {}
        self.end_us = None
        return changes


def levels_moved(before: Sequence[Level], after: Sequence[Level]) -> tuple[list[Level], list[Level]]:
    """Return the levels that came or changed, and those that are gone, as (came, gone), from the top of a side.

    Examples
    --------
    >>> levels_moved([("9", "1"), ("8", "1")], [("9.0", "2"), ("7", "1")])
    ([('9.0', '2'), ('7', '1')], [('8', '1')])
    """
    old, new = dict(before), dict(after)
    came = [level for level in after if old.get(level[0]) != level[1]]
    gone = [level for level in before if level[0] not in new]
    if came and gone:  # one price written in two ways is one level
        prices = {float(price) for price, _ in came}
        gone = [level for level in gone if float(level[0]) not in prices]
    return came, gone


def is_pushed_out(side: BookSide, level: Level, top: Sequence[Level], depth: int) -> bool:
    """Whether a level that left the top lies behind a top that is full: a client cuts it off by itself."""
    if len(top) < depth:
        return False
    price, worst = float(level[0]), float(top[-1][0])
    return price < worst if side == "bid" else price > worst
