"""Laws of trades and tickers as rows, over generated markets: ties, late ones, gaps, empty sides, missing values."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.registry import Table
from tests.references.features import assert_matches
from tests.references.markets import Deal, Row, book, trades
from tests.references.quotes import Quote, tickers
from tests.references.ticker_features import ticker_rows, trade_rows

CONFIG = FeatureConfig(max_levels=2, horizons=(1, 60), tick_size=0.5, feature_set="full")
FEATURES: dict[Table, FeatureSet] = {
    "trades": FeatureSet(CONFIG, None, "trades"),
    "ticker": FeatureSet(CONFIG, None, "ticker"),
}
STEPS = st.sampled_from([0.0, 0.0, 0.000001, 0.5, 1.0, 5.0, -0.5, 60.0, 299.999999, 300.0, 300.000001, 2000.0])
DELAYS = st.sampled_from([0.0, 0.0, 0.3, 2.0])
SIZES = st.sampled_from([0.0, 0.1, 1.0, 2.5])
VALUES = st.sampled_from([None, 0.0, 99.0, 100.0, 101.5])
Market = tuple[list[Row], list[Deal], list[Quote]]


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Return events of the three streams on one clock, each stream in order of receipt."""
    rows: list[Row] = []
    deals: list[Deal] = []
    quotes: list[Quote] = []
    at = 1000.0
    for _ in range(draw(st.integers(1, 25))):
        at += draw(STEPS)
        kind, delay = draw(st.sampled_from("bbttq")), draw(DELAYS)
        if kind == "b":
            bid, ask = ([(100.0 + s * draw(st.integers(0, 3)) / 2, draw(SIZES))] for s in (-1, 1))
            rows.append(Row(at, bid, ask, draw(st.sampled_from([None, 1, 2])), False, delay))
        elif kind == "t":
            price = draw(st.sampled_from([99.0, 100.0, 100.5, -1.0]))
            deals.append(Deal(at, draw(SIZES), draw(st.sampled_from([-1, 0, 1])), price, delay))
        else:
            given = [draw(VALUES) for _ in range(11)]
            quotes.append(Quote(at, *given, None, draw(st.sampled_from([None, 1200, 4800])), delay))
    return _received(rows), _received(deals), _received(quotes)


def _received(events: list) -> list:  # type: ignore[type-arg]
    return sorted(events, key=lambda event: event.collected_at)


@settings(max_examples=40, deadline=None)
@given(market=markets())
def test_equal_to_the_naive_references(market: Market) -> None:
    rows, deals, quotes = market
    chunks = (book(rows, 1), trades(deals), tickers(quotes))
    wanted = (trade_rows(rows, deals, CONFIG), ticker_rows(rows, deals, quotes, CONFIG))
    for features, want in zip(FEATURES.values(), wanted, strict=True):
        assert_matches(features.to_arrow(features.apply(features.new_state(), *chunks)[1]), want)


@settings(max_examples=30, deadline=None)
@given(market=markets())
def test_one_by_one_in_order_of_receipt_is_the_same_to_the_bit(market: Market) -> None:
    rows, deals, quotes = market
    chunks = (book(rows, 1), trades(deals), tickers(quotes))
    for features in FEATURES.values():
        _, whole = features.apply(features.new_state(), *chunks)
        state, parts = features.new_state(), []
        instants = np.unique(np.concatenate([chunk.collected_at for chunk in chunks]))
        done = [0, 0, 0]
        for instant in instants:
            upto = [int(np.searchsorted(chunk.collected_at, instant, "right")) for chunk in chunks]
            pieces = [chunk.rows(d, u) for chunk, d, u in zip(chunks, done, upto, strict=True)]
            state, outputs = features.apply(state, *pieces)
            parts.append({name: outputs[name].copy() for name in outputs})
            done = upto
        for name in whole:
            assert np.concatenate([part[name] for part in parts]).tobytes() == whole[name].tobytes(), name
