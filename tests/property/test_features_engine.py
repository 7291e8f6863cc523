"""Laws of the feature engine over generated markets: ties, late rows, gaps, empty sides, crossed books, bursts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from tests.references.features import assert_matches, reference
from tests.references.markets import Deal, Row, book, trades
from tests.references.running import differing, run_chunks, run_whole

CONFIG = FeatureConfig(
    max_levels=4,
    horizons=(1, 5, 60, 900),
    kyle_lambda_window=30,
    vpin_bucket_volume=2.0,
    vpin_window_buckets=3,
    spread_regime_window=20,
    tick_size=0.5,
    hawkes_mu=(0.1, 0.2),
    hawkes_alpha=(0.5, 0.1, 0.2, 0.4),
    hawkes_beta=0.8,
    feature_set="full",
)
FEATURES = FeatureSet(CONFIG)
STEPS = st.sampled_from([0.0, 0.0, 0.000001, 0.1, 0.5, 1.0, 5.0, -0.5, 60.0, 299.999999, 300.0, 300.000001, 2000.0])
SIZES = st.sampled_from([0.0, 1e-8, 0.1, 0.3, 1.0, 2.5, 1e3])


@st.composite
def sides(draw: st.DrawFn, sign: int) -> list[tuple[float, float]]:
    """Return up to 6 levels, in any order, half a unit apart around 100; some cross, some are not valid."""
    ticks = draw(st.lists(st.integers(-1, 9), max_size=6))
    return [(100.0 + sign * 0.5 * tick, draw(SIZES)) for tick in ticks]


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Row], list[Deal]]:
    """Return rows and deals with receive times that do not step back."""
    rows: list[Row] = []
    at, received = 1000.0, 0.0
    for _ in range(draw(st.integers(1, 25))):
        at += draw(STEPS)
        received = max(received, at + draw(st.sampled_from([0.0, 0.3])))
        seq = draw(st.sampled_from([None, None, 1, 2]))
        reset = draw(st.integers(0, 14)) == 0
        rows.append(Row(at, draw(sides(-1)), draw(sides(1)), seq, reset, received - at))
    spots = draw(st.lists(st.tuples(st.sampled_from(rows), st.sampled_from([0.0, 0.2, 4.0]), SIZES), max_size=20))
    kinds = st.sampled_from([-1, 0, 1])
    delays = st.sampled_from([0.0, 0.1, 2.0])
    deals = [Deal(row.at + lag, size, draw(kinds), delay=draw(delays)) for row, lag, size in spots]
    return rows, sorted(deals, key=lambda deal: deal.collected_at)


@settings(max_examples=40, deadline=None)
@given(market=markets(), data=st.data())
def test_chunks_and_restarts_change_no_bit(market: tuple[list[Row], list[Deal]], data: st.DataObject) -> None:
    rows, deals = market
    chunk, run = book(rows, CONFIG.max_levels), trades(deals)
    whole, state = run_whole(FEATURES, chunk, run)
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=6))
    parts, last = run_chunks(
        FEATURES, chunk, run, cuts, restarts=data.draw(st.booleans()), early=data.draw(st.integers(0, 3))
    )
    assert not differing(parts, whole)
    assert last == state


@settings(max_examples=40, deadline=None)
@given(market=markets(), share=st.floats(0.0, 1.0))
def test_nothing_depends_on_what_comes_later(market: tuple[list[Row], list[Deal]], share: float) -> None:
    rows, deals = market
    stop = max(1, round(share * len(rows)))
    seen = [deal for deal in deals if deal.collected_at <= rows[stop - 1].collected_at]
    whole, _ = run_whole(FEATURES, book(rows, CONFIG.max_levels), trades(deals))
    part, _ = run_whole(FEATURES, book(rows[:stop], CONFIG.max_levels), trades(seen))
    assert not differing(part, {name: values[: len(part["ts"])] for name, values in whole.items()})


@settings(max_examples=25, deadline=None)
@given(market=markets())
def test_equal_to_the_naive_references(market: tuple[list[Row], list[Deal]]) -> None:
    rows, deals = market
    outputs = FEATURES.apply(FEATURES.new_state(), book(rows, CONFIG.max_levels), trades(deals))[1]
    assert_matches(FEATURES.to_arrow(outputs), reference(rows, deals, CONFIG))


@settings(max_examples=40, deadline=None)
@given(market=markets(), scale=st.sampled_from([1e-300, 1e-12, 1.0, 1e12, 1e200, 1e307]))
def test_no_infinity_nor_nan_leaves_whatever_the_sizes(market: tuple[list[Row], list[Deal]], scale: float) -> None:
    rows, deals = market
    scaled = [
        dataclasses.replace(row, bids=[(p, q * scale) for p, q in row.bids], asks=[(p / scale, q) for p, q in row.asks])
        for row in rows
    ]
    batch = FEATURES.to_arrow(FEATURES.apply(FEATURES.new_state(), book(scaled, CONFIG.max_levels), trades(deals))[1])
    for column in FEATURES.columns:
        if column.dtype == "float64":
            assert np.isfinite(pc.drop_null(batch.column(column.name)).to_numpy()).all(), column.name
