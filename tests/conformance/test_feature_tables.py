"""What every table of rows promises: of trades and tickers, and of books with tickers beside them."""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pytest

from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.registry import TABLES, Table
from daedalus.etl.features.tickers import TickerChunk
from tests.references import ticker_features
from tests.references.features import assert_matches
from tests.references.markets import Deal, Row, book, random_deals, random_rows, received_in_order, trades
from tests.references.quotes import Quote, random_quotes, tickers
from tests.references.running import Arrays, differing
from tests.references.static_features import Values

CONFIG = FeatureConfig(
    max_levels=3,
    horizons=(1, 5, 60, 300),
    tick_size=0.5,
    hawkes_mu=(0.1, 0.2),
    hawkes_alpha=(0.3, 0.1, 0.05, 0.4),
    hawkes_beta=1.5,
    feature_set="full",
)
#: Hours, without a column that is null throughout.
LONG, LONG_SEED = dataclasses.replace(CONFIG, max_state_staleness_seconds=7200.0), 3
#: What stands beside the book rows is a matter of one family.
ONLY = {"orderbook": ("identity", "ticker_quote"), "trades": None, "ticker": None}


class Streams(NamedTuple):
    """Chunks of one market, by the table of which they are the rows."""

    orderbook: BookChunk
    trades: TradeChunk
    ticker: TickerChunk


@cache
def market(seed: int) -> tuple[list[Row], list[Deal], list[Quote]]:
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 200)
    if seed == LONG_SEED:
        rows = received_in_order([dataclasses.replace(row, at=8.0 * row.at) for row in rows])
    deals = random_deals(rng, rows, 240)
    deals[60] = dataclasses.replace(deals[60], amount=-1.0)
    deals[61] = dataclasses.replace(deals[61], price=float("nan"))
    return rows, deals, random_quotes(rng, rows, 130)


@cache
def features_of(table: Table, config: FeatureConfig = CONFIG) -> FeatureSet:
    return FeatureSet(config, ONLY[table], table)


def streams(seed: int, levels: int) -> Streams:
    rows, deals, quotes = market(seed)
    return Streams(book(rows, levels), trades(deals), tickers(quotes))


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> Table:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def features(table: Table) -> FeatureSet:
    return features_of(table)


def run(
    features: FeatureSet, given: Streams, cuts: list[int], restarts: bool = False, early: int = 0
) -> tuple[Arrays, bytes]:
    """Hand over rows in pieces, each with what the other streams had received by then, and `early` more of that."""
    state, place = features.new_state(), list(TABLES).index(features.table)
    lead, done = given[place], [0, 0, 0]
    parts: dict[str, list[np.ndarray]] = {column.name: [] for column in features.columns}
    for stop in [*sorted(cuts), len(lead)]:
        received = lead.collected_at[:stop].max(initial=0)
        arrived = [int(np.searchsorted(stream.collected_at, received, "right")) for stream in given]
        upto = [max(d, a + early) for d, a in zip(done, arrived, strict=True)]
        upto[place] = stop
        state, outputs = features.apply(state, *(s.rows(d, u) for s, d, u in zip(given, done, upto, strict=True)))
        done = [min(u, len(s)) for u, s in zip(upto, given, strict=True)]
        for name in outputs:
            parts[name].append(outputs[name].copy())
        if restarts:
            state = features.state_from_bytes(features.state_to_bytes(state))
    rest = [s.rows(d, len(s)) for s, d in zip(given, done, strict=True)]
    state, _ = features.apply(state, *rest)
    return {name: np.concatenate(values) for name, values in parts.items()}, features.state_to_bytes(state)


def expected(table: Table, seed: int, config: FeatureConfig) -> list[Values]:
    rows, deals, quotes = market(seed)
    if table == "trades":
        return ticker_features.trade_rows(rows, deals, config)
    if table == "ticker":
        return ticker_features.ticker_rows(rows, deals, quotes, config)
    return ticker_features.beside_books(rows, quotes, config)


@pytest.mark.parametrize(("seed", "config"), [(1, CONFIG), (2, CONFIG), (LONG_SEED, LONG)])
def test_agrees_with_the_naive_reference(table: Table, seed: int, config: FeatureConfig) -> None:
    features = features_of(table, config)
    batch = features.to_arrow(features.apply(features.new_state(), *streams(seed, features.levels))[1])
    want = expected(table, seed, config)
    if table == "orderbook":
        batch = batch.select(list(want[0].keys() | {"quoted_bid_ask_vs_book_bps"}))
    assert_matches(batch, want)
    if seed == LONG_SEED:
        assert all(batch.column(name).null_count < batch.num_rows for name in batch.schema.names)


@pytest.mark.parametrize("restarts", [False, True], ids=["chunked", "restarted"])
def test_equal_to_the_bit_however_it_is_cut(features: FeatureSet, restarts: bool) -> None:
    given = streams(2, features.levels)
    whole, state = run(features, given, [])
    count = len(given[list(TABLES).index(features.table)])
    rng = np.random.default_rng(5)
    for cuts, early in ((range(1, count), 0), ([0, 1, count], 3), (rng.integers(0, count, 9).tolist(), 1)):
        parts, last = run(features, given, list(cuts), restarts, early)
        assert not differing(parts, whole)
        assert last == state


