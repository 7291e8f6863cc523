"""The order book against a plain dict."""

from hypothesis import given
from hypothesis import strategies as st

from daedalus.shared import book as book_module
from daedalus.shared.book import OrderBook
from daedalus.shared.events import pack_changes, unpack_levels

prices = st.integers(1, 60).map(lambda n: n / 4)
sizes = st.sampled_from([0.0, 0.5, 1.0, 2.25])
changes = st.lists(st.tuples(st.none(), st.sampled_from(["bid", "ask"]), prices, sizes), max_size=120)


class NaiveBook:
    def __init__(self):
        self.sides = {"bid": {}, "ask": {}}

    def apply(self, rows):
        for _, side, price, size in rows:
            if size > 0:
                self.sides[side][price] = size
            else:
                self.sides[side].pop(price, None)

    def levels(self, side):
        return sorted(self.sides[side].items(), reverse=side == "bid")


@given(changes, changes, changes, st.integers(0, 8))
def test_equals_a_plain_dict(snapshot, first, second, depth):
    book, naive = OrderBook(), NaiveBook()
    book.apply(pack_changes(first))
    book.apply(pack_changes(snapshot), is_snapshot=True)
    book.apply(pack_changes(second))
    naive.apply(snapshot)
    naive.apply(second)
    for side, packed in zip(("bid", "ask"), book.top(depth), strict=True):
        assert book.levels(side) == naive.levels(side)
        assert unpack_levels(packed) == naive.levels(side)[:depth]
    assert len(book) == sum(len(levels) for levels in naive.sides.values())


@given(st.lists(changes, max_size=5), changes)
def test_changes_that_wait_are_those_that_were_applied_at_once(chunks, last):
    waiting, at_once = OrderBook(), OrderBook()
    for rows in [*chunks, last]:
        waiting.apply(pack_changes(rows))
        at_once.apply(pack_changes(rows))
        at_once.top(1)
    assert [waiting.levels(side) for side in ("bid", "ask")] == [at_once.levels(side) for side in ("bid", "ask")]


@given(changes)
def test_bounded(rows):
    limit, book_module.LEVELS_MAX = book_module.LEVELS_MAX, 5
    try:
        book, whole = OrderBook(), OrderBook()
        book.apply(pack_changes(rows), is_snapshot=True)
        assert len(book.levels("bid")) <= 5
        book_module.LEVELS_MAX = 1000
        whole.apply(pack_changes(rows), is_snapshot=True)
        assert book.levels("ask") == whole.levels("ask", 5)
        assert len(whole) == len(book) + book.dropped
    finally:
        book_module.LEVELS_MAX = limit


def test_deleting_what_was_never_there_is_routine():
    book = OrderBook()
    book.set("bid", 100.0, 0.0)
    book.set("ask", 101.0, 2.0)
    assert book.levels("bid") == [] and book.levels("ask") == [(101.0, 2.0)]
