"""CCXT's structures to events: nothing invented, nothing that is no number."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daedalus.ingestion.collectors.ccxt_events import (
    INFO_BYTES_MAX,
    CcxtCounters,
    Fields,
    info_json,
    number,
    pack_side,
    sequence_number,
    ticker_event,
    time_us,
    trade_event,
)
from daedalus.shared.errors import MalformedError
from daedalus.shared.events import unpack_levels

NOW = 1_723_161_254_000_000_000
TRADE = {"id": 7, "timestamp": 1_723_161_253_123, "side": "buy", "price": 2.5, "amount": 4.0, "cost": 10.0}


NO_FIELDS = Fields()


def trade(fields=NO_FIELDS, **more):
    return trade_event({**TRADE, "info": {"t": 7, "x": "y"}, **more}, NOW, "x", "A/B", fields, CcxtCounters())


def test_a_trade_keeps_what_was_sent():
    made = trade(Fields(trade=frozenset("t")))
    assert (made.trade_id, made.timestamp, made.side, made.price, made.amount) == (
        *("7", 1_723_161_253_123_000, "buy", 2.5, 4.0),
    )
    assert made.cost is None and made.info_json == '{"x":"y"}'


def test_a_cost_counts_where_the_exchange_sends_it():
    assert trade(info={"quoteQty": "10.5"}).cost == 10.5


def test_the_makers_side_is_turned_and_an_unknown_one_is_null():
    assert trade(Fields(side_is_makers=True)).side == "sell"
    assert trade(side="neutral").side is None and trade(side=None).side is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1e400", "NaN", "", "x", [], object()])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(MalformedError):
        number(value)
    with pytest.raises(MalformedError):
        trade(price=value)


@pytest.mark.parametrize(
    ("ms", "us"),
    [
        (None, None),
        (1_723_161_253_123, 1_723_161_253_123_000),
        (1_723_161_253.123, None),
        (1_723_161_253_123_456, None),
        (0, None),
        (-5, None),
        ("1723161253123", None),
        (NOW // 1_000_000 + 3_600_000, NOW // 1000 + 3_600_000_000),
        (NOW // 1_000_000 + 90_000_000, None),
        (math.nan, None),
    ],
)
def test_times_that_cannot_be_milliseconds_are_null_and_counted(ms, us):
    count = CcxtCounters()
    assert time_us(ms, NOW, count) == us
    assert count.times_refused == (us is None and ms is not None)


def test_a_ticker_is_null_where_nothing_was_sent():
    sent = {"bid": 1.0, "ask": 2.0, "last": 1.5, "close": 1.5, "quoteVolume": 9.0, "info": {}}
    made = ticker_event(sent, NOW, "x", "A/B", Fields(computed=frozenset({"quote_volume"})), CcxtCounters())
    assert (made.bid, made.ask, made.last) == (1.0, 2.0, 1.5)
    assert (made.close, made.quote_volume, made.vwap, made.info_json) == (None,) * 4


def test_info_is_bounded_and_never_fails():
    count = CcxtCounters()
    assert info_json({"a": "x" * INFO_BYTES_MAX}, frozenset(), count) is None
    assert info_json({"a": object()}, frozenset(), count) is None
    assert count.info_dropped == 2
    assert json.loads(info_json([1, ["2", None]], frozenset(), count)) == [1, ["2", None]]
    assert info_json("", frozenset(), count) is info_json({"a": 1}, frozenset("a"), count) is None


@given(st.lists(st.tuples(st.floats(1e-9, 1e9), st.floats(0, 1e9)), max_size=40), st.integers(1, 30), st.booleans())
def test_sides_are_copied_exactly(levels, depth, has_third):
    side = [[price, size, 1] if has_third else [price, size] for price, size in levels]
    assert unpack_levels(pack_side(side, depth)) == levels[:depth]


@pytest.mark.parametrize("level", [[math.nan, 1.0], [1.0, math.inf], ["1", 2.0], [1.0, None], [1.0]])
def test_a_level_that_is_no_price_and_size_is_refused(level):
    with pytest.raises(MalformedError):
        pack_side([[2.0, 1.0], level], 20)
    assert unpack_levels(pack_side([[2.0, 1.0], level], 1)) == [(2.0, 1.0)]


def test_sequence_numbers_fit_their_column():
    assert [sequence_number(n) for n in (5, None, "5", 2**63, 1.5)] == [5, None, None, None, None]
