"""What has to hold of every lake, whatever happened while it was recorded: for suites."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daedalus.shared.book import OrderBook
from daedalus.shared.events import BookSide
from daedalus.testing.lake import read_channel

if TYPE_CHECKING:
    import polars as pl

_SIDES: tuple[BookSide, ...] = ("bid", "ask")
FOREVER = 2**63 - 1
Interval = tuple[int, int]


class Ledger:
    """The gap ledger of a lake.

    Parameters
    ----------
    base, source
        The lake's directory and the recorder's name.
    """

    def __init__(self, base: Path, source: str = "coinbase") -> None:
        rows = read_channel(base, "gaps", source)
        self._ends: dict[tuple[str, str, str], dict[int, int | None]] = {}
        self.reasons: dict[str, int] = {}
        for row in rows.to_dicts():
            stream = self._ends.setdefault((row["exchange"], row["symbol"], row["channel"]), {})
            start, end = row["started_at"], row["ended_at"]
            if start not in stream:
                self.reasons[row["reason"]] = self.reasons.get(row["reason"], 0) + 1
            stream[start] = max(end or 0, stream.get(start) or 0) or None

    def intervals(self, exchange: str, symbol: str, channel: str, received: Iterable[int] = ()) -> list[Interval]:
        """Return the intervals of a stream, ns, by their start.

        Parameters
        ----------
        received
            When the stream's rows came: an interval whose end was never entered ends with the next of them.
        """
        clock = sorted(received)
        found = []
        for start, end in self._ends.get((exchange, symbol, channel), {}).items():
            after = bisect_right(clock, start)
            found.append((start, end or (clock[after] if after < len(clock) else FOREVER)))
        return sorted(found)


def covered(intervals: Iterable[Interval], begin: int, end: int) -> bool:
    """Tell whether some interval touches the time from `begin` to `end`, ns."""
    return any(start <= end and stop >= begin for start, stop in intervals)


def find_silent_losses(
    expected: Sequence[Any], received: dict[Any, int], intervals: Sequence[Interval]
) -> list[tuple[int, int]]:
    """Return the runs of missing things that no ledger interval accounts for, as (first, last) index.

    Parameters
    ----------
    expected
        Keys of all that happened, in the order in which the exchange told of it.
    received
        When each arrived, ns. What came before the first that was received is not looked at: it is older than the
        recording.
    intervals
        Of the stream. A run is accounted for by an interval that touches the time between its received neighbours.
    """
    positions = [index for index, key in enumerate(expected) if key in received]
    silent = []
    for before, after in pairwise(positions):
        if after == before + 1:
            continue
        t0, t1 = received[expected[before]], received[expected[after]]
        if not covered(intervals, min(t0, t1), max(t0, t1)):
            silent.append((before + 1, after - 1))
    return silent


def assert_trades_are_whole(base: Path, exchange: str, symbols: Iterable[str], source: str = "coinbase") -> None:
    """Assert that each trade id, of consecutive ones, was recorded once or lies in an interval of the ledger."""
    import polars as pl

    ledger, rows = Ledger(base, source), read_channel(base, "trades", source)
    for symbol in symbols:
        mine = rows.filter((pl.col("exchange") == exchange) & (pl.col("symbol") == symbol))
        ids = [int(text) for text in mine["trade_id"]]
        assert len(set(ids)) == len(ids), f"{exchange} {symbol}: a trade was recorded twice"
        received = dict(zip(ids, mine["collected_at"], strict=True))
        expected = range(min(ids), max(ids) + 1) if ids else ()
        lost = find_silent_losses(expected, received, ledger.intervals(exchange, symbol, "trades", received.values()))
        assert not lost, f"{exchange} {symbol}: trades lost in silence: {[(expected[a], expected[b]) for a, b in lost]}"


def assert_books_are_true(
    base: Path, exchange: str, symbols: Iterable[str], source: str = "coinbase", *, depth: int = 20, at_least: int = 20
) -> None:
    """Assert that each published book equals the one rebuilt from l2, which starts anew at each snapshot."""
    import polars as pl

    l2, books = read_channel(base, "l2", source), read_channel(base, "orderbook", source)
    for symbol in symbols:
        is_mine = (pl.col("exchange") == exchange) & (pl.col("symbol") == symbol)
        checked, left = _compare_books(l2.filter(is_mine), books.filter(is_mine), depth)
        assert left == 0, f"{exchange} {symbol}: {left} published books have no l2 beside them"
        assert checked > at_least, f"{exchange} {symbol}: only {checked} books"


def _compare_books(l2: "pl.DataFrame", books: "pl.DataFrame", depth: int) -> tuple[int, int]:
    """Return how many books were compared, and how many could not be."""
    import polars as pl

    columns = ("side", "price", "size")
    frames = l2.group_by("collected_at", "nonce", maintain_order=True).agg(pl.col("is_snapshot").first(), *columns)
    published = books.to_dicts()
    book, position = OrderBook(), 0
    for frame in frames.iter_rows(named=True):
        rows = list(zip(*(frame[name] for name in columns), strict=True))
        if frame["is_snapshot"]:
            book.replace(*([(p, q) for s, p, q in rows if s == side] for side in _SIDES))
        else:
            for side, price, size in rows:
                book.set(side, price, size)
        if position < len(published) and published[position]["collected_at"] == frame["collected_at"]:
            for side in _SIDES:
                told = [(level["price"], level["size"]) for level in published[position][f"{side}s"]]
                assert told == book.levels(side, depth), f"the {side}s at {frame['collected_at']} are not those of l2"
            position += 1
    return position, len(published) - position
