"""CCXT's books with a memory: the same levels as CCXT's own, and a log that rebuilds them."""

import pytest
from ccxt.async_support.base.ws import order_book
from hypothesis import given
from hypothesis import strategies as st

from daedalus.ingestion.collectors.ccxt_client_books import book_class
from daedalus.ingestion.collectors.ccxt_events import pack_side
from daedalus.shared.book import OrderBook
from daedalus.shared.errors import MalformedError

PRICES = st.integers(1, 12).map(float)
CHANGES = st.lists(st.tuples(st.sampled_from(["bids", "asks"]), PRICES, st.integers(0, 3).map(float)), max_size=60)


@given(CHANGES, st.sampled_from([None, 3]), st.booleans())
def test_levels_are_those_of_ccxt(changes, depth, is_logged):
    ours, theirs = book_class("plain", is_logged)({}, depth), order_book.OrderBook({}, depth)
    for side, price, size in changes:
        ours[side].store_all([[str(price), str(size), "0", "1"]])
        theirs[side].store(price, size)
    ours.limit(), theirs.limit()
    assert [list(ours[s]) for s in ("bids", "asks")] == [list(theirs[s]) for s in ("bids", "asks")]
    assert [ours[s]._index for s in ("bids", "asks")] == [theirs[s]._index for s in ("bids", "asks")]


@given(CHANGES, st.integers(2, 5))
def test_the_log_rebuilds_the_book(changes, depth):
    book, rebuilt = book_class("plain", True)({"bids": [[5.0, 1.0]]}, depth), OrderBook()
    rebuilt.replace([(5.0, 1.0)], [])
    for number, (side, price, size) in enumerate(changes):
        (book[side].store if number % 2 else lambda *level, to=book[side]: to.store_all([level]))(price, size)
        book.limit()
        for at, level, amount in book.log:
            rebuilt.set("ask" if at else "bid", level, amount)
        book.log.clear()
        assert [rebuilt.levels(s) for s in ("bid", "ask")] == [[tuple(x) for x in book[s]] for s in ("bids", "asks")]


STEPS = st.lists(
    st.tuples(st.sampled_from(["all", "one", "limit", "fill", "clear"]), PRICES, st.integers(0, 3)), max_size=60
)


@given(STEPS, st.integers(1, 5))
def test_the_top_is_that_of_the_levels_whoever_changed_them(steps, depth):
    book = book_class("plain", False)({}, 6)
    for step, price, size in steps:
        for side in (book["bids"], book["asks"]):
            if step == "all":
                side.store_all([[str(price), str(size)], [str(price + 1), "1"]])
            elif step == "one":
                side.store(price, float(size))
            elif step == "limit":
                side.limit()
        if step == "fill":
            book.reset({"bids": [[price, 1.0]], "asks": [[price + 2, 2.0]]})
        elif step == "clear":
            book.reset()
        for side in (book["bids"], book["asks"]):
            assert side.top(depth) == side.top(depth) == pack_side(list(side), depth)
            assert [level[0] * (1 if side.number else -1) for level in side] == side._index == sorted(side._index)


def test_filling_a_book_anew_makes_it_whole_and_new():
    book = book_class("plain", False)({"bids": [[1.0, 2.0]]})
    assert (book.is_new, book.stale, book.log) == (True, False, None)
    book.is_new, book.stale = False, True
    book["bids"].store(3.0, 1.0)
    assert book.stale
    book.reset({"bids": [[9.0, 1.0]], "asks": [], "nonce": 4})
    assert (book.is_new, book.stale, book["nonce"], list(book["bids"])) == (True, False, 4, [[9.0, 1.0]])


def test_counted_and_indexed_books_are_ccxts():
    counted = book_class("counted", True)({"bids": [[1.0, 2.0, 1]]})
    counted["bids"].storeArray([1.0, 2.0, 0])
    assert list(counted["bids"]) == [] and counted.log == [(0, 1.0, 0.0)]
    indexed = book_class("indexed", True)({"asks": [[1.0, 2.0, "a"], [1.0, 3.0, "b"]]})
    assert len(indexed["asks"]) == 2 and indexed.log is None


@pytest.mark.parametrize("level", [["NaN", "1"], ["1", "1e999"], ["1", "-1"], ["1"], [None, "1"]])
def test_what_is_no_level_is_refused(level):
    with pytest.raises((MalformedError, IndexError, TypeError)):
        book_class("plain", False)({})["bids"].store_all([["1", "1"], level])