def test_causal(features: FeatureSet) -> None:
    given, place = streams(4, features.levels), list(TABLES).index(features.table)
    whole, _ = run(features, given, [])
    lead = given[place]
    for stop in (1, 2, 17, 90, len(lead) - 1):
        received = lead.collected_at[:stop].max()
        upto = [int(np.searchsorted(stream.collected_at, received, "right")) for stream in given]
        upto[place] = stop
        part, _ = run(features, Streams(*(s.rows(0, u) for s, u in zip(given, upto, strict=True))), [])
        rows = len(next(iter(part.values())))
        assert not differing(part, {name: values[:rows] for name, values in whole.items()})


def test_no_infinity_and_no_nan_leaves(features: FeatureSet) -> None:
    given = streams(5, features.levels)
    wild = Streams(
        dataclasses.replace(given.orderbook, ask_price=given.orderbook.ask_price * 1e290),
        dataclasses.replace(given.trades, price=given.trades.price * 1e300, amount=given.trades.amount * 1e-300),
        dataclasses.replace(given.ticker, values=given.ticker.values * 1e300),
    )
    for streams_ in (given, wild):
        batch = features.to_arrow(features.apply(features.new_state(), *streams_)[1])
        batch.validate(full=True)
        for column in features.columns:
            if column.dtype == "float64":
                assert pc.all(pc.is_finite(batch.column(column.name)), min_count=0).as_py() is not False, column.name


def test_an_invalid_trade_has_a_row_of_nulls_and_changes_nothing() -> None:
    features, given = features_of("trades"), streams(1, 1)
    whole, _ = run(features, given, [])
    gone = [60, 61]
    keep = np.setdiff1d(np.arange(len(given.trades)), gone)
    names = given.trades.__dataclass_fields__
    without = given._replace(trades=TradeChunk(*(getattr(given.trades, name)[keep] for name in names)))
    rest, _ = run(features, without, [])
    assert not differing(rest, {name: values[keep] for name, values in whole.items()})
    outputs = features.apply(features.new_state(), *given)[1]
    batch = features.to_arrow(outputs)
    assert outputs.kept.tolist() == list(range(len(given.trades)))
    for row in gone:
        assert {k for k, v in batch.slice(row, 1).to_pylist()[0].items() if v is not None} == {"ts", "is_late"}


def test_tables_tell_the_same_of_trades_that_arrive_in_order() -> None:
    """A trade is the same against the book just before it, and beside the next book."""
    rows = [Row(float(k), [(99.0 + k, 1.0)], [(101.0 + k, 2.0)]) for k in range(20)]
    deals = [Deal(k + 0.5, 1.0 + k, (-1) ** k, 100.0 + k) for k in range(19)]
    own, beside = features_of("trades"), FeatureSet(CONFIG, ["trade_flow", "trade_stats", "decayed_trades"])
    mine = own.apply(own.new_state(), book(rows, 1), trades(deals))[1]
    theirs = beside.apply(beside.new_state(), book(rows, 3), trades(deals))[1]
    for w in (5, 60):
        for name in ("volume", "tfi", "effective_spread_bps", "trade_rv", "interarrival_std"):
            # The window of the book a half second later holds the same trades.
            np.testing.assert_array_equal(mine[f"{name}_{w}s"], theirs[f"{name}_{w}s"][1:], err_msg=name)


def test_every_order_of_pairs_of_streams_at_equal_times() -> None:
    """T5: trades, then tickers, then books."""
    rows = [Row(t, [(99.0, 1.0)], [(101.0, 1.0)]) for t in (1.0, 2.0)]
    deals = [Deal(2.0, 3.0, 1, 102.0)]
    quotes = [Quote(2.0, 100.0, 104.0, index=100.0, quote_volume=86400.0)]
    late = [dataclasses.replace(row, bids=[(199.0, 1.0)], asks=[(201.0, 1.0)]) for row in rows[1:]]
    chunks = (book([rows[0], *late], 1), trades(deals), tickers(quotes))
    for table, name, value in (
        ("trades", "mid", 100.0),
        ("ticker", "mid", 100.0),
        ("ticker", "volume_24h_share_60s", 306.0 / 60.0),
    ):
        made = features_of(table)  # type: ignore[arg-type]
        assert made.apply(made.new_state(), *chunks)[1][name].tolist() == [pytest.approx(value)]
    made = features_of("orderbook")
    outputs = made.apply(made.new_state(), book([rows[0], *late], 3), *chunks[1:])[1]
    assert outputs["ticker_age_s"].tolist()[1] == 0.0
    assert outputs["quoted_bid_ask_vs_book_bps"].tolist()[1] == pytest.approx((102.0 - 200.0) / 200.0 * 1e4)
    assert all(a < b for a, b in itertools.pairwise(outputs["ts"].tolist()))
